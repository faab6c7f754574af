"""What the API answers: the shapes of CONTRACT.md §4, as records. Decoded by the client, encoded by control.

Instants are ISO 8601 UTC texts on the JSON wire (``…Z``, microseconds kept); user data stays as it is.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from headrace.model.document import Ours, State
from headrace.model.errors import Problem


class View(Struct, frozen=True, kw_only=True):
    """Base: every field is always written, null when unknown."""


class ErrorFrame(Struct, frozen=True):
    """One line of a traceback; ``yours`` says it is user code."""

    file: str
    line: int
    function: str
    code: str = ""
    yours: bool = False


class ErrorView(Struct, frozen=True):
    """Why an attempt failed."""

    type: str
    message: str
    traceback: str = ""
    frames: list[ErrorFrame] = []
    cause: Any = None


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


class ElapsedView(View, kw_only=True, frozen=True):
    """Seconds, of those that were looked at."""

    average: float
    median: float
    least: float
    most: float


class TaskStatisticsView(View, kw_only=True, frozen=True):
    """How one task went: instances of a task with ``each`` count one by one. ``attempts`` is an average.

    ``started_at`` and ``ended_at`` are those of the newest run.
    """

    edn_namespace: ClassVar[str] = "task"

    name: str
    states: dict[str, int]
    success_rate: float | None = None
    attempts: float | None = None
    elapsed: ElapsedView | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None


class JobStatisticsView(View, kw_only=True, frozen=True):
    """How the last ``runs`` ended runs of a job went. ``success_rate`` is that of those that succeeded or failed.

    ``elapsed`` is the time that runs took which succeeded, ``waited`` that from submit to the first attempt; ``last``,
    ``started_at`` and ``ended_at`` are those of the newest run; ``tasks`` are those of the 50 newest.
    """

    edn_namespace: ClassVar[str] = "job"

    job: str
    runs: int
    since: datetime | None = None
    states: dict[str, int]
    success_rate: float | None = None
    elapsed: ElapsedView | None = None
    waited: ElapsedView | None = None
    last: int | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    tasks: list[TaskStatisticsView] = []


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


class ExplainView(View, kw_only=True, frozen=True):
    """Why it runs, does not run, or will not run; from the function that decides."""

    decision: str
    reasons: list[ReasonView]
    expected_at: datetime | None = None
    tasks_omitted: int = 0
    """How many more tasks there are of which nothing is said: those that failed, or are under way, come first."""


class ProblemView(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """An RFC 9457 problem document."""

    status: int
    title: str
    detail: str
    type: str = "about:blank"
    instance: str | None = None
    problems: list[Problem] = []


class VersionView(View, kw_only=True, frozen=True):
    """Which Headrace this is. ``settings``: what the store's own writing connection says of its durability."""

    version: str
    api: str = "v1"
    python: str = ""
    store: str = ""
    settings: dict[str, str] = {}


class HealthView(View, kw_only=True, frozen=True):
    """Whether the server answers (``live``) and makes progress (``ready``)."""

    status: State


class ReadyView(HealthView, kw_only=True, frozen=True):
    """That the server makes progress, in numbers of its whole store; ``slots_free`` are those of this control's agents.

    ``nothing_begins_since``: since a look at which tasks were ready and an agent had room, nothing was given out: they may
    wait for labels or limits, as explain tells. ``changes_wait_seconds``: since the last commit, while changes wait.
    """

    runs_open: int
    tasks_ready: int
    tasks_leased: int
    slots_free: int
    changes_wait_seconds: float
    nothing_begins_since: datetime | None = None


class EventView(View, kw_only=True, frozen=True):
    """One event. ``sequence`` is the dense version within its subject."""

    edn_namespace: ClassVar[str] = "event"

    sequence: int
    at: datetime
    actor: str
    kind: str
    subject: str
    body: Ours


class StatsView(View, kw_only=True, frozen=True):
    """What there is to do, in the whole store, and what this control has done since it began."""

    runs: dict[str, int]
    """Runs that have not ended, by state."""
    tasks: dict[str, int]
    submitted: int
    settled: int
    commits: int
    agents: int
    slots_free: int
    watchers: int


class FeedEvent(EventView, kw_only=True, frozen=True):
    """An event among all others. ``cursor`` is the place behind it: to go on from there."""

    cursor: str


class FeedPage(View, kw_only=True, frozen=True):
    """Events in commit order. ``next_cursor`` is null when there were none; ``cursor`` says always where to go on."""

    items: list[FeedEvent]
    next_cursor: str | None = None
    cursor: str


