"""The machines of runs, tasks and attempts, as data: which moves there are and what brings them.

Pure. Tests walk every pair of states against these tables and check each step of the random graphs by them; the docs
draw them. A move that is not here must never be written.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntEnum
from typing import Final

from headrace.model.states import ATTEMPT_FINAL, RUN_FINAL, TASK_FINAL, AttemptState, RunState, TaskState

_R, _T, _A = RunState, TaskState, AttemptState

RUN_MOVES: Final[dict[tuple[RunState, RunState], str]] = {
    (_R.queued, _R.running): "first attempt began",
    (_R.queued, _R.paused): "pause",
    (_R.queued, _R.stopping): "cancel, timeout or stop",
    (_R.queued, _R.succeeded): "its one attempt was told once",
    (_R.queued, _R.failed): "its one attempt was told once",
    (_R.queued, _R.canceled): "its one attempt was told once",
    (_R.queued, _R.abandoned): "abandon",
    (_R.running, _R.paused): "pause",
    (_R.running, _R.stopping): "cancel, timeout, failure or stop",
    (_R.running, _R.succeeded): "all tasks ended",
    (_R.running, _R.failed): "all tasks ended",
    (_R.running, _R.canceled): "all tasks ended",
    (_R.running, _R.abandoned): "abandon",
    (_R.paused, _R.running): "resume",
    (_R.paused, _R.queued): "resume before anything began",
    (_R.paused, _R.stopping): "cancel, timeout, failure or stop",
    (_R.paused, _R.succeeded): "all tasks ended",
    (_R.paused, _R.failed): "all tasks ended",
    (_R.paused, _R.canceled): "all tasks ended",
    (_R.paused, _R.abandoned): "abandon",
    (_R.stopping, _R.succeeded): "nothing was left to cancel",
    (_R.stopping, _R.failed): "all tasks ended",
    (_R.stopping, _R.canceled): "all tasks ended",
    (_R.stopping, _R.abandoned): "abandon",
}
"""Every move of a run, and what brings it."""

TASK_MOVES: Final[dict[tuple[TaskState, TaskState], str]] = {
    (_T.blocked, _T.ready): "needs are met",
    (_T.blocked, _T.dispatched): "needs are met and an agent has room",
    (_T.blocked, _T.running): "a group begins",
    (_T.blocked, _T.skipped): "conditions cannot hold, or a failure stopped the run",
    (_T.blocked, _T.failed): "an expression has no value",
    (_T.blocked, _T.canceled): "the run is canceled or timed out",
    (_T.blocked, _T.succeeded): "recorded: it ran elsewhere, or its result was at hand",
    (_T.ready, _T.dispatched): "claim",
    (_T.ready, _T.running): "a child run or a wait begins",
    (_T.ready, _T.failed): "an expression has no value, or a failure stopped its retry",
    (_T.ready, _T.lost): "a failure stopped its retry",
    (_T.ready, _T.skipped): "a failure stopped the run",
    (_T.ready, _T.canceled): "the run is canceled or timed out",
    (_T.dispatched, _T.running): "started",
    (_T.dispatched, _T.ready): "refused, or lost",
    (_T.dispatched, _T.retrying): "failed, or done once of several: another attempt follows",
    (_T.dispatched, _T.held): "lost, a person decides",
    (_T.dispatched, _T.succeeded): "succeeded",
    (_T.dispatched, _T.failed): "failed",
    (_T.dispatched, _T.canceled): "killed or fenced",
    (_T.dispatched, _T.skipped): "the work said skip",
    (_T.dispatched, _T.lost): "lost",
    (_T.running, _T.ready): "refused, or lost",
    (_T.running, _T.dispatched): "lost and claimed again at once",
    (_T.running, _T.retrying): "failed, or done once of several: another attempt follows",
    (_T.running, _T.held): "lost, a person decides",
    (_T.running, _T.succeeded): "succeeded",
    (_T.running, _T.failed): "failed",
    (_T.running, _T.canceled): "killed or fenced",
    (_T.running, _T.skipped): "the work said skip",
    (_T.running, _T.lost): "lost",
    (_T.retrying, _T.ready): "its time has come",
    (_T.retrying, _T.dispatched): "its time has come and an agent has room",
    (_T.retrying, _T.failed): "a failure stopped the run",
    (_T.retrying, _T.lost): "a failure stopped the run",
    (_T.retrying, _T.skipped): "a failure stopped the run",
    (_T.retrying, _T.canceled): "the run is canceled or timed out",
    (_T.held, _T.ready): "a person let it go on",
    (_T.held, _T.failed): "a failure stopped the run",
    (_T.held, _T.lost): "a failure stopped the run",
    (_T.held, _T.canceled): "the run is canceled or timed out",
}
"""Every move of a task or instance, and of a group, which makes fewer of them."""

GROUP_MOVES: Final[dict[tuple[TaskState, TaskState], str]] = {
    (_T.blocked, _T.running): "needs are met: instances are made",
    (_T.blocked, _T.skipped): "conditions cannot hold, or a failure stopped the run",
    (_T.blocked, _T.failed): "an expression has no value",
    (_T.blocked, _T.canceled): "the run is canceled or timed out",
    (_T.running, _T.succeeded): "all instances ended well, or there were none",
    (_T.running, _T.failed): "an instance failed or was lost, or each gives no list",
    (_T.running, _T.canceled): "an instance was canceled, or the run is canceled or timed out",
    (_T.running, _T.skipped): "all instances were skipped, or a failure stopped the run",
}
"""Every move of a group: a part of ``TASK_MOVES``, for other reasons."""

ATTEMPT_MOVES: Final[dict[tuple[AttemptState, AttemptState], str]] = {
    (_A.dispatched, _A.running): "started",
    (_A.dispatched, _A.succeeded): "told once",
    (_A.dispatched, _A.failed): "told once",
    (_A.dispatched, _A.canceled): "killed or fenced",
    (_A.dispatched, _A.lost): "its owner is gone",
    (_A.dispatched, _A.refused): "the agent did not start it",
    (_A.running, _A.succeeded): "told",
    (_A.running, _A.failed): "told",
    (_A.running, _A.canceled): "killed or fenced",
    (_A.running, _A.lost): "its owner is gone",
}
"""Every move of an attempt."""

State = RunState | TaskState | AttemptState


def allowed(old: State, new: State) -> bool:
    """Whether this move is in its table. To stay is always allowed."""
    if old is new:
        return True
    if isinstance(old, RunState) and isinstance(new, RunState):
        return (old, new) in RUN_MOVES
    if isinstance(old, TaskState) and isinstance(new, TaskState):
        return (old, new) in TASK_MOVES
    return isinstance(old, AttemptState) and isinstance(new, AttemptState) and (old, new) in ATTEMPT_MOVES


def drawing() -> dict[str, str]:
    """The machines as Mermaid text, by name."""
    return {
        "run": _drawn(RUN_MOVES.items(), RUN_FINAL),
        "task": _drawn(TASK_MOVES.items(), TASK_FINAL),
        "group": _drawn(GROUP_MOVES.items(), {new for _, new in GROUP_MOVES} & TASK_FINAL),
        "attempt": _drawn(ATTEMPT_MOVES.items(), ATTEMPT_FINAL),
    }


def _drawn(moves: Iterable[tuple[tuple[IntEnum, IntEnum], str]], final: Iterable[IntEnum]) -> str:
    lines = ["stateDiagram-v2"]
    lines += [f"    {old.name} --> {new.name}: {why}" for (old, new), why in moves]
    lines += [f"    {state.name} --> [*]" for state in sorted(final)]
    return "\n".join(lines) + "\n"
