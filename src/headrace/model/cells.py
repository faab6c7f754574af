"""Cells: the unit the rules work on. One run, one task instance, one group.

Small live state and nothing else; what a user sent and what work gave back stands aside (``RunInput``, ``Value``).
Encoded as MessagePack arrays: fields are only ever added, at the end, with a default. Core makes new cells from old
ones; the store writes them by primary key; nobody else changes them.
"""

from __future__ import annotations

from msgspec import Struct

from headrace.model.ids import WHOLE, TaskKey
from headrace.model.limits import Take
from headrace.model.states import RunState, StopIntent, TaskState

INLINE_MAX = 1024
"""Bytes of a value kept in the cell itself; larger ones stand aside so that live rows stay small."""

ASIDE_MAX = 262_144
"""Bytes of a value kept as a row; larger ones are blobs."""


class Value(Struct, frozen=True, array_like=True, gc=False):
    """A JSON text, wherever it is kept. ``data`` is the text itself when it is at hand.

    ``place`` is ``inline`` (in the cell), ``aside`` (a row of its own) or ``blob`` (by digest). ``lines`` says that the
    text is a list written one item a line (JSON Lines), so that it can be read in pieces. ``count`` is its item count.
    """

    size: int
    place: str = "inline"
    data: bytes | None = None
    digest: str = ""
    lines: bool = False
    count: int = -1


class Counts(Struct, frozen=True, array_like=True, gc=False):
    """A group knows its instances by counts only. ``created`` is also the cursor of the lazy expansion.

    ``total`` is the number of items; instances from ``created`` on have no rows yet. ``offset`` is the byte offset of
    the next item in the items' text when that is read in pieces.
    """

    total: int = 0
    created: int = 0
    live: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    skipped: int = 0
    lost: int = 0
    offset: int = 0
    forgiven: int = 0

    @property
    def ended(self) -> int:
        """Instances in a final state."""
        return self.succeeded + self.failed + self.canceled + self.skipped + self.lost


class ParentRef(Struct, frozen=True, array_like=True, gc=False):
    """The attempt of a task whose work a run is. ``depth`` counts the runs above it: 1 for a child of a run of its own."""

    run: int
    no: int
    index: int
    epoch: int
    depth: int = 1


class Progress(Struct, frozen=True, array_like=True, gc=False):
    """How far some work is, in its own words."""

    done: float
    total: float | None = None
    message: str = ""


class TaskMore(Struct, frozen=True, array_like=True, gc=False):
    """What only some tasks have. A cell without any of it has None, so that plain work pays nothing for it.

    ``takes``: what its attempt takes of named limits; held exactly while the task is dispatched or running. ``cache``
    names the work and its inputs: what a succeeded attempt is found again by; ``origin`` is whose result was taken.
    """

    takes: tuple[Take, ...] = ()
    cache: bytes = b""
    origin: TaskKey | None = None

    repeated: int = 0
    """How many attempts of a task with ``repeat`` have succeeded."""
    progress: Progress | None = None
    """How far its work says that it is."""


class RunMore(Struct, frozen=True, array_like=True, gc=False):
    """What only some runs have. A cell without any of it has None, so that plain work pays nothing for it.

    ``hold`` is how far the sweep has come that makes ready rows agree with a pause or a resume, -1 when none is on its
    way. ``held`` counts tasks and instances that wait for a person. ``gate`` and ``key``: among which runs it is counted
    where a job may have only so many at once. ``waiting``: it has not been let in yet, and nothing of it begins; ``rank``
    is its place among those that wait.
    """

    hold: int = -1
    held: int = 0
    begin_at: int = 0
    """It does not begin before this instant; 0 once that has come."""
    expires_at: int = 0
    """It is canceled at this instant unless it has begun; 0 once it has."""
    source: int = 0
    """The run that it goes on from, where instances of groups and children are taken over; 0 for none."""
    groups: tuple[tuple[int, int], ...] = ()
    """(task, task of ``source``) of these groups."""
    restarted_as: tuple[int, ...] = ()
    """The runs that go on with this one: the last few."""
    phase: str = ""
    """What the work says it is doing now, ``message`` what it says of that, ``phase_at`` since when."""
    message: str = ""
    phase_at: int = 0
    labels: dict[str, str] | None = None
    """Its labels, where they were changed since it was submitted."""
    release: bool = False
    """The sweep that is on its way lets tasks go on that are held after lost attempts: a resume asked for it."""
    foreign: bool = False
    """It runs elsewhere: others tell its state, and nothing of it is ever given out."""
    gate: str = ""
    key: str = ""
    waiting: bool = False
    rank: int = 0

    parent: ParentRef | None = None
    """Whose work it is: told when it ends."""


