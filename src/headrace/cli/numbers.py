"""Words that must be numbers, with a sentence for those that are none. Called by the parsers of commands."""

from __future__ import annotations

import argparse


def run_id(text: str) -> int:
    """A run's number. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise argparse.ArgumentTypeError(f"a run is called by its number, not {text!r}; headrace runs lists them")
    return int(text)


def count(text: str) -> int:
    """How many things to show: at least one. Raises ArgumentTypeError."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text)):
        raise argparse.ArgumentTypeError(f"a whole number from 1 on, not {text!r}")
    return int(text)
