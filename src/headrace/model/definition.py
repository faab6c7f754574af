"""The job definition: the whole schema of CONTRACT.md §1, as records.

This is the document as users write it, short forms included. It is decoded by ``codec``, checked and compiled by
``core``; nothing here knows rules. Fields whose behaviour a later version builds are part of the schema already:
``core.check`` refuses them with "not available yet". Durations are texts like ``250ms 5s 10m 2h 1d``, sizes ``512M``.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar, Literal

from msgspec import UNSET, Meta, UnsetType, field

from headrace.model.document import Count, Duration, LabelText, Name, Priority, Record, Size, StateWord, Text
from headrace.model.schedule import JobSchedule, JobSubscription


class Need(Record, frozen=True, kw_only=True):
    """A dependency with conditions. Both given: both must hold."""

    task: Name
    """The task that must have ended."""
    state: StateWord | list[StateWord] | UnsetType = UNSET
    """The state, or one of the states, that it must have ended in; ``succeeded`` otherwise; with ``exit`` alone ``succeeded`` or ``failed``."""
    exit: str | UnsetType = UNSET
    """A glob on its exit status, as ``EMPTY*``."""


class AnyNeed(Record, frozen=True, kw_only=True):
    """The first of these that holds is enough."""

    any: Annotated[list[Name | Need], Meta(min_length=1)]
    """Names, or needs with conditions."""


class Condition(Record, frozen=True, kw_only=True, rename={"not_": "not", "in_": "in"}):
    """``{value, eq|ne|lt|le|gt|ge|in|glob|exists}`` or a join by ``all any not``."""

    value: Any = UNSET
    """What is compared: mostly one expression."""
    eq: Any = UNSET
    """Equal; 1 is 1.0, true is not 1."""
    ne: Any = UNSET
    """Not equal."""
    lt: Any = UNSET
    """Less: numbers, or texts by code point; anything else does not hold."""
    le: Any = UNSET
    """Less or equal."""
    gt: Any = UNSET
    """More."""
    ge: Any = UNSET
    """More or equal."""
    in_: Any = UNSET
    """Within a list, among the keys of an object, or part of a text."""
    glob: str | UnsetType = UNSET
    """Its text matches this pattern."""
    exists: bool | UnsetType = UNSET
    """Whether it has a value that is not null."""
    all: list[Condition] | UnsetType = UNSET
    """All of these must hold."""
    any: list[Condition] | UnsetType = UNSET
    """One of these must hold."""
    not_: Condition | UnsetType = UNSET
    """This must not hold."""


class EachOf(Record, frozen=True, kw_only=True):
    """Items from several lists: side by side (``zip``) or every combination (``product``)."""

    zip: list[Any] | UnsetType = UNSET
    """Lists of one length: the first items together, the second items together … Lists that differ in length fail the
    task.
    """
    product: list[Any] | UnsetType = UNSET
    """Every combination; the last list runs fastest."""


class Retries(Record, frozen=True, kw_only=True):
    """Up to ``max`` more attempts; ``only`` / ``never`` name exception classes, ``exit:N``, ``timeout``, ``lost``."""

    max: Count = 0
    """So many attempts after the first failed one."""
    delay: Duration = "1s"
    """The wait before the second attempt."""
    backoff: Annotated[float, Meta(ge=1, le=100)] = 2
    """Each further wait is longer by this factor."""
    max_delay: Duration = "5m"
    """No wait is longer."""
    jitter: Annotated[float, Meta(ge=0, le=1)] = 0.2
    """Each wait is longer or shorter by up to this part of it."""
    only: list[str] | UnsetType = UNSET
    """Only these failures are tried again."""
    never: list[str] | UnsetType = UNSET
    """These failures are not."""


class AgentChoice(Record, frozen=True, kw_only=True):
    """Which agents may run it: all labels must match."""

    labels: dict[LabelText, LabelText] = {}
    """Labels that the agent must have, with these values."""
    id: str | UnsetType = UNSET
    """The agent's name."""


class Container(Record, frozen=True, kw_only=True):
    """An image and what to run in it."""

    image: str
    """The image, with tag or digest."""
    command: list[str] = []
    """What to run in it; the image's own command otherwise."""
    cpus: float | UnsetType = UNSET
    """At most so many processors."""
    memory: Size | UnsetType = UNSET
    """At most so much memory."""
    pids: int | UnsetType = UNSET
    """At most so many processes."""
    network: str | UnsetType = UNSET
    """The network; ``none`` for no network."""
    entrypoint: list[str] | UnsetType = UNSET
    """Instead of the image's own."""
    user: str | UnsetType = UNSET
    """As whom it runs."""


