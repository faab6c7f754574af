"""One schema, several wires: documents and requests in, records out, every problem with its place.

Knows records (``model``) and formats; must never know rules, stores or clocks. Called by every border.
"""
