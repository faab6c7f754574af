"""Runs, their tasks, logs and files, and why they wait, as the API answers them.

Records only. Named everywhere through ``model.views``.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar

from msgspec import Meta

from headrace.model.document import State
from headrace.model.views.base import ErrorView, View


class AttemptView(View, kw_only=True, frozen=True):
    """One try."""

    edn_namespace: ClassVar[str] = "attempt"

    attempt: int
    epoch: int
    state: State
    exit_code: int | None = None
    signal: int | None = None
    exit_status: str | None = None
    agent: str | None = None
    reason: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    error: ErrorView | None = None
    child: int | None = None
    stdout: str | None = None
    stderr: str | None = None


class ProgressView(View, kw_only=True, frozen=True):
    """How far some work says that it is."""

    done: float
    total: float | None = None
    message: str = ""


class TaskView(View, kw_only=True, frozen=True):
    """One task of a run, or one instance of a task with ``each``. A group shows ``counts`` per state.

    ``result_omitted`` says why a result that there is does not stand in this answer, and where it does. ``child`` is the
    run that is the work of its newest attempt, where the task runs a job.
    """

    edn_namespace: ClassVar[str] = "task"

    name: str
    index: int | None = None
    label: str | None = None
    state: State
    exit_status: str | None = None
    exit_code: int | None = None
    attempt: int = 0
    epoch: int = 0
    agent: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    result: Any = None
    result_omitted: str | None = None
    error: ErrorView | None = None
    reason: str | None = None
    waits_for: list[str] = []
    attempts: list[AttemptView] = []
    counts: Annotated[dict[str, int], Meta(extra={"edn": "record"})] | None = None
    child: int | None = None
    progress: ProgressView | None = None
    taken_from: int | None = None
    """The run whose work this is: it had succeeded there and was not repeated; its log is there."""
    stdout: str | None = None
    stderr: str | None = None


class TaskPage(View, kw_only=True, frozen=True):
    """A page of tasks, or of a task's instances."""

    items: list[TaskView]
    next_cursor: str | None = None


class RunView(View, kw_only=True, frozen=True):
    """One run. ``version`` is null for a definition that was never saved; ``result_omitted`` as that of a task.

    ``restarted_from`` is the run that this one goes on from, ``restarted_as`` are those that go on with this one.
    ``begins_at`` and ``expires_at`` are set where the submit gave ``at`` or ``delay``, and ``expires``.
    """

    edn_namespace: ClassVar[str] = "run"

    id: int
    job: str | None
    version: int | None
    state: State
    exit_status: str | None = None
    params: Any = None
    result: Any = None
    result_omitted: str | None = None
    priority: int = 0
    labels: dict[str, str] = {}
    reason: str | None = None
    phase: str | None = None
    message: str | None = None
    phase_at: datetime | None = None
    parent: int | None = None
    schedule: str | None = None
    created_at: datetime
    begins_at: datetime | None = None
    expires_at: datetime | None = None
    restarted_from: int | None = None
    restarted_as: list[int] = []
    test: str | None = None
    """Of a run for a test, what its work was replaced by: ``noop`` or ``print``."""
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tasks: list[TaskView] = []
    tasks_omitted: int = 0
    """How many more tasks there are that do not stand in ``tasks``: those that failed stand there first."""


class ForeignView(View, kw_only=True, frozen=True):
    """A recorded job that runs elsewhere. ``job_id`` is the number of its run here."""

    edn_namespace: ClassVar[str] = "job"

    job_id: int
    state: State
    phase: str | None = None
    message: str | None = None


class RunPage(View, kw_only=True, frozen=True):
    """A page of runs; they carry no tasks."""

    items: list[RunView]
    next_cursor: str | None = None


class LogView(View, kw_only=True, frozen=True):
    """One log record as JSON shows it; ``text`` is the bytes read as UTF-8 with replacement."""

    edn_namespace: ClassVar[str] = "log"

    seq: int
    at: datetime
    stream: str
    level: str = ""
    logger: str = ""
    text: str
    fields: dict[str, Any] | None = None
    task: str = ""
    index: int | None = None
    attempt: int = 0


class LogPage(View, kw_only=True, frozen=True):
    """A page of log records. ``next_cursor`` is null when the log is sealed and read to its end."""

    items: list[LogView]
    next_cursor: str | None = None


class ArtifactView(View, kw_only=True, frozen=True):
    """A file that a task left."""

    edn_namespace: ClassVar[str] = "artifact"

    task: str
    index: int | None = None
    path: str
    size: int
    digest: str


class ArtifactPage(View, kw_only=True, frozen=True):
    """The files of a run."""

    items: list[ArtifactView]
    next_cursor: str | None = None


class ReasonView(View, kw_only=True, frozen=True):
    """One reason of a decision."""

    code: str
    message: str
    refers_to: str | None = None
    at: datetime | None = None
    """When that came to be, where it is something that has happened."""


class ExplainView(View, kw_only=True, frozen=True):
    """Why it runs, does not run, or will not run; from the function that decides."""

    decision: str
    reasons: list[ReasonView]
    expected_at: datetime | None = None
    tasks_omitted: int = 0
    """How many more tasks there are of which nothing is said: those that failed, or are under way, come first."""
    advice: list[str] = []
    """What a person can do next, each as a command of ``headrace`` and what it is good for."""
