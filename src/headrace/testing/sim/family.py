"""What the history checker says of parents and children: each child once, none outlives its parent, none is forgotten.

Judges by the rows that the two runs left; shares no rule with core. Called by ``testing.sim.checker``.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.cells import ParentRef
from headrace.model.facts import TaskEnded, TaskStarted
from headrace.model.states import RUN_FINAL, RunState, TaskState
from headrace.store.port import Store
from headrace.store.rows import HistoryRow, RunRow

PAGE = 500


def parent_of(row: RunRow) -> ParentRef | None:
    """The attempt whose work this run is."""
    return None if row.input.more is None else row.input.more.parent


async def check_family(store: Store, rows: Sequence[RunRow]) -> list[str]:
    """What these runs (all that there are) break among each other."""
    broken: list[str] = []
    by_number = {row.cell.run: row for row in rows}
    seen: dict[tuple[int, int, int, int], int] = {}
    for row in rows:
        parent = parent_of(row)
        if parent is None:
            continue
        child, key = row.cell.run, (parent.run, parent.no, parent.index, parent.epoch)
        if key in seen:
            broken.append(f"I17 attempt {key} has two children: {seen[key]} and {child}")
        seen[key] = child
        if parent.run not in by_number:
            broken.append(f"I17 run {child} is the work of {key}, which does not exist")
        elif not outlived(by_number[parent.run], row):
            broken.append(f"I17 run {child} outlives its parent {parent.run}")
        if await store.reader.child(*key) != child:
            broken.append(f"I17 run {child} is not found as the work of {key}")
    for kind, subject in await undelivered(store):
        broken.append(f"I17 a message of kind {kind} about run {subject} was never delivered")
    return broken


def outlived(parent: RunRow, child: RunRow) -> bool:
    """Whether the parent's record goes on until its child has ended; only an abandoned one waits for nobody."""
    if parent.cell.state is RunState.abandoned:
        return child.cell.state in RUN_FINAL
    if parent.cell.state not in RUN_FINAL:
        return True
    return child.cell.state in RUN_FINAL and child.cell.ended_at <= parent.cell.ended_at


async def undelivered(store: Store) -> list[tuple[str, str]]:
    """What still stands in the outbox."""
    return [(row.kind, row.subject) for row in await store.reader.outbox("child", 2**62, PAGE)]


async def check_children(store: Store, rows: Sequence[HistoryRow], job_tasks: Sequence[int]) -> list[str]:
    """Held against the history of one run: each attempt of a task that runs a job has one child, which ended as it did.

    ``job_tasks`` are the numbers of those tasks. An attempt that failed may have had none: no such job.
    """
    broken: list[str] = []
    for row in rows:
        cell = row.task_image
        if cell is None or cell.no not in job_tasks or cell.counts is not None:
            continue
        began = any(isinstance(fact, TaskStarted) for fact in row.facts)
        if began and cell.agent:
            broken.append(f"I17 {cell.key} runs a job and was given to agent {cell.agent}")
        if cell.state is TaskState.succeeded and any(isinstance(fact, TaskEnded) for fact in row.facts):
            child = await store.reader.child(*cell.key, cell.epoch)
            found = None if child is None else await store.reader.run(child)
            if found is None or found.cell.state is not RunState.succeeded:
                broken.append(f"I17 {cell.key} succeeded, and its child {child} did not")
    return broken
