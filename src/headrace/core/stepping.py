"""``step``: decide one change over a working set. The only place where the state of runs is decided.

Pure: no clock, randomness, IO. A change that is refused has touched nothing. Called by the ledger, the simulator and
in-process runs, which then ``apply`` the step to their working set.
"""

from __future__ import annotations

from headrace.core.draft import Draft
from headrace.core.gates import admit
from headrace.core.inner import begin
from headrace.core.limits import account, account_run
from headrace.core.nodes import Graph
from headrace.core.plain import claim_plain, settle_plain
from headrace.core.readying import claim_task
from headrace.core.settling import lose, named, settle, started
from headrace.core.single import claim_single, settle_single
from headrace.core.submitting import submit
from headrace.core.verbs import ask
from headrace.core.waking import wake
from headrace.core.work import Step, Working
from headrace.model.cells import RunCell
from headrace.model.changes import OF_THE_RUN, Admit, Change, Claim, Lose, Settle, Started, Submit, Wake
from headrace.model.errors import Refused, Stale
from headrace.model.states import RunState, TaskState

NOTHING = Step()
"""The step of a change that is already done, or not owed."""

_ABANDONED = RunState.abandoned
_OF_THE_RUN = (Wake, *OF_THE_RUN)


def step(graph: Graph, working: Working, change: Change, now: int, dice: float) -> Step:
    """What becomes of one change. ``now`` in µs, ``dice`` in [0, 1).

    Raises ``Refused``, which names entity, state and change. Never alters ``working``, except that places claimed are
    taken from its offers, as the last act. Keys that ``reach`` named must have been loaded.
    """
    if isinstance(change, Submit):
        return submit(graph, working, change, now, dice)
    run = working.runs.get(change.run)
    if run is None:
        raise Refused(f"there is no run {change.run}: {type(change).__name__} refused")
    if (quick := _quick(graph, working, run, change, now)) is not None:
        return quick
    if run.state == _ABANDONED and not isinstance(change, _OF_THE_RUN):
        return _too_late(run, change)
    draft = Draft(graph, working, run, now, dice)
    if isinstance(change, Settle):
        settle(draft, change)
    elif isinstance(change, Started):
        started(draft, change)
    elif isinstance(change, Claim):
        _claim(draft, change)
    elif isinstance(change, Wake):
        wake(draft, change)
    elif isinstance(change, Lose):
        lose(draft, change)
    elif isinstance(change, Admit):
        admit(draft)
    else:
        ask(draft, change)
    if not draft.tasks and not draft.run_changed and not draft.commands:
        return NOTHING
    return draft.finish()


def apply(working: Working, decided: Step) -> None:
    """Lay a step over the working set, so that the next change sees it."""
    run, tasks = decided.run, working.tasks
    if run is not None:
        if run.more is not None:
            account_run(working, working.runs.get(run.run), run)
        working.runs[run.run] = run
    for cell in decided.tasks:
        key = (cell.run, cell.no, cell.index)
        if cell.more is not None:
            account(working, tasks.get(key), cell)
        tasks[key] = cell
    if decided.ticks:
        working.ticks.update(decided.ticks)
    for key, value in decided.values:
        working.values[key] = value


def _quick(graph: Graph, working: Working, run: RunCell, change: Change, now: int) -> Step | None:
    """The short way, where there is one; None for the long way, which alone knows what only some runs have."""
    if run.more is not None or graph.long:
        return None
    if isinstance(change, Settle):
        if graph.fast:
            return settle_single(working, run, change, now)
        return settle_plain(graph, working, run, change, now)
    if isinstance(change, Claim):
        return (claim_single if graph.fast else claim_plain)(graph, working, run, change)
    return None


def _too_late(run: RunCell, change: Change) -> Step:
    """An abandoned run is over, whatever its agents say: until the sweep has fenced its tasks, its state does."""
    if isinstance(change, Settle | Started):
        raise Stale(f"run {run.run} is abandoned: {type(change).__name__} with epoch {change.epoch} refused")
    return NOTHING


def _claim(draft: Draft, change: Claim) -> None:
    """Give a ready task out, if it is still ready and an agent has room."""
    cell = named(draft, change)
    if cell.state == TaskState.ready:
        node = draft.node(cell)
        if node.inner:
            begin(draft, node, cell)
        else:
            claim_task(draft, node, cell, fresh=False)
