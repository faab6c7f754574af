"""Rows of runs as lists have read them: the same bytes are not decoded again. Whoever looks at lists looks again and again.

A row is used only when every column is what it was, so nothing can be out of date. Bounded. Never reads; called by the
lists of both stores, from any thread.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.store.images import decode_run, input_of
from headrace.store.rows import RunRow

KEPT_MAX = 1_024
"""Runs that are kept: two pages."""
LONG = 4_096
"""Bytes of params that are too many to be kept."""

Columns = tuple[Any, ...]
"""run, created_at, image, job, rest, params."""


class SeenRuns:
    """The newest rows, by run. One per reader."""

    def __init__(self, most: int = KEPT_MAX) -> None:
        self._most = most
        self._kept: dict[int, tuple[Columns, RunRow]] = {}

    def row(self, columns: Columns, aside: Callable[[int], bytes | None] | None = None) -> RunRow:
        """The row of these columns. ``aside`` fetches params that do not stand in them."""
        kept = self._kept.get(columns[0])
        if kept is not None and kept[0] == columns:
            return kept[1]
        run, created, image, job, rest, params = columns
        if params is None and aside is not None:
            params = aside(run)
        row = RunRow(input_of(run, job, created, rest, params), decode_run(image))
        if params is None or len(params) <= LONG:
            if len(self._kept) >= self._most:
                # All at once: other threads are at it too, and this is one step of the interpreter.
                self._kept.clear()
            self._kept[run] = columns, row
        return row