class ChildJob(Record, frozen=True, kw_only=True):
    """A task that runs another job and waits for it."""

    name: Name
    """The saved job."""
    version: Annotated[int, Meta(ge=1, le=2**53)] | UnsetType = UNSET
    """A version of it; the newest otherwise."""
    params: dict[str, Any] = {}
    """The parameters of the child run."""


class Wait(Record, frozen=True, kw_only=True, rename={"for_": "for"}):
    """For a time, until an instant, or for a message on a topic."""

    for_: str | UnsetType = UNSET
    """So long: a duration, or an expression that gives one."""
    until: str | UnsetType = UNSET
    """Until this instant, as ``2026-03-29T01:30:00Z``, or an expression that gives one."""
    topic: str | UnsetType = UNSET
    """For a message on this topic."""


class Approve(Record, frozen=True, kw_only=True):
    """A person's decision."""

    message: str = ""
    """What the person reads."""
    role: str | UnsetType = UNSET
    """The role that may decide."""
    quorum: int = 1
    """So many must approve."""
    form: dict[str, Any] | UnsetType = UNSET
    """JSON Schema of what is asked."""
    expires: Duration | UnsetType = UNSET
    """How long the question stands."""
    on_expiry: Literal["fail", "skip", "approve", "reject"] | UnsetType = UNSET
    """What happens then."""


class Http(Record, frozen=True, kw_only=True):
    """One HTTP request."""

    url: str
    """Where it goes."""
    method: str = "GET"
    """The method."""
    headers: dict[str, str] = {}
    """Its headers."""
    body: Any = UNSET
    """A text, or anything that is sent as JSON."""
    expect: str | int | list[int | str] = "2xx"
    """The status, statuses, or class of statuses that count as success."""


class Cache(Record, frozen=True, kw_only=True, rename={"for_": "for"}):
    """No attempt is made while a succeeded one with the same key is younger than ``for``."""

    for_: Duration
    """How long a result is good."""
    key: str | UnsetType = UNSET
    """What makes two attempts the same; task and arguments otherwise."""


class Repeat(Record, frozen=True, kw_only=True):
    """Do it again after it succeeded."""

    times: Count
    """So many times in all."""
    delay: Duration = "0s"
    """The wait between two."""


class Resources(Record, frozen=True, kw_only=True):
    """What one attempt may use."""

    cpus: float | UnsetType = UNSET
    """Processors."""
    memory: Size | UnsetType = UNSET
    """Memory."""
    pids: int | UnsetType = UNSET
    """Processes."""


class Concurrency(Record, frozen=True, kw_only=True):
    """How many runs of the job at once, counted per key."""

    max: Annotated[int, Meta(ge=1, le=2**31)] = 1
    """At most so many runs at once."""
    key: str | UnsetType = UNSET
    """Counted apart for each value of this text."""
    when_full: Literal["queue", "skip", "replace", "refuse"] = "queue"
    """What becomes of one run more."""


