"""What is owed when a ``Wake`` comes: retries, propagation, pages of sweeps, the run's timeout, the fence.

Pure and private to core; called by ``core.stepping``. A ``Wake`` is harmless when nothing is owed: it looks at the
cell, never at who sent it. Everything that reaches far is done here, at most ``CHUNK`` cells at a time.
"""

from __future__ import annotations

from headrace.core import inner
from headrace.core.conditions import met
from headrace.core.draft import BY_WISH, Draft, cursor_of, is_swept, next_due, token_of
from headrace.core.eligible import is_spared
from headrace.core.ending import end_uncreated, halted_state, side_end
from headrace.core.gates import arrival_rank
from headrace.core.groups import expand
from headrace.core.holding import sweep_held, take_back
from headrace.core.moving import DELAYED, GATE_PASSED, activate, begin, looked_up, propagate, settled_need
from headrace.core.nodes import CHUNK, Node
from headrace.core.readying import make_ready
from headrace.core.work import StopAttempt
from headrace.model.cells import TaskCell
from headrace.model.changes import Wake
from headrace.model.facts import RunChanged
from headrace.model.ids import RUN_ITSELF, TaskKey
from headrace.model.states import RUN_FINAL, TASK_FINAL, TASK_LEASED, RunState, StopIntent, TaskState

FENCE_US = 5_000_000
"""After the grace time of the kill, this long for its outcome to arrive before the attempt is fenced."""

_WAITS = frozenset({TaskState.ready, TaskState.retrying, TaskState.held})


def wake(draft: Draft, change: Wake) -> None:
    """Do what is owed."""
    if change.no == RUN_ITSELF:
        _wake_run(draft, change.first)
        return
    cell = draft.task(change.no, change.index)
    if cell is None or cell.due_at == 0 or cell.due_at > draft.now:
        return
    if draft.run.state in RUN_FINAL:
        draft.change(cell, due_at=0)
    elif cell.state in TASK_FINAL:
        propagate(draft, draft.change(cell, due_at=0))
    elif cell.state == TaskState.blocked and cell.more is not None and cell.more.cache:
        looked_up(draft, draft.node(cell), draft.change(cell, due_at=0))
    elif cell.state == TaskState.blocked:
        activate(draft, draft.change(cell, due_at=0), woken=True)
    elif cell.state == TaskState.retrying:
        make_ready(draft, draft.node(cell), draft.change(cell, due_at=0))
    elif cell.counts is not None:
        expand(draft, draft.change(cell, due_at=0), change.first)
    elif draft.node(cell).inner:
        inner.woken(draft, draft.node(cell), cell)
    elif cell.state in TASK_LEASED:
        _fence(draft, cell, "fenced")


def bring_to_end(draft: Draft, intent: StopIntent, reason: str | None) -> None:
    """From now on nothing begins but what this intent lets begin; the sweep does the rest."""
    if draft.run.more is not None:
        draft.more(begin_at=0, expires_at=0, release=False)
    if draft.run.state == RunState.paused:
        # ``finally`` tasks that the pause has parked may begin again.
        draft.more(hold=0)
    draft.change_run(state=RunState.stopping, intent=intent, reason=reason)
    draft.facts.append(RunChanged(state=RunState.stopping, reason=reason or intent.name))
    draft.owe_run(cursor=0)


def _wake_run(draft: Draft, token: int) -> None:
    run = draft.run
    late = run.deadline_at and run.deadline_at <= draft.now
    if late and run.state not in RUN_FINAL and run.intent not in BY_WISH:
        bring_to_end(draft, StopIntent.timeout, "timeout")
    elif _expired(draft):
        bring_to_end(draft, StopIntent.cancel, "expired")
    elif not is_swept(run):
        if 0 < run.due_at <= draft.now:
            _come(draft)
    elif token != token_of(run):
        draft.owe_run()
    elif run.cursor < 0:
        sweep_held(draft)
    elif run.gate:
        _open_gate(draft)
    else:
        _sweep(draft)


def _expired(draft: Draft) -> bool:
    """It was to begin before now, and has not."""
    run, more = draft.run, draft.run.more
    if more is None or not 0 < more.expires_at <= draft.now or run.intent != StopIntent.none:
        return False
    return run.state not in RUN_FINAL and run.started_at == 0 and run.live == 0


def _come(draft: Draft) -> None:
    """An instant that the run waited for has come: what nothing blocks begins."""
    more = draft.run.more
    if more is not None and 0 < more.expires_at <= draft.now:
        draft.more(expires_at=0)
    if more is not None and 0 < more.begin_at <= draft.now:
        draft.more(begin_at=0)
        if more.waiting:
            # It comes to its job's gate only now.
            draft.more(rank=arrival_rank(draft))
        else:
            begin(draft)
    draft.wait(next_due(draft.run))


