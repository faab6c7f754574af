"""Rows that are no cells: what stands beside them in both stores. Records only.

Written by the ledger through ``store.port``; never changed in place except ``Entity``.
"""

from __future__ import annotations

from msgspec import Struct, field

from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.facts import AnyFact
from headrace.model.ids import MAIN_SPACE, RUN_ITSELF, WHOLE, TaskKey
from headrace.model.limits import LimitKey


class CommitRow(Struct, frozen=True, array_like=True, gc=False):
    """Who asked for what was written, why and from where; one per commit and origin."""

    commit: int
    at: int
    node: int
    actor: str
    source: str
    why: str | None = None


HistoryAt = tuple[int, int, int, int]
"""The key of a history row: (run, no, index, version)."""

EntityAt = tuple[str, str, int]
"""The key of a version of a named thing: (kind, name, version)."""


class Touched(Struct, frozen=True, gc=False):
    """What of the history one commit wrote, in order."""

    entities: tuple[EntityAt, ...] = ()
    history: tuple[HistoryAt, ...] = ()


class Place(Struct, frozen=True, array_like=True, order=True, gc=False):
    """Where a commit stands among all: nothing is ever put at or before a place that a reader was shown.

    What depends on another commit comes after it. The numbers mean something to their own store only.
    """

    position: int = 0
    second: int = 0


class Logged(Struct, frozen=True, gc=False):
    """A commit in its place, and what it wrote."""

    place: Place
    commit: int
    at: int
    touched: Touched


class LogPage(Struct, frozen=True, gc=False):
    """Commits in order. ``more``: others can be shown behind these; ``ahead``: others wait for somebody to end first."""

    entries: list[Logged]
    more: bool = False
    ahead: bool = False


class HistoryRow(Struct, frozen=True, gc=False):
    """The facts of one change to one entity of a run, and the small image after it.

    ``no`` is RUN_ITSELF for the run. A run of one task is one entity: its row carries both images. ``version`` is dense
    per (run, no, index).
    """

    run: int
    no: int
    index: int
    version: int
    at: int
    commit: int
    facts: tuple[AnyFact, ...]
    run_image: RunCell | None = None
    task_image: TaskCell | None = None


class NewRun(Struct, frozen=True, gc=False):
    """A run's first row: what never changes (``input``) and its first cell."""

    input: RunInput
    cell: RunCell


class AttemptRow(Struct, frozen=True, gc=False):
    """An attempt that was followed by another one; the newest attempt lives in its task's cell."""

    run: int
    no: int
    index: int
    attempt: int
    cell: TaskCell


class LogSegment(Struct, frozen=True, gc=False):
    """A piece of an attempt's log: MessagePack of ``list[link.records.LogRecord]``, inline or as a blob."""

    run: int
    no: int
    index: int
    attempt: int
    first: int
    last: int
    data: bytes | None
    digest: str = ""


class ArtifactRow(Struct, frozen=True, gc=False):
    """A file that an attempt left; its bytes are a blob."""

    run: int
    no: int
    index: int
    path: str
    digest: str
    size: int


class Entity(Struct, frozen=True, gc=False):
    """A named thing: job, package, agent, token, limit … ``image`` is the MessagePack of its own record.

    ``version`` is dense per entity and is its history's key. ``deleted_at`` 0 means it is there. Writing it with empty
    ``facts`` updates the row only and keeps no history row (cursors, counters); the version then stays as it was.
    """

    kind: str
    name: str
    version: int
    created_at: int
    updated_at: int
    image: bytes
    deleted_at: int = 0
    facts: bytes = b""
    space: int = MAIN_SPACE
    commit: int = 0
    """Who asked for this version and why: its row in ``Reader.commits``. Known of versions in the history only."""


EntityKey = tuple[str, str]
"""(kind, name)."""


class Answer(Struct, frozen=True, gc=False):
    """The first answer given under an idempotency key: the same request gets it again for 7 days.

    ``scope`` is who asked; ``request`` the digest of method, path and body.
    """

    scope: str
    key: str
    request: bytes
    status: int
    location: str
    body: bytes
    at: int


class OutboxRow(Struct, frozen=True, gc=False):
    """Something that must be told outside, written in the commit that made it true. ``seq`` is given by the store."""

    kind: str
    subject: str
    body: bytes
    due_at: int


class Outgoing(Struct, frozen=True, gc=False):
    """A row of the outbox as its loop reads it: what still has to be told."""

    seq: int
    kind: str
    subject: str
    body: bytes
    due_at: int


class ChildRow(Struct, frozen=True, gc=False):
    """``run`` is the work of the attempt with this epoch. At most one per attempt, whoever delivers it how often."""

    parent: int
    no: int
    index: int
    epoch: int
    run: int


