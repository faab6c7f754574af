"""An attempt began, ended or was lost: what becomes of its task.

Pure and private to core; called by ``core.stepping``. The epoch decides first: a lower one is stale and refused, the
same outcome told twice changes nothing.
"""

from __future__ import annotations

from typing import Any

from msgspec.structs import replace

from headrace.core.amending import say
from headrace.core.draft import SWEPT_BY, Draft
from headrace.core.eligible import stopped
from headrace.core.ending import REPEAT, end, halted_state
from headrace.core.inner import LATE
from headrace.core.moving import propagate
from headrace.core.policy import LOST, LOST_IN_A_ROW, QUARANTINED, SHORT_WAIT_US, another, delay_us
from headrace.core.readying import REFUSED_ONCE, make_ready
from headrace.model.cells import TaskCell, TaskMore
from headrace.model.changes import Claim, Lose, OutcomeKind, Settle, Started, Wake
from headrace.model.errors import Refused, Stale
from headrace.model.facts import TaskHeld, TaskRetrying, TaskStarted
from headrace.model.ids import WHOLE
from headrace.model.states import TASK_LEASED, TaskState

DIGEST_KEPT = 8
"""Bytes of an outcome's digest that a cell keeps."""


def named(draft: Draft, change: Started | Settle | Lose | Claim | Wake) -> TaskCell:
    """The cell a change speaks of."""
    cell = draft.task(change.no, change.index)
    if cell is None or not 0 <= change.no < len(draft.graph.nodes):
        raise Refused(f"run {change.run} has no task {change.no}[{change.index}]: {type(change).__name__} refused")
    return cell


def leased(draft: Draft, change: Started | Settle | Lose) -> TaskCell | None:
    """The cell if this epoch owns it now; None when what the change says is already done. Refuses stale epochs."""
    cell = named(draft, change)
    if change.epoch < cell.epoch:
        raise Stale(_says(draft, cell, change, "stale"))
    if change.epoch > cell.epoch:
        raise Stale(_says(draft, cell, change, "unknown epoch"))
    return cell if cell.state in TASK_LEASED else None


def started(draft: Draft, change: Started) -> None:
    """The attempt is running."""
    cell = leased(draft, change)
    if cell is None:
        return
    if change.said:
        say(draft, cell, change.said)
        cell = named(draft, change)
    if cell.state == TaskState.running:
        return
    draft.change(cell, state=TaskState.running, started_at=change.at, flags=cell.flags & ~REFUSED_ONCE)
    draft.facts.append(TaskStarted(cell.no, cell.index, change.at))
    draft.begun(change.at)


def settle(draft: Draft, change: Settle) -> None:
    """The attempt is over."""
    cell = leased(draft, change)
    if cell is None:
        _compare(draft, change)
        return
    if cell.flags & LATE and change.kind != OutcomeKind.succeeded:
        change = replace(change, kind=OutcomeKind.timeout, reason="timeout")
    if change.kind == OutcomeKind.refused:
        _refused(draft, cell, change)
        return
    draft.begun(change.started_at or draft.now)
    if change.kind == OutcomeKind.lost:
        _lost(draft, cell, change.reason or "lost", _said(draft, cell, change))
        return
    said = _said(draft, cell, change)
    if change.skip:
        _over(draft, cell, TaskState.skipped, said)
    elif change.kind == OutcomeKind.succeeded:
        if change.result is not None and change.result.data is not None and cell.index == WHOLE:
            draft.working_result(cell.key, change.result)
        _succeeded(draft, cell, {**said, "error": None})
    elif change.kind == OutcomeKind.canceled:
        _over(draft, cell, TaskState.canceled, said)
    else:
        _failed(draft, cell, change, said)


def lose(draft: Draft, change: Lose) -> None:
    """The owner of the attempt is gone; its epoch ends, so that a late outcome is stale."""
    cell = leased(draft, change)
    if cell is not None:
        said = {"epoch": cell.epoch + 1, "reason": change.reason, "result": None}
        _lost(draft, cell, change.reason, said)


def _said(draft: Draft, cell: TaskCell, change: Settle) -> dict[str, Any]:
    """What the attempt said, as fields of its task."""
    return {
        "exit_status": change.exit_status,
        "exit_code": change.exit_code,
        "signal": change.signal,
        "reason": change.reason or ("timeout" if change.kind == OutcomeKind.timeout else None),
        "result": draft.keep(cell.key, change.result),
        "error": draft.keep(cell.key, change.error),
        "started_at": change.started_at,
        "ended_at": change.ended_at,
        "seal": change.seal,
        "digest": change.digest[:DIGEST_KEPT],
        "lost": 0,
        "flags": cell.flags & ~REFUSED_ONCE,
    }