class Task(Record, frozen=True, kw_only=True, rename={"with_": "with", "finally_": "finally"}):
    """A named unit of work. Exactly one kind (``command`` … ``service``) is given."""

    edn_namespace: ClassVar[str] = "task"

    name: Name
    """Its name in the job."""
    description: str = ""
    """For people."""
    command: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    """A program and its arguments. No shell: nothing is split or expanded."""
    script: Text | UnsetType = UNSET
    """Text for an interpreter. Never rendered: parameters come by environment."""
    python: str | UnsetType = UNSET
    """A task of a package: ``module:function`` or ``module:Class``."""
    container: Container | UnsetType = UNSET
    """A command in a container."""
    job: Name | ChildJob | UnsetType = UNSET
    """A child run of a saved job."""
    wait: Wait | UnsetType = UNSET
    """Time, an instant or a message."""
    approve: Approve | UnsetType = UNSET
    """A person's decision."""
    http: Http | UnsetType = UNSET
    """One HTTP request."""
    chunk: dict[str, Any] | UnsetType = UNSET
    """Reader, processor and writer with checkpoints."""
    service: dict[str, Any] | UnsetType = UNSET
    """A program that is kept running."""
    needs: list[Name | Need] | AnyNeed | UnsetType = UNSET
    """The tasks that must have ended first, and how: a name is short for ``{task: name, state: succeeded}``. All of
    them, unless written as ``any``. An expression that names a task needs it too.
    """
    when: Condition | UnsetType = UNSET
    """Begin only if this holds; else the task is ``skipped``. With ``each``, one that speaks of ``${item}`` or ``${index}``
    is decided for each instance.
    """
    each: str | list[Any] | EachOf | UnsetType = UNSET
    """One instance per item of this list: a list, one expression that gives one, ``zip`` or ``product``."""
    label: str | UnsetType = UNSET
    """What an instance is called for people, as ``${item}``."""
    concurrency: Annotated[int, Meta(ge=1, le=2**31)] | UnsetType = UNSET
    """At most so many instances at once."""
    package: str | UnsetType = UNSET
    """The registered package that has the ``python`` task; inferred when only one has it."""
    with_: dict[str, Any] = {}
    """Arguments of a ``python`` task, by name."""
    interpreter: Annotated[list[str], Meta(min_length=1)] | UnsetType = UNSET
    """What a ``script`` is given to; ``[sh, -eu]`` otherwise."""
    env: dict[str, str] = {}
    """Environment variables, rendered. They come over those of the job."""
    secrets: dict[str, str] = {}
    """Environment variable → name of a secret."""
    secret_files: dict[str, str] = {}
    """File name → name of a secret."""
    outputs: list[str] = []
    """Globs in the working folder: the files become artifacts."""
    retries: Count | Retries | UnsetType = UNSET
    """A number is short for ``{max: number}``; none otherwise."""
    timeout: Duration | UnsetType = UNSET
    """For one attempt, from its start; then it is stopped and counts as failed. None otherwise."""
    grace: Duration | UnsetType = UNSET
    """Between asking an attempt to end and killing it; 10 s otherwise."""
    on_lost: Literal["retry", "fail", "ask"] = "retry"
    """When its agent or the machine is gone: try again, fail, or hold it until a person decides."""
    on_disconnect: Literal["kill", "keep"] | UnsetType = UNSET
    """What an agent does with it while control is away."""
    allow_failure: bool = False
    """Its failure does not fail the run; the task itself stays ``failed``."""
    finally_: bool = False
    """Begins when all other tasks have ended, also after cancel or timeout. Its failure fails the run."""
    priority: Priority | UnsetType = UNSET
    """Instead of the run's."""
    agent: AgentChoice | UnsetType = UNSET
    """Which agents may run it, besides what the job asks; for the same label this one counts."""
    resources: Resources | UnsetType = UNSET
    """What an attempt may use."""
    limits: dict[str, Count] = {}
    """Units of named limits that it takes."""
    cache: Cache | UnsetType = UNSET
    """When its result may be taken from an earlier attempt."""
    repeat: Repeat | UnsetType = UNSET
    """Again after success."""
    delay: Duration | UnsetType = UNSET
    """The wait before it begins."""
    listeners: list[Any] = []
    """Who is told."""
    labels: dict[LabelText, LabelText] = {}
    """For people and for searching."""


class JobDefinition(Record, frozen=True, kw_only=True):
    """One document; JSON, EDN, YAML and Python give the same one, losslessly."""

    edn_namespace: ClassVar[str] = "job"

    name: Name
    """Its name, by which it is saved and run."""
    description: str = ""
    """For people."""
    params: dict[str, Any] | UnsetType = UNSET
    """JSON Schema of the parameters: checked at submit, drives the flags of ``headrace run``. ``pattern`` is read by RE2:
    linear in time, no look-around, no back-references."""
    tasks: Annotated[list[Task], Meta(min_length=1, max_length=50_000)]
    """At least one."""
    result: Any = UNSET
    """The run's result: any value with expressions. Otherwise that of the only task that no other needs."""
    on_failure: Literal["continue", "stop"] = "continue"
    """``continue``: whatever does not depend on the failure goes on. ``stop``: nothing new begins, except what needs
    the failure.
    """
    priority: Priority = 0
    """Of its runs; each point counts as 60 s of waiting."""
    concurrency: Concurrency | UnsetType = UNSET
    """How many of its runs at once."""
    exclusive: bool = False
    """One run at once; another is refused."""
    timeout: Duration | UnsetType = UNSET
    """For the whole run, from the first attempt that is given out."""
    agent: AgentChoice | UnsetType = UNSET
    """Which agents may run its tasks."""
    package: str | UnsetType = UNSET
    """The package of all its ``python`` tasks that name none."""
    env: dict[str, str] = {}
    """Environment variables of all its tasks, rendered."""
    phases: list[str] = []
    """Names of the phases that it goes through."""
    schedules: list[JobSchedule] = []
    """When it runs by itself."""
    notify: list[JobSubscription] = []
    """Who is told."""
    listeners: list[Any] = []
    """Likewise."""
    callback: str | UnsetType = UNSET
    """A URL that is told of its runs."""
    labels: dict[LabelText, LabelText] = {}
    """Of the job and its runs."""
    packages: dict[str, str] = field(default_factory=dict)
    """Package name → digest, written by the server at save: which code this version runs."""


KINDS = ("command", "script", "python", "container", "job", "wait", "approve", "http", "chunk", "service")
KINDS_NOW = ("command", "script", "python", "job", "wait", "http")
"""Kinds whose behaviour exists; the others answer "not available yet"."""
