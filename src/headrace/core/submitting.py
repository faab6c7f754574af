"""A run begins: its cell, one cell per task, and what is ready at once.

Pure and private to core; called by ``core.stepping``. Graphs of one task take the short way of ``core.single``.
"""

from __future__ import annotations

from headrace.core.draft import Draft, next_due
from headrace.core.gates import arrive
from headrace.core.moving import begin, propagate
from headrace.core.nodes import Graph
from headrace.core.restarting import take
from headrace.core.single import submit_single
from headrace.core.work import HasFiles, Step, Working
from headrace.model.cells import RunCell, RunInput, RunMore, TaskCell
from headrace.model.changes import Submit
from headrace.model.errors import Refused
from headrace.model.facts import RunSubmitted
from headrace.model.states import RUN_FINAL

_SUBMITTED = RunSubmitted()


def submit(graph: Graph, working: Working, change: Submit, now: int, dice: float) -> Step:
    """The new run, with everything ready that nothing blocks."""
    given = change.input
    if given.run in working.runs:
        raise Refused(f"run {given.run} is {working.runs[given.run].state.name}: it exists already, submit refused")
    if graph.fast and given.more is None and graph.timeout_ms == 0 and graph.nodes[0].source.fixed is not None:
        return submit_single(graph, working, given, now)
    run = RunCell(
        given.run,
        given.graph,
        version=1,
        left=graph.ordinary,
        finals=len(graph.finals),
        priority=given.priority,
        created_at=given.created_at,
        bare=given.params == b"{}",
        more=_more(given, now),
    )
    draft = Draft(graph, working, run, now, dice)
    draft.run_changed = True
    draft.given = given
    draft.facts.append(_SUBMITTED)
    enters = graph.gate is None or arrive(draft)
    if draft.run.state in RUN_FINAL:
        return draft.finish()
    take(draft, change.taken)
    if given.more is not None and given.more.restarted_from:
        draft.commands.append(HasFiles(given.run))
    for node in graph.nodes:
        if draft.task(node.no) is None:
            draft.put(TaskCell(given.run, node.no, version=1, pending=node.pending))
    if draft.run.more is not None:
        draft.wait(next_due(draft.run))
    if enters and (draft.run.more is None or draft.run.more.begin_at == 0):
        begin(draft)
    for cell in change.taken:
        propagate(draft, cell)
    return draft.finish()


def _more(given: RunInput, now: int) -> RunMore | None:
    """What of a submit only some runs have, and their changes look at."""
    more = given.more
    if more is None:
        return None
    found = RunMore(
        begin_at=more.begin_at if more.begin_at > now else 0,
        expires_at=more.expires_at,
        source=more.restarted_from,
        groups=more.groups,
        foreign=bool(more.foreign),
        parent=more.parent,
    )
    return None if found == RunMore() else found