UseKey = tuple[str, str, int, int, int]
"""(limit, key, run, no, index): who holds units of a limit."""


class Document(Struct, frozen=True, gc=False):
    """A kept definition document, by digest; ``graph`` is its number. Kept as long as any run or job version uses it."""

    graph: int
    digest: bytes
    body: bytes


class Batch(Struct):
    """Everything one commit writes. Filled by the ledger, written by ``Store.write`` in a fixed number of set statements."""

    at: int
    commits: list[CommitRow] = field(default_factory=list)
    new_runs: list[NewRun] = field(default_factory=list)
    runs: list[RunCell] = field(default_factory=list)
    new_tasks: list[TaskCell] = field(default_factory=list)
    tasks: list[TaskCell] = field(default_factory=list)
    history: list[HistoryRow] = field(default_factory=list)
    values: list[tuple[TaskKey, Value]] = field(default_factory=list)
    attempts: list[AttemptRow] = field(default_factory=list)
    segments: list[LogSegment] = field(default_factory=list)
    artifacts: list[ArtifactRow] = field(default_factory=list)
    entities: list[Entity] = field(default_factory=list)
    answers: list[Answer] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    classes: list[tuple[int, bytes]] = field(default_factory=list)
    """(klass, MessagePack of core's Placement), for classes this node has not written yet."""
    ticks: dict[LimitKey, int] = field(default_factory=dict)
    """Instants of rates that starts have moved. What is in use follows from the cells (``store.uses``)."""
    given_back: list[UseKey] = field(default_factory=list)
    """What tasks held whose attempts another may follow: by then they may ask for another key's units."""
    outbox: list[OutboxRow] = field(default_factory=list)
    told: list[int] = field(default_factory=list)
    """Rows of the outbox, by ``seq``, that this commit delivers: they go."""
    children: list[ChildRow] = field(default_factory=list)
    over: list[tuple[str, str, int]] = field(default_factory=list)
    """Answers by (scope, key) that go if they were given before the instant: nobody is told them again."""


class ReadyRow(Struct, frozen=True, gc=False):
    """A ready task as the claim loop sees it."""

    run: int
    no: int
    index: int
    klass: int
    rank: int


class LeasedRow(Struct, frozen=True, gc=False):
    """A task that an agent owns. ``due_at``: it was asked to end, and is fenced at this instant; 0 when it was not."""

    run: int
    no: int
    index: int
    agent: int
    boot: int
    epoch: int
    attempt: int
    graph: int
    due_at: int = 0


class DueRow(Struct, frozen=True, gc=False):
    """A cell that is owed a ``Wake``; ``no`` RUN_ITSELF for a run."""

    due_at: int
    run: int
    no: int = RUN_ITSELF
    index: int = WHOLE


class HolderRow(Struct, frozen=True, gc=False):
    """Who holds units of a limit: a task's attempt, or (``no`` RUN_ITSELF) a run at its job's gate."""

    key: str
    run: int
    no: int
    index: int
    units: int


class Hint(Struct, frozen=True, gc=False):
    """What other nodes committed lately: classes in which tasks became ready, runs that ended.

    ``all``: there may be more than is named, so look at everything. A hint may be late or missing, never wrong: who
    hears it looks into the store.
    """

    classes: tuple[int, ...] = ()
    runs: tuple[int, ...] = ()
    all: bool = False
    freed: bool = False
    """Something of a limit was given back, or a limit was changed."""


class RunFilter(Struct, frozen=True, gc=False):
    """Which runs a list shows. Ordered by (created_at, id), newest first unless ``ascending``; ``after`` is exclusive."""

    job: str | None = None
    states: tuple[int, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()
    since: int | None = None
    until: int | None = None
    text: str | None = None
    after: tuple[int, int] | None = None
    ascending: bool = False
    limit: int = 100
    parent: int | None = None
    """Only the children of this run; in the order in which they were made, other filters are not looked at."""
    exit_status: str | None = None
    """A glob on the exit status; runs without one never fit."""
    started: tuple[int | None, int | None] = (None, None)
    ended: tuple[int | None, int | None] = (None, None)
    """From and until, both included; a run that has not begun (ended) never fits."""
    scan: int = 3_000
    """So many runs are looked at for one page."""


class RunsPage(Struct, frozen=True, gc=False):
    """Runs that were found, and the place behind which to go on; None at the end. A page may be empty and not the last."""

    rows: list[RunRow]
    last: tuple[int, int] | None = None


class RunRow(Struct, frozen=True, gc=False):
    """A run as lists and pages show it."""

    input: RunInput
    cell: RunCell
