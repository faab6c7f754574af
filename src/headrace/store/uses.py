"""Who uses what of a limit, who waits for a turn, whose result may be taken again: rows that follow from cells alone.

Pure; core says who holds what. A row of use exists exactly while its task is leased, or its run holds its job's gate: whatever moves the cell
writes or deletes the row in the same commit, so nothing can leak. Called by both writers.
"""

from __future__ import annotations

from msgspec import Struct, field

from headrace.core.limits import holds_gate, waits_at_gate
from headrace.model.cells import RunCell, TaskCell
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import TASK_LEASED, TaskState
from headrace.store.rows import Batch, UseKey

WaitKey = tuple[str, str, int, int]
"""(gate, key, rank, run)."""


class Uses(Struct):
    """What a batch means for these rows. ``held`` with units."""

    held: dict[UseKey, int] = field(default_factory=dict)
    over: set[UseKey] = field(default_factory=set)
    waiting: set[WaitKey] = field(default_factory=set)
    entered: set[WaitKey] = field(default_factory=set)
    cached: dict[bytes, TaskCell] = field(default_factory=dict)
    """Attempts whose results are found again, by the name of their work."""


def uses_of(batch: Batch) -> Uses | None:
    """The rows to write and to delete; None when no cell of the batch has to do with limits."""
    tasks = [c for part in (batch.new_tasks, batch.tasks) for c in part if c.more is not None]
    runs = [n.cell for n in batch.new_runs if n.cell.more is not None] + [c for c in batch.runs if c.more is not None]
    if not tasks and not runs:
        return None
    found = Uses()
    for cell in tasks:
        _task(found, cell)
    for run in runs:
        _run(found, run)
    found.over.update(row for row in batch.given_back if row not in found.held)
    return found


def _task(found: Uses, cell: TaskCell) -> None:
    if cell.more is None:
        return
    if cell.more.cache and cell.more.origin is None and cell.state == TaskState.succeeded:
        found.cached[cell.more.cache] = cell
    for name, key, units in cell.more.takes:
        row = (name, key, cell.run, cell.no, cell.index)
        if cell.state in TASK_LEASED:
            found.held[row] = units
        else:
            found.over.add(row)


def _run(found: Uses, run: RunCell) -> None:
    more = run.more
    if more is None or not more.gate:
        return
    use, wait = (more.gate, more.key, run.run, RUN_ITSELF, WHOLE), (more.gate, more.key, more.rank, run.run)
    if holds_gate(run):
        found.held[use] = 1
    else:
        found.over.add(use)
    (found.waiting if waits_at_gate(run) else found.entered).add(wait)
