"""Plain data → a YAML text that ``codec.yaml`` reads as the same data. Never writes tags, anchors or 1.1 surprises.

PyYAML writes; what it and our reader would take differently is put in quotes here. Called by the CLI, to save a
definition.
"""

from __future__ import annotations

from typing import Any

import yaml

from headrace.codec.yaml import plain_scalar

WIDTH = 1_000_000
"""A text of one line stays on one line."""


class _Dumper(yaml.SafeDumper):
    """Plain data only: dicts, lists, texts, numbers, booleans, None."""

    def ignore_aliases(self, data: Any) -> bool:
        """What stands twice is written twice."""
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        """Items of a list stand two columns in from its name."""
        super().increase_indent(flow, False)

    def text(self, data: str) -> yaml.ScalarNode:
        """Lines as lines, where that is exact; in quotes what would be read as something else."""
        tag = "tag:yaml.org,2002:str"
        if _is_block(data):
            return self.represent_scalar(tag, data, style="|")
        return self.represent_scalar(tag, data, style=None if _is_text(data) else '"')


_Dumper.add_representer(str, _Dumper.text)


def dumps(value: Any) -> str:
    """The text, ending with a line feed. Fields keep their order."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=WIDTH)
    return text


def _is_text(data: str) -> bool:
    """Whether it says itself without escapes, and would be no number or word of YAML without quotes."""
    try:
        return data.isprintable() and plain_scalar(data) is data
    except ValueError:
        return False


def _is_block(data: str) -> bool:
    """Whether it may stand line by line: nothing at the ends of its lines that an editor or a reader would lose."""
    lines = data.split("\n")
    sound = all(line.isprintable() and line == line.rstrip() for line in lines)
    return sound and len(lines) > 1 and lines[0] == lines[0].strip() != ""