class InputMore(Struct, frozen=True, array_like=True, gc=False):
    """What only some submits give; None where nothing of it was given. ``begin_at`` and ``expires_at`` are instants.

    ``restarted_from`` is the run that this one goes on from, ``since`` from where on, ``groups`` those of whose instances
    some may be taken over: (task, task of that run).
    """

    begin_at: int = 0
    expires_at: int = 0
    restarted_from: int = 0
    since: str = ""
    groups: tuple[tuple[int, int], ...] = ()
    test: str = ""
    """Of a run for a test: ``noop`` or ``print``, what its work was replaced by."""
    foreign: str = ""
    """Of a run that is only recorded here: what those call it with whom it runs."""

    parent: ParentRef | None = None


class TaskCell(Struct, frozen=True, array_like=True, gc=False):
    """One task instance, or the group (``counts`` set, ``index`` WHOLE) of a task with ``each``.

    ``pending`` counts unmet needs. ``due_at`` is the instant at which a ``Wake`` is owed (retry time, propagation,
    expansion, fence deadline); 0 when none is. ``rank`` is the constant order among ready tasks: ready instant in ms
    minus priority × slope. ``klass`` is the placement class. ``epoch`` is the fencing token of the newest attempt.
    ``lost`` counts lost attempts in a row. ``agent``/``boot`` say who owns it while dispatched or running.
    """

    run: int
    no: int
    index: int = WHOLE
    state: TaskState = TaskState.blocked
    version: int = 0
    attempt: int = 0
    epoch: int = 0
    pending: int = 0
    due_at: int = 0
    rank: int = 0
    klass: int = 0
    agent: int = 0
    boot: int = 0
    lost: int = 0
    failures: int = 0
    flags: int = 0
    ready_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    exit_status: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    result: Value | None = None
    error: Value | None = None
    item: Value | None = None
    counts: Counts | None = None
    seal: bytes = b""
    """The sealed log of the last attempt: MessagePack of ``link.records.Seal``; empty when nothing was logged."""
    digest: bytes = b""
    """First bytes of the last outcome's digest: tells the same outcome told twice from a different one."""
    more: TaskMore | None = None

    @property
    def key(self) -> TaskKey:
        return (self.run, self.no, self.index)


class RunCell(Struct, frozen=True, array_like=True, gc=False):
    """One run: counts, never lists.

    ``left`` counts ordinary tasks (a group is one) that are not final, ``finals`` the ``finally`` tasks that are not.
    ``live`` counts tasks under way: those that an agent owns, child runs and waits. ``failed`` / ``canceled`` / ``lost`` count those that decide the run's end
    (``allow_failure`` ones are not among them). ``due_at`` is when a ``Wake`` is owed (timeout, sweep); ``cursor`` is
    how far a sweep has come, -1 when none is on its way. ``spared`` is a bitmap over task numbers: what a failure
    under ``on_failure: stop`` still lets begin.
    """

    run: int
    graph: int
    state: RunState = RunState.queued
    version: int = 0
    left: int = 0
    finals: int = 0
    live: int = 0
    failed: int = 0
    canceled: int = 0
    succeeded: int = 0
    intent: StopIntent = StopIntent.none
    cursor: int = -1
    due_at: int = 0
    deadline_at: int = 0
    priority: int = 0
    created_at: int = 0
    started_at: int = 0
    ended_at: int = 0
    exit_status: str | None = None
    reason: str | None = None
    spared: bytes = b""
    gate: bool = False
    """All ordinary tasks have ended and the ``finally`` tasks were told so; from then on ``cursor`` counts these."""
    bare: bool = False
    """It was given no parameters: a task without expressions can be handed out without reading the run's input."""
    more: RunMore | None = None


class RunInput(Struct, frozen=True, array_like=True, gc=False):
    """What was given when the run was made; never changes.

    ``params`` is the JSON text of the parameters after defaults were filled in.
    """

    run: int
    graph: int
    job: str | None
    version: int | None
    created_at: int
    params: bytes = b"{}"
    labels: dict[str, str] = {}
    priority: int = 0
    reason: str | None = None
    actor: str = ""
    more: InputMore | None = None
