"""Facts: what has happened, in the past tense. Written into history, shown as events; never altered.

A fact about the run itself has ``no`` = RUN_ITSELF. Encoded as tagged MessagePack arrays: fields only added.
"""

from __future__ import annotations

from msgspec import Struct

from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState, TaskState


class Fact(Struct, frozen=True, array_like=True, tag=True, gc=False):
    """Base: ``no`` and ``index`` say which task of the run it is about."""

    no: int = RUN_ITSELF
    index: int = WHOLE


class RunSubmitted(Fact, frozen=True, array_like=True, tag="rs", gc=False):
    """The run exists."""


class RunChanged(Fact, frozen=True, array_like=True, tag="rc", gc=False):
    """The run moved to ``state`` (started, paused, stopping …)."""

    state: RunState = RunState.running
    reason: str | None = None


class RunEnded(Fact, frozen=True, array_like=True, tag="re", gc=False):
    """The run's one final state."""

    state: RunState = RunState.succeeded
    exit_status: str | None = None
    reason: str | None = None


class TaskReadied(Fact, frozen=True, array_like=True, tag="tr", gc=False):
    """Nothing but room is missing."""


class TaskDispatched(Fact, frozen=True, array_like=True, tag="td", gc=False):
    """Attempt ``attempt`` was given to an agent under ``epoch``."""

    attempt: int = 0
    epoch: int = 0
    agent: int = 0


class TaskStarted(Fact, frozen=True, array_like=True, tag="ts", gc=False):
    """The attempt is running since ``at``."""

    at: int = 0


class TaskRetrying(Fact, frozen=True, array_like=True, tag="ty", gc=False):
    """The attempt failed or was lost; another follows at ``due_at``."""

    attempt: int = 0
    due_at: int = 0
    reason: str | None = None


class TaskHeld(Fact, frozen=True, array_like=True, tag="th", gc=False):
    """It waits for a person; ``reason`` says for what."""

    reason: str | None = None


class TaskEnded(Fact, frozen=True, array_like=True, tag="te", gc=False):
    """The task's final state, with what its last attempt said."""

    state: TaskState = TaskState.succeeded
    attempt: int = 0
    exit_status: str | None = None
    reason: str | None = None
    started_at: int = 0
    ended_at: int = 0


class GroupExpanded(Fact, frozen=True, array_like=True, tag="ge", gc=False):
    """Instances up to ``created`` of ``total`` exist."""

    created: int = 0
    total: int = 0


class TaskTaken(Fact, frozen=True, array_like=True, tag="tt", gc=False):
    """It was not repeated: its state and result are those that it had in run ``origin``."""

    origin: int = 0
    state: TaskState = TaskState.succeeded


class RunAmended(Fact, frozen=True, array_like=True, tag="ra", gc=False):
    """A person gave it another priority or other labels; None for what stayed."""

    priority: int | None = None
    labels: dict[str, str] | None = None


class RunPhase(Fact, frozen=True, array_like=True, tag="rp", gc=False):
    """The work says what it is doing now."""

    phase: str = ""
    message: str = ""


class RunRestarted(Fact, frozen=True, array_like=True, tag="rr", gc=False):
    """A new run, ``by``, goes on with what this one did not bring to an end."""

    by: int = 0


class OutcomeRejected(Fact, frozen=True, array_like=True, tag="or", gc=False):
    """An outcome that could not be applied: stale, or nonsense. The feed moved on."""

    epoch: int = 0
    why: str = ""


AnyFact = (
    RunSubmitted
    | RunChanged
    | RunEnded
    | TaskReadied
    | TaskDispatched
    | TaskStarted
    | TaskRetrying
    | TaskHeld
    | TaskEnded
    | GroupExpanded
    | OutcomeRejected
    | TaskTaken
    | RunRestarted
    | RunAmended
    | RunPhase
)
