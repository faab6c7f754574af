"""A run begins: its cell, one cell per task, and what is ready at once.

Pure and private to core; called by ``core.stepping``. The short way for graphs of one task builds the same images
without a draft; a test compares the two.
"""

from __future__ import annotations

from headrace.core.draft import Draft
from headrace.core.moving import activate, claim_task, rank_of
from headrace.core.nodes import Graph
from headrace.core.work import Step, Working
from headrace.model.cells import RunCell, TaskCell
from headrace.model.changes import Submit
from headrace.model.errors import Refused
from headrace.model.facts import RunSubmitted, TaskReadied
from headrace.model.ids import WHOLE
from headrace.model.states import TaskState

_SUBMITTED = RunSubmitted()


def submit(graph: Graph, working: Working, change: Submit, now: int, dice: float) -> Step:
    """The new run, with everything ready that nothing blocks."""
    given = change.input
    if given.run in working.runs:
        raise Refused(f"run {given.run} is {working.runs[given.run].state.name}: it exists already, submit refused")
    run = RunCell(
        given.run,
        given.graph,
        version=1,
        left=graph.ordinary,
        finals=len(graph.finals),
        priority=given.priority,
        created_at=given.created_at,
    )
    draft = Draft(graph, working, run, now, dice)
    draft.run_changed = True
    draft.given = given
    draft.facts.append(_SUBMITTED)
    if graph.fast:
        _one_task(draft)
    else:
        for node in graph.nodes:
            draft.put(TaskCell(given.run, node.no, version=1, pending=node.pending))
        for no in graph.roots:
            activate(draft, draft.tasks[given.run, no, WHOLE])
    return draft.finish()


def _one_task(draft: Draft) -> None:
    node, now = draft.graph.nodes[0], draft.now
    rank = rank_of(now, node, draft.run)
    cell = TaskCell(draft.run.run, 0, WHOLE, TaskState.ready, 1, rank=rank, klass=node.klass, ready_at=now)
    draft.put(cell)
    if not claim_task(draft, node, cell, fresh=True):
        draft.facts.append(TaskReadied(0))
