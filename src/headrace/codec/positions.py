"""Where a path of a document stands in its file: line and column, both from 1.

Nothing is computed until somebody asks, because only problems need places. Called by ``codec.documents``.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping

from headrace.model.naming import parent_path

Place = tuple[int, int]


class Positions:
    """Path → (line, column). A path that is not in the file has the place of the nearest thing that holds it."""

    def __init__(self, scan: Callable[[], Mapping[str, Place]] | None = None) -> None:
        self._scan = scan
        self._places: Mapping[str, Place] | None = None

    def find(self, path: str) -> Place | None:
        """The place of a path, or None where the format has no lines."""
        if self._scan is None:
            return None
        if self._places is None:
            self._places = self._scan()
        while path and path not in self._places:
            path = parent_path(path)
        return self._places.get(path)


class Lines:
    """Turns offsets of a text into line and column."""

    def __init__(self, text: str) -> None:
        self._starts = [0]
        at = text.find("\n")
        while at >= 0:
            self._starts.append(at + 1)
            at = text.find("\n", at + 1)

    def place(self, offset: int) -> Place:
        """Line and column of a character, from 1."""
        line = bisect_right(self._starts, offset)
        return line, offset - self._starts[line - 1] + 1
