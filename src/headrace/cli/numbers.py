"""Words that must be numbers, with a sentence for those that are none. Called by the parsers of commands."""

from __future__ import annotations

import argparse


def run_id(text: str) -> int:
    """A run's number. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"a run is called by its number, not {text!r}; headrace runs lists them")
    return int(text)
