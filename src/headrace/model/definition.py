"""The job definition: the whole schema of CONTRACT.md §1, as records.

This is the document as users write it, short forms included. It is decoded by ``codec``, checked and compiled by
``core``; nothing here knows rules. Fields whose behaviour a later version builds are part of the schema already:
``core.check`` refuses them with "not available yet". Durations are texts like ``250ms 5s 10m 2h 1d``, sizes ``512M``.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import UNSET, Meta, Struct, UnsetType, field

Name = Annotated[str, Meta(pattern=r"^[a-z0-9][a-z0-9_-]{0,62}$", description="lower-case letters, digits, _ and -")]
Duration = Annotated[str, Meta(pattern=r"^\d+(\.\d+)?(ms|s|m|h|d)$", description="250ms, 5s, 10m, 2h, 1d")]
Size = Annotated[str, Meta(pattern=r"^\d+[KMGT]?$", description="512K, 512M, 2G")]
Count = Annotated[int, Meta(ge=0, le=1_000_000)]
Priority = Annotated[int, Meta(ge=-100, le=100)]
StateWord = Literal["succeeded", "failed", "skipped", "canceled", "ended"]
Text = Annotated[str, Meta(max_length=1_048_576)]


class Record(Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """Base of the document's records: unknown fields are errors, what was not said is not written."""


class Need(Record, frozen=True, kw_only=True):
    """A dependency with conditions. Both given: both must hold."""

    task: Name
    state: StateWord | list[StateWord] | UnsetType = UNSET
    exit: str | UnsetType = UNSET


class AnyNeed(Record, frozen=True, kw_only=True):
    """The first of these that holds is enough."""

    any: Annotated[list[Name | Need], Meta(min_length=1)]


class Condition(Record, frozen=True, kw_only=True, rename={"not_": "not", "in_": "in"}):
    """``{value, eq|ne|lt|le|gt|ge|in|glob|exists}`` or a join by ``all any not``."""

    value: Any = UNSET
    eq: Any = UNSET
    ne: Any = UNSET
    lt: Any = UNSET
    le: Any = UNSET
    gt: Any = UNSET
    ge: Any = UNSET
    in_: Any = UNSET
    glob: str | UnsetType = UNSET
    exists: bool | UnsetType = UNSET
    all: list[Condition] | UnsetType = UNSET
    any: list[Condition] | UnsetType = UNSET
    not_: Condition | UnsetType = UNSET


class EachOf(Record, frozen=True, kw_only=True):
    """Items from several lists: side by side (``zip``) or every combination (``product``)."""

    zip: list[Any] | UnsetType = UNSET
    product: list[Any] | UnsetType = UNSET


class Retries(Record, frozen=True, kw_only=True):
    """Up to ``max`` more attempts; ``only`` / ``never`` name exception classes, ``exit:N``, ``timeout``, ``lost``."""

    max: Count = 0
    delay: Duration = "1s"
    backoff: Annotated[float, Meta(ge=1, le=100)] = 2
    max_delay: Duration = "5m"
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    only: list[str] | UnsetType = UNSET
    never: list[str] | UnsetType = UNSET


class AgentChoice(Record, frozen=True, kw_only=True):
    """Which agents may run it: all labels must match."""

    labels: dict[str, str] = {}
    id: str | UnsetType = UNSET


class Container(Record, frozen=True, kw_only=True):
    """An image and what to run in it."""

    image: str
    command: list[str] = []
    cpus: float | UnsetType = UNSET
    memory: Size | UnsetType = UNSET
    pids: int | UnsetType = UNSET
    network: str | UnsetType = UNSET
    entrypoint: list[str] | UnsetType = UNSET
    user: str | UnsetType = UNSET


class ChildJob(Record, frozen=True, kw_only=True):
    """A task that runs another job and waits for it."""

    name: Name
    version: int | UnsetType = UNSET
    params: dict[str, Any] = {}


class Wait(Record, frozen=True, kw_only=True, rename={"for_": "for"}):
    """For a time, until an instant, or for a message on a topic."""

    for_: Duration | UnsetType = UNSET
    until: str | UnsetType = UNSET
    topic: str | UnsetType = UNSET


class Approve(Record, frozen=True, kw_only=True):
    """A person's decision."""

    message: str = ""
    role: str | UnsetType = UNSET
    quorum: int = 1
    form: dict[str, Any] | UnsetType = UNSET
    expires: Duration | UnsetType = UNSET
    on_expiry: Literal["fail", "skip", "approve", "reject"] | UnsetType = UNSET