class PackageView(View, kw_only=True, frozen=True):
    """A registered package: its digest and the tasks and jobs found in it."""

    edn_namespace: ClassVar[str] = "package"

    name: str
    digest: str
    version: int
    size: int
    created_at: datetime
    tasks: list[str] = []
    jobs: list[str] = []


class HolderView(View, kw_only=True, frozen=True):
    """Who holds units of a limit now: an attempt of this task."""

    run: int
    task: str
    index: int | None = None
    units: int = 1
    key: str = ""


class LimitView(View, kw_only=True, frozen=True):
    """A named limit. ``in_use``: units that live attempts hold now; ``holders``: the first hundred of them."""

    edn_namespace: ClassVar[str] = "limit"

    name: str
    slots: int | None = None
    rate: str | None = None
    burst: int | None = None
    key: str | None = None
    description: str = ""
    paused: bool = False
    reason: str | None = None
    in_use: int = 0
    holders: list[HolderView] = []
    version: int = 1
    created_at: datetime
    updated_at: datetime


class AgentView(View, kw_only=True, frozen=True):
    """An agent as control knows it."""

    edn_namespace: ClassVar[str] = "agent"

    id: int
    name: str
    state: State
    boot: str
    slots: int
    labels: dict[str, str] = {}
    running: int = 0


class JobPage(View, kw_only=True, frozen=True):
    """A page of jobs: definition fields plus version, created_at, updated_at."""

    items: list[dict[str, Any]]
    next_cursor: str | None = None


class JobVersionView(View, kw_only=True, frozen=True):
    """A version of a job: when it was made, by whom and why. ``change`` is saved, deleted or restored."""

    edn_namespace: ClassVar[str] = "job"

    version: int
    at: datetime
    change: State
    actor: str | None = None
    source: str | None = None
    reason: str | None = None
    digest: str
    waits_for: list[str] = []


class JobVersionPage(View, kw_only=True, frozen=True):
    """A page of versions, newest first."""

    items: list[JobVersionView]
    next_cursor: str | None = None


class Difference(Struct, frozen=True, omit_defaults=True):
    """One place where two documents differ. ``before`` is left out of what was added, ``after`` of what was removed."""

    path: str
    change: Literal["added", "removed", "changed"]
    before: Any | UnsetType = UNSET
    after: Any | UnsetType = UNSET


class JobDiffView(View, kw_only=True, frozen=True):
    """What two versions of a job differ in. Items of named lists are told by name: ``tasks[clean].timeout``."""

    name: str
    before: int
    after: int
    differences: list[Difference]


class ImportedItem(View, kw_only=True, frozen=True):
    """What became of one item. ``outcome`` is created, unchanged or changed; ``waits_for``: tasks that are not there yet."""

    kind: str
    name: str
    outcome: str
    waits_for: list[str] = []


class ImportView(View, kw_only=True, frozen=True):
    """What an import did, item by item; with ``dry_run`` what it would do."""

    items: list[ImportedItem]
    dry_run: bool = False


class BackupView(View, kw_only=True, frozen=True):
    """A backup. ``at``: the last commit in it. ``troubles``: blobs that were damaged or missing when it was made."""

    edn_namespace: ClassVar[str] = "backup"

    name: str
    size: int
    made_at: datetime | None = None
    at: datetime | None = None
    store: str | None = None
    schema: int | None = None
    incarnation: int | None = None
    rows: dict[str, int] = {}
    blobs: int | None = None
    blob_size: int | None = None
    troubles: list[str] = []


class BackupPage(View, kw_only=True, frozen=True):
    """A page of backups, by name."""

    items: list[BackupView]
    next_cursor: str | None = None


class Ids(View, kw_only=True, frozen=True):
    """The ids of a batch, in the order of the request."""

    ids: list[int]


class TaskName(View, frozen=True, kw_only=True):
    """A registered task."""

    edn_namespace: ClassVar[str] = "task"

    reference: str
    package: str
    digest: str
    summary: str = ""


class TaskNamePage(View, kw_only=True, frozen=True):
    """A page of registered tasks."""

    items: list[TaskName]
    next_cursor: str | None = None


class AgentPage(View, kw_only=True, frozen=True):
    """A page of agents, by name."""

    items: list[AgentView]
    next_cursor: str | None = None


class LimitPage(View, kw_only=True, frozen=True):
    """A page of limits, by name."""

    items: list[LimitView]
    next_cursor: str | None = None


class PackagePage(View, kw_only=True, frozen=True):
    """A page of packages, or of the versions of one."""

    items: list[PackageView]
    next_cursor: str | None = None


class EventPage(View, kw_only=True, frozen=True):
    """A page of a run's events, oldest first."""

    items: list[EventView]
    next_cursor: str | None = None
