"""Cells of live runs as they were last committed, at hand: what the ledger loads next was mostly written just now.

Only for a store that one process writes. Holds what a commit returned from, never what may still be undone; whatever is
doubtful empties it, because the file is the truth. Bounded; the oldest go first. Called by ``store.sqlite.writer``.
"""

from __future__ import annotations

from itertools import islice

from headrace.model.cells import RunCell, TaskCell
from headrace.model.ids import TaskKey
from headrace.model.states import RUN_FINAL
from headrace.store.rows import Batch

LIVE_MAX = 12_288
"""Runs, and as many tasks: about 1 KiB each pair."""

_LAST_TASK_STATE = 3
"""Tasks that are ready, dispatched or running are kept; those that wait for others may wait for long."""


class LiveCells:
    """``runs`` and ``tasks`` by key; what is not here has to be asked of the file."""

    def __init__(self, most: int = LIVE_MAX) -> None:
        self.runs: dict[int, RunCell] = {}
        self.tasks: dict[TaskKey, TaskCell] = {}
        self._most = most

    def take(self, batch: Batch) -> None:
        """Remember what a commit wrote."""
        runs, tasks = self.runs, self.tasks
        for new in batch.new_runs:
            runs[new.cell.run] = new.cell
        for run in batch.runs:
            if run.state in RUN_FINAL:
                runs.pop(run.run, None)
            else:
                runs[run.run] = run
        for part in (batch.new_tasks, batch.tasks):
            for cell in part:
                if 1 <= cell.state <= _LAST_TASK_STATE:
                    tasks[cell.run, cell.no, cell.index] = cell
                else:
                    tasks.pop((cell.run, cell.no, cell.index), None)
        _shorten(runs, self._most)
        _shorten(tasks, self._most)

    def clear(self) -> None:
        """Nobody knows what became of a commit."""
        self.runs.clear()
        self.tasks.clear()


def _shorten(cells: dict[int, RunCell] | dict[TaskKey, TaskCell], most: int) -> None:
    over = len(cells) - most
    if over > 0:
        for key in list(islice(cells, over)):
            del cells[key]  # type: ignore[arg-type]  # reason: a key of the very dictionary