class Http(Record, frozen=True, kw_only=True):
    """One HTTP request."""

    url: str
    method: str = "GET"
    headers: dict[str, str] = {}
    body: Any = UNSET
    expect: str | int | list[int] = "2xx"


class Cache(Record, frozen=True, kw_only=True, rename={"for_": "for"}):
    """No attempt is made while a succeeded one with the same key is younger than ``for``."""

    for_: Duration
    key: str | UnsetType = UNSET


class Repeat(Record, frozen=True, kw_only=True):
    """Do it again after it succeeded."""

    times: Count
    delay: Duration = "0s"


class Resources(Record, frozen=True, kw_only=True):
    """What one attempt may use."""

    cpus: float | UnsetType = UNSET
    memory: Size | UnsetType = UNSET
    pids: int | UnsetType = UNSET


class Concurrency(Record, frozen=True, kw_only=True):
    """How many runs of the job at once, counted per key."""

    max: Annotated[int, Meta(ge=1)] = 1
    key: str | UnsetType = UNSET
    when_full: Literal["queue", "skip", "replace", "refuse"] = "queue"


class Task(Record, frozen=True, kw_only=True, rename={"with_": "with", "finally_": "finally"}):
    """A named unit of work. Exactly one kind (``command`` … ``service``) is given."""

    name: Name
    description: str = ""
    command: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    script: Text | UnsetType = UNSET
    python: str | UnsetType = UNSET
    container: Container | UnsetType = UNSET
    job: Name | ChildJob | UnsetType = UNSET
    wait: Wait | UnsetType = UNSET
    approve: Approve | UnsetType = UNSET
    http: Http | UnsetType = UNSET
    chunk: dict[str, Any] | UnsetType = UNSET
    service: dict[str, Any] | UnsetType = UNSET
    needs: list[Name | Need] | AnyNeed | UnsetType = UNSET
    when: Condition | UnsetType = UNSET
    each: str | list[Any] | EachOf | UnsetType = UNSET
    label: str | UnsetType = UNSET
    concurrency: Annotated[int, Meta(ge=1)] | UnsetType = UNSET
    package: str | UnsetType = UNSET
    with_: dict[str, Any] = {}
    interpreter: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    env: dict[str, str] = {}
    secrets: dict[str, str] = {}
    secret_files: dict[str, str] = {}
    outputs: list[str] = []
    retries: Count | Retries | UnsetType = UNSET
    timeout: Duration | UnsetType = UNSET
    grace: Duration | UnsetType = UNSET
    on_lost: Literal["retry", "fail", "ask"] = "retry"
    on_disconnect: Literal["kill", "keep"] | UnsetType = UNSET
    allow_failure: bool = False
    finally_: bool = False
    priority: Priority | UnsetType = UNSET
    agent: AgentChoice | UnsetType = UNSET
    resources: Resources | UnsetType = UNSET
    limits: dict[str, Count] = {}
    cache: Cache | UnsetType = UNSET
    repeat: Repeat | UnsetType = UNSET
    delay: Duration | UnsetType = UNSET
    listeners: list[Any] = []
    labels: dict[str, str] = {}


class JobDefinition(Record, frozen=True, kw_only=True):
    """One document; JSON, EDN, YAML and Python give the same one, losslessly."""

    name: Name
    description: str = ""
    params: dict[str, Any] | UnsetType = UNSET
    tasks: Annotated[list[Task], Meta(min_length=1, max_length=50_000)]
    result: Any = UNSET
    on_failure: Literal["continue", "stop"] = "continue"
    priority: Priority = 0
    concurrency: Concurrency | UnsetType = UNSET
    exclusive: bool = False
    timeout: Duration | UnsetType = UNSET
    agent: AgentChoice | UnsetType = UNSET
    package: str | UnsetType = UNSET
    env: dict[str, str] = {}
    phases: list[str] = []
    schedules: list[dict[str, Any]] = []
    notify: list[dict[str, Any]] = []
    listeners: list[Any] = []
    labels: dict[str, str] = {}
    packages: dict[str, str] = field(default_factory=dict)
    """Package name → digest, written by the server at save: which code this version runs."""


KINDS = ("command", "script", "python", "container", "job", "wait", "approve", "http", "chunk", "service")
KINDS_NOW = ("command", "script", "python")
"""Kinds whose behaviour exists; the others answer "not available yet"."""