def _sweep(draft: Draft) -> None:
    """One page of task rows: end what never began, ask what runs to stop."""
    run = draft.run
    page = draft.working.members.get(run.run, [])
    for key in page:
        _sweep_one(draft, key)
    if len(page) >= CHUNK:
        draft.owe_run(cursor=cursor_of(*page[-1][1:]))
        return
    draft.rest(cursor=-1)


def _sweep_one(draft: Draft, key: TaskKey) -> None:
    cell = draft.task(key[1], key[2])
    intent = draft.run.intent
    if cell is None or cell.state in TASK_FINAL or (draft.node(cell).final and not _all_of_it(draft)):
        return
    node = draft.node(cell)
    if intent == StopIntent.failure:
        _sweep_failure(draft, node, cell)
    elif cell.counts is not None:
        end_uncreated(draft, cell)
    elif cell.state == TaskState.blocked or cell.state in _WAITS:
        side_end(draft, cell, TaskState.canceled)
    elif node.inner:
        inner.stop(draft, node, cell)
    elif intent == StopIntent.abandon:
        _fence(draft, cell, "abandoned")
    elif intent == StopIntent.stop:
        take_back(draft, cell)
    else:
        _ask(draft, node, cell)


def _all_of_it(draft: Draft) -> bool:
    """Whether the sweep ends ``finally`` tasks too: of a run that was abandoned, or never let in."""
    more = draft.run.more
    return draft.run.intent == StopIntent.abandon or (more is not None and more.waiting)


def _sweep_failure(draft: Draft, node: Node, cell: TaskCell) -> None:
    """Blocked tasks are decided by the ends of those they wait for."""
    if is_spared(node, draft.run):
        return
    if cell.counts is not None:
        end_uncreated(draft, cell)
    elif cell.state in _WAITS or (cell.state == TaskState.blocked and cell.flags & DELAYED and cell.due_at):
        side_end(draft, cell, halted_state(draft.run, cell), reason=cell.reason or "stopped")
    elif node.inner and cell.state == TaskState.running:
        inner.stop(draft, node, cell)


def _fence(draft: Draft, cell: TaskCell, reason: str) -> None:
    """The last rung: the attempt is nobody's any more, whatever it still does."""
    draft.commands.append(StopAttempt(cell.key, cell.agent, cell.boot, cell.epoch, 0, reason, fence=True))
    side_end(draft, cell, TaskState.canceled, epoch=cell.epoch + 1, reason=reason)


def _ask(draft: Draft, node: Node, cell: TaskCell) -> None:
    """The first rung of the ladder; the last one, the fence, comes by the cell's ``due_at``."""
    draft.owe(cell, draft.now + node.grace_ms * 1000 + FENCE_US)
    reason = draft.run.intent.name
    draft.commands.append(StopAttempt(cell.key, cell.agent, cell.boot, cell.epoch, node.grace_ms, reason))


def _open_gate(draft: Draft) -> None:
    """All ordinary tasks have ended: one page of ``finally`` tasks learns so, those that know it already do not.

    After a cancel or the run's timeout nobody is asked any more about those that are held.
    """
    run, graph = draft.run, draft.graph
    page = graph.finals[run.cursor : run.cursor + CHUNK]
    for no in page:
        cell = _loaded(draft, no)
        if cell.state == TaskState.blocked and not cell.flags & GATE_PASSED:
            _pass_gate(draft, cell)
        elif cell.state == TaskState.held and run.intent in BY_WISH:
            side_end(draft, cell, TaskState.canceled)
    following = run.cursor + len(page)
    if following < len(graph.finals):
        draft.owe_run(cursor=following)
    else:
        draft.rest(cursor=-1)


def _pass_gate(draft: Draft, cell: TaskCell) -> None:
    node = draft.node(cell)
    flags, pending = cell.flags | GATE_PASSED, cell.pending - 1
    for need in node.gate:
        source = _loaded(draft, need.task)
        flags, pending = settled_need(node, flags, pending, need.any, met(need, source))
        if pending < 0:
            side_end(draft, cell, TaskState.skipped, reason="needs")
            return
    cell = draft.change(cell, flags=flags, pending=pending)
    if pending == 0:
        activate(draft, cell)


def _loaded(draft: Draft, no: int) -> TaskCell:
    """A task's cell that ``reach`` named."""
    cell = draft.task(no)
    if cell is None:
        raise AssertionError(f"task {no} of run {draft.run.run} is not loaded")
    return cell
