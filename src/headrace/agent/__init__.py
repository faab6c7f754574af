"""The process on a machine that runs attempts. Knows ``link``; never the store, never control."""
