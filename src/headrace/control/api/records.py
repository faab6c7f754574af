"""What callers send: the bodies of requests, as records. Unknown fields are errors.

Fields whose behaviour a later version builds are read and refused with "not available yet". Decoded by
``control.api.dispatch``; the answers' shapes are in ``model.views``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

from headrace.model.definition import AgentChoice, Container, JobDefinition, Resources, Retries
from headrace.model.document import Duration, DurationOrInstant, LabelText, Name, Priority, State
from headrace.model.errors import Problem
from headrace.model.job_view import JobView
from headrace.model.views import View

BATCH_RUNS_MAX = 10_000
BATCH_TASKS_MAX = 50_000
REASON_MAX = 4096

Labels = Annotated[dict[LabelText, LabelText], Meta(max_length=64)]
LabelChanges = Annotated[dict[LabelText, LabelText | None], Meta(max_length=128)]
Reason = Annotated[str, Meta(max_length=REASON_MAX, pattern=r"^[^\x00]*$(?!\n)")]
Phase = Annotated[str, Meta(max_length=200, pattern=r"^[^\x00]*$(?!\n)")]
Word = Annotated[Phase, Meta(extra={"edn": "keyword"})]
"""A state in others' words: a keyword in EDN, as our own."""


class Request(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base of the request records."""


class NewRun(Request, frozen=True, kw_only=True):
    """``POST /jobs/{name}/runs``: a run of a saved job. ``version``: an older one instead of the newest.

    ``at`` is an instant, ``delay`` a duration, ``expires`` either: what has not begun by then is canceled; a duration counts
    from when it may begin. ``test``: a run of the same graph in which nothing is done (``true`` or ``noop``), or each task says what it would do
    (``print``).
    """

    edn_namespace: ClassVar[str] = "run"

    params: dict[str, Any] = {}
    priority: Priority | None = None
    labels: Labels = {}
    reason: Reason | None = None
    version: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    callback: str | UnsetType = UNSET
    at: str | UnsetType = UNSET
    delay: Duration | UnsetType = UNSET
    expires: DurationOrInstant | UnsetType = UNSET
    test: bool | Literal["noop", "print"] = False


class AnyRun(NewRun, frozen=True, kw_only=True):
    """``POST /runs``: a run of whatever is given. Exactly one of ``job command script container task``.

    ``job`` is a definition that is not saved, or the name of a saved job. ``task`` is the reference of a registered
    task (``module:name``), its arguments are ``params``. The other fields are those of the one task that is made of
    ``command``, ``script`` or ``task``.
    """

    job: JobDefinition | str | UnsetType = UNSET
    command: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    script: Annotated[str, Meta(max_length=1_048_576)] | UnsetType = UNSET
    container: Container | UnsetType = UNSET
    task: str | UnsetType = UNSET
    name: Name | UnsetType = UNSET
    interpreter: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    package: str | UnsetType = UNSET
    env: dict[str, str] = {}
    outputs: list[str] = []
    retries: int | Retries | UnsetType = UNSET
    timeout: Duration | UnsetType = UNSET
    agent: AgentChoice | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    secrets: dict[str, str] = {}


class NewRuns(Request, frozen=True, kw_only=True):
    """``POST /runs/batch``: many runs, all or nothing."""

    runs: Annotated[list[AnyRun], Meta(min_length=1)]


class TaskRun(NewRun, frozen=True, kw_only=True):
    """``POST /tasks/{reference}/runs``: one task as a run; ``params`` are its arguments."""

    package: str | UnsetType = UNSET
    env: dict[str, str] = {}
    retries: int | Retries | UnsetType = UNSET
    timeout: Duration | UnsetType = UNSET
    agent: AgentChoice | UnsetType = UNSET


class AmendRun(Request, frozen=True, kw_only=True):
    """``PATCH /runs/{id}``: what is not given stays as it is, of the labels too; a label that is null goes."""

    edn_namespace: ClassVar[str] = "run"

    priority: Priority | UnsetType = UNSET
    labels: LabelChanges | UnsetType = UNSET
    phase: Phase | UnsetType = UNSET
    message: Reason | UnsetType = UNSET


class ForeignChange(Struct, frozen=True, kw_only=True):
    """``PATCH /job/{job_id}``: what is new of a job that runs elsewhere. Other fields are read over.

    ``status`` is the Digester's word: a state, or the phase of a job that runs. ``log`` is text to append.
    """

    edn_namespace: ClassVar[str] = "job"

    state: Word | None = None
    status: Word | None = None
    phase: Phase | None = None
    message: Reason | None = None
    exit_status: Phase | None = None
    reason: Reason | None = None
    result: Any = UNSET
    log: Annotated[str, Meta(max_length=1_048_576)] | None = None


class ForeignJob(ForeignChange, frozen=True, kw_only=True):
    """``POST /job``: a job that runs elsewhere. ``id`` (or ``job_id``) is its name there; told again it is the same run."""

    edn_namespace: ClassVar[str] = "job"

    id: int | Phase | None = None
    job_id: int | Phase | None = None
    job: Phase | None = None
    name: Phase | None = None
    params: dict[str, Any] | None = None
    labels: Labels | None = None


class Restart(Request, frozen=True, kw_only=True):
    """``POST /runs/{id}/restart``. ``from``: ``failed`` (what did not succeed, and what hangs on it), ``start``, or a task.

    ``version``: another version of the job. ``code``: ``latest`` takes the packages as they are registered now. ``params``
    take the place of those that the run was given.
    """

    edn_namespace: ClassVar[str] = "run"

    from_: str = field(default="failed", name="from")
    version: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    code: Literal["same", "latest"] = "same"
    params: dict[str, Any] = {}
    reason: Reason | None = None
    priority: Priority | None = None
    labels: Labels = {}


class Why(Request, frozen=True, kw_only=True):
    """``POST /runs/{id}/cancel`` and the like."""

    edn_namespace: ClassVar[str] = "run"

    reason: Reason | None = None


class Restore(Request, frozen=True, kw_only=True):
    """``POST /jobs/{name}/restore``. ``version``: this older one becomes the newest; without it the job comes back."""

    version: Annotated[int, Meta(ge=1, le=2**53)] | None = None
    reason: Reason | None = None


class JobListing(View, frozen=True, kw_only=True):
    """A page of saved jobs, by name."""

    items: list[JobView]
    next_cursor: str | None = None


class NewBackup(Request, frozen=True, kw_only=True):
    """``POST /backup``. ``name``: of the file in the server's folder; without it one of the instant."""

    edn_namespace: ClassVar[str] = "backup"

    name: str | None = None


class RestoreBackup(Request, frozen=True, kw_only=True):
    """``POST /restore``. ``force``: what is in the store is set aside (never deleted)."""

    edn_namespace: ClassVar[str] = "backup"

    name: str
    force: bool = False


class CheckView(View, frozen=True, kw_only=True):
    """What ``POST /jobs/check`` found. ``ok`` is false when there is a problem; warnings do not count."""

    ok: bool
    problems: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)
    name: str | None = None


class Accepted(View, frozen=True, kw_only=True):
    """A command on a run was accepted; the run's state says how far it is."""

    edn_namespace: ClassVar[str] = "run"

    id: int
    state: State


class Items(View, frozen=True, kw_only=True):
    """A page of anything that has no page record of its own."""

    items: list[Any] = field(default_factory=list)
    next_cursor: str | None = None
