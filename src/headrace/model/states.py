"""The states of runs, tasks and attempts: the words of DESIGN.md §2 and nothing else.

Stored as small integers, shown as their names. *State* is what the system decided; *exit status* is what the work
said; they are separate fields everywhere. The legal moves between states live in ``core.tables``.
"""

from __future__ import annotations

from enum import IntEnum


class RunState(IntEnum):
    """Where a run stands. The last four are final."""

    queued = 0
    running = 1
    paused = 2
    stopping = 3
    succeeded = 4
    failed = 5
    canceled = 6
    abandoned = 7


class TaskState(IntEnum):
    """Where a task, an instance or a group stands. From ``succeeded`` on it is final."""

    blocked = 0
    ready = 1
    dispatched = 2
    running = 3
    retrying = 4
    held = 5
    succeeded = 6
    failed = 7
    canceled = 8
    skipped = 9
    lost = 10


class AttemptState(IntEnum):
    """Where an attempt stands. From ``succeeded`` on it is final; ``dispatched`` to final is legal (told once)."""

    dispatched = 0
    running = 1
    succeeded = 2
    failed = 3
    canceled = 4
    lost = 5
    refused = 6


RUN_FINAL = frozenset({RunState.succeeded, RunState.failed, RunState.canceled, RunState.abandoned})
TASK_FINAL = frozenset({TaskState.succeeded, TaskState.failed, TaskState.canceled, TaskState.skipped, TaskState.lost})
ATTEMPT_FINAL = frozenset(
    {AttemptState.succeeded, AttemptState.failed, AttemptState.canceled, AttemptState.lost, AttemptState.refused}
)
TASK_LEASED = frozenset({TaskState.dispatched, TaskState.running})
"""States in which an agent owns the task."""


class StopIntent(IntEnum):
    """Why a run in state ``stopping`` is being brought to its end."""

    none = 0
    cancel = 1
    timeout = 2
    failure = 3
    """``on_failure: stop``: nothing new begins except what the failure calls for."""
    stop = 4
    """The verb ``stop``: the running finishes, nothing new begins."""
    abandon = 5
    """The record has ended at once; what is left of its tasks is fenced."""