def _over(draft: Draft, cell: TaskCell, state: TaskState, said: dict[str, Any]) -> None:
    ended = end(draft, cell, state, **said)
    if cell.index == WHOLE:
        propagate(draft, ended)


def _succeeded(draft: Draft, cell: TaskCell, said: dict[str, Any]) -> None:
    """The end of the task, unless it is to be done again; one that may not be done again is not done."""
    again = draft.node(cell).repeat
    if again is None:
        _over(draft, cell, TaskState.succeeded, said)
        return
    more = cell.more or TaskMore()
    said |= {"more": replace(more, repeated=more.repeated + 1), "failures": 0}
    if more.repeated + 1 >= again.times:
        _over(draft, cell, TaskState.succeeded, said)
    elif stopped(draft.node(cell), draft.run):
        _over(draft, cell, TaskState.canceled, {**said, "reason": "stopped"})
    else:
        _again(draft, cell, draft.now + again.delay_ms * 1000, {**said, "reason": REPEAT})


def _failed(draft: Draft, cell: TaskCell, change: Settle, said: dict[str, Any]) -> None:
    node = draft.node(cell)
    policy = node.retry
    failures = cell.failures + 1
    said["failures"] = failures
    if stopped(node, draft.run) or not another(policy, change, failures):
        _over(draft, cell, TaskState.failed, said)
        return
    if change.retry_after is None:
        wait = delay_us(policy, failures, draft.dice)
    else:
        wait = max(change.retry_after * 1000, 0 if policy.given else SHORT_WAIT_US)
    _again(draft, cell, draft.now + wait, said)


def _again(draft: Draft, cell: TaskCell, at: int, said: dict[str, Any]) -> None:
    """Another attempt follows at ``at``."""
    changed = draft.owe(cell, at, **{**said, "state": TaskState.retrying})
    draft.facts.append(TaskRetrying(cell.no, cell.index, cell.attempt, at, changed.reason))
    _unleased(draft, cell)


def _unleased(draft: Draft, cell: TaskCell) -> None:
    if cell.index == WHOLE:
        draft.change_run(live=draft.run.live - 1)


def _lost(draft: Draft, cell: TaskCell, reason: str, said: dict[str, Any]) -> None:
    node = draft.node(cell)
    lost = cell.lost + 1
    said = {**said, "lost": lost}
    if stopped(node, draft.run):
        _over(draft, cell, TaskState.canceled if draft.run.intent in SWEPT_BY else TaskState.lost, said)
    elif node.on_lost == "fail" or (node.on_lost == "retry" and "lost" in node.retry.never):
        _over(draft, cell, TaskState.lost, said)
    elif node.on_lost == "ask" or lost >= LOST_IN_A_ROW:
        why = LOST if node.on_lost == "ask" else QUARANTINED
        draft.change(cell, **{**said, "state": TaskState.held, "reason": why, "due_at": 0})
        draft.facts.append(TaskHeld(cell.no, cell.index, why))
        draft.held(1)
        _unleased(draft, cell)
    else:
        draft.facts.append(TaskRetrying(cell.no, cell.index, cell.attempt, draft.now, reason))
        _unleased(draft, cell)
        make_ready(draft, node, draft.change(cell, **said))


def _refused(draft: Draft, cell: TaskCell, change: Settle) -> None:
    """The agent did not start it: ready again at no cost; refused twice in a row it waits a moment first."""
    node = draft.node(cell)
    said: dict[str, Any] = {"attempt": cell.attempt - 1, "flags": cell.flags | REFUSED_ONCE}
    said |= {"digest": change.digest[:DIGEST_KEPT], "reason": change.reason}
    if stopped(node, draft.run):
        _over(draft, cell, halted_state(draft.run, replace(cell, attempt=cell.attempt - 1)), said)
    elif cell.flags & REFUSED_ONCE:
        _again(draft, cell, draft.now + SHORT_WAIT_US, said)
    else:
        _unleased(draft, cell)
        make_ready(draft, node, draft.change(cell, **said), claim=False)


def _compare(draft: Draft, change: Settle) -> None:
    """The same outcome again is already done; a different one for the same attempt is nonsense."""
    cell = named(draft, change)
    kept = cell.digest
    if kept and change.digest and kept != change.digest[:DIGEST_KEPT]:
        raise Refused(_says(draft, cell, change, "it was told a different outcome"))


def _says(draft: Draft, cell: TaskCell, change: Any, why: str) -> str:
    name = draft.graph.nodes[cell.no].name
    at = "" if cell.index == WHOLE else f"[{cell.index}]"
    return (
        f"{why}: {type(change).__name__} with epoch {change.epoch} for task {name}{at} of run {cell.run}, "
        f"which is {cell.state.name} with epoch {cell.epoch}"
    )
