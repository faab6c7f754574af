"""What a pause means for the rows of a run: ready tasks leave the ready index, and come back by a resume.

Pure and private to core. A pause itself is O(1), because the run's state makes its tasks ineligible; this sweep, a page
at a time, takes them out of the claim loop's sight (class ``PARKED``), so that a large paused run costs nobody anything.
The sweep only makes rows agree with the run's state as it is now: a resume amidst it begins it anew.
"""

from __future__ import annotations

from headrace.core.classes import class_now
from headrace.core.draft import Draft, cursor_of
from headrace.core.nodes import CHUNK
from headrace.core.policy import AFTER_LOSS
from headrace.core.readying import look_for_room, make_ready, rank_of
from headrace.core.work import StopAttempt
from headrace.model.cells import TaskCell
from headrace.model.ids import TaskKey
from headrace.model.states import TASK_LEASED, RunState, TaskState


def sweep_held(draft: Draft) -> None:
    """One page of task rows."""
    page = draft.working.members.get(draft.run.run, [])
    for key in page:
        _sweep_one(draft, key)
    if len(page) >= CHUNK:
        draft.more(hold=cursor_of(*page[-1][1:]))
        draft.owe_run()
    else:
        draft.more(hold=-1, release=False)
        draft.rest()


def take_back(draft: Draft, cell: TaskCell) -> None:
    """What an agent has not begun yet it gives back; what runs goes on."""
    if cell.state == TaskState.dispatched:
        name = draft.run.state.name
        draft.commands.append(StopAttempt(cell.key, cell.agent, cell.boot, cell.epoch, 0, name, take_back=True))


def _sweep_one(draft: Draft, key: TaskKey) -> None:
    cell = draft.task(key[1], key[2])
    if cell is None:
        return
    node, run = draft.node(cell), draft.run
    if cell.state == TaskState.ready:
        klass = class_now(node, run, cell.more.takes if cell.more is not None else ())
        rank = rank_of(cell.ready_at or draft.now, node, run)
        if (cell.klass, cell.rank) != (klass, rank):
            look_for_room(draft, node, draft.change(cell, klass=klass, rank=rank))
    elif cell.state == TaskState.held and cell.reason in AFTER_LOSS and run.more is not None and run.more.release:
        draft.held(-1)
        make_ready(draft, node, draft.change(cell, lost=0, reason=None), claim=False)
    elif cell.state in TASK_LEASED and cell.counts is None and run.state == RunState.paused:
        take_back(draft, cell)
