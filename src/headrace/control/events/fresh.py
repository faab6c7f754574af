"""History that this node has just committed, at hand for those who watch: what was written need not be read again.

Rows never change, so what is kept here is what the store has; which of them are told, and in which order, the log alone
says. Bounded, and empty while nobody watches. Filled by the tail, looked into by the feed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import islice

from headrace.model.cells import RunCell
from headrace.store.rows import Batch, HistoryAt, HistoryRow

KEPT_MAX = 4_000
"""Rows that are kept."""

Told = tuple[HistoryRow, int, str]
"""A row of history, the number of its run's graph, and who asked."""


class Fresh:
    """The newest rows by their keys."""

    def __init__(self) -> None:
        self._rows: dict[HistoryAt, Told] = {}

    def take(self, batch: Batch, runs: Mapping[int, RunCell]) -> None:
        """A batch was committed. ``runs``: those that it is about, as they stood in its group."""
        rows = self._rows
        actors = {commit.commit: commit.actor for commit in batch.commits}
        for row in batch.history[-KEPT_MAX:]:
            run = runs.get(row.run)
            if run is not None:
                rows[row.run, row.no, row.index, row.version] = (row, run.graph, actors.get(row.commit) or "")
        over = len(rows) - KEPT_MAX
        for key in list(islice(rows, max(0, over))):
            del rows[key]

    def split(self, keys: Sequence[HistoryAt]) -> tuple[list[Told], list[HistoryAt]]:
        """The rows of these keys that are here, and the keys of the others."""
        rows = self._rows
        if not rows:
            return [], list(keys)
        return [rows[key] for key in keys if key in rows], [key for key in keys if key not in rows]

    def clear(self) -> None:
        """Nobody watches any more."""
        self._rows.clear()
