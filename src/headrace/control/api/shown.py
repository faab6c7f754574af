"""Which tasks of a large run are shown: those that tell most first, and how many are left out. Reads only.

A run of at most ``TASKS_MAX`` tasks is shown whole, by one question. Called by the handlers of runs and explain.
"""

from __future__ import annotations

from headrace.control.graphs import Known
from headrace.model.cells import TaskCell
from headrace.model.states import TASK_FINAL, TaskState
from headrace.store.port import Reader

TASKS_MAX = 500
"""So many tasks of a run are shown at once."""
ENDED_BADLY = sum(1 << state for state in (TaskState.failed, TaskState.lost))
"""States as bits."""
LIVE = sum(1 << state for state in TaskState if state not in TASK_FINAL and state is not TaskState.blocked)


async def shown_tasks(reader: Reader, known: Known, run: int, *first: int) -> tuple[list[TaskCell], int]:
    """At most ``TASKS_MAX`` tasks in order, groups by their counts, and how many more there are.

    ``first``: sets of states (as bits) whose tasks stand there before any others.
    """
    if len(known.graph.nodes) <= TASKS_MAX:
        return await reader.tasks(run, groups_only=True, limit=TASKS_MAX), 0
    found: dict[int, TaskCell] = {}
    for states in (*first, 0):
        room = TASKS_MAX - len(found)
        if room:
            # of all others some are in already
            page = await reader.tasks(run, groups_only=True, limit=room if states else TASKS_MAX, states=states)
            for cell in page:
                if len(found) < TASKS_MAX:
                    found.setdefault(cell.no, cell)
    return [found[no] for no in sorted(found)], len(known.graph.nodes) - len(found)
