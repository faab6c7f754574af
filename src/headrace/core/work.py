"""What goes into a step and what comes out of it: keys, working set, offers, commands.

Records only. The ledger fills a ``Working`` from the store, folds ``core.stepping.step`` over it and writes what came out; the
simulator and in-process runs do the same over a dictionary.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, field

from headrace.core.nodes import Placement
from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.changes import Change
from headrace.model.facts import AnyFact
from headrace.model.ids import TaskKey
from headrace.model.limits import Limit, LimitKey
from headrace.model.messages import AnyMessage


class Keys(Struct, frozen=True, gc=False):
    """What a change may touch, O(out-degree): ``tasks`` to load, ``values`` (results) to read, ``input`` if needed.

    ``members`` asks for a page of existing task rows of the run, in (no, index) order after ``members_after``
    (exclusive), at most ``members_max``: sweeps use it. ``items`` asks for the items of a group's list from its cursor.
    ``gather`` asks for the results of all instances of these groups, in item order.
    """

    tasks: tuple[TaskKey, ...] = ()
    values: tuple[TaskKey, ...] = ()
    input: bool = False
    members: bool = False
    members_after: tuple[int, int] = (-1, -2)
    members_max: int = 0
    items: tuple[TaskKey, int, int] | None = None
    """(key of the value that is the list, first item, at most how many)."""
    gather: tuple[TaskKey, ...] = ()
    cached: tuple[TaskKey, ...] = ()
    """Tasks of which to look up whether their work was done before."""


class WorkAhead(Protocol):
    """Work beyond an agent's slots, by class. A dictionary is one; a shell may reckon it when it is asked."""

    def get(self, klass: int, none: int, /) -> int: ...


class Offer(Struct):
    """An agent linked to this node with room for ``free`` more attempts. The only mutable record here: a claim takes from it.

    ``free`` is slots minus what it holds, and below zero while it holds prefetched work. A task of class k fits when
    ``free + ahead.get(k, 0) > 0``; ``ahead`` (work beyond its slots, by class) never counts for ``on_lost: fail | ask``,
    for those ``free > 0`` must hold.
    """

    agent: int
    boot: int
    free: int
    labels: dict[str, str] = field(default_factory=dict)
    slots: int = 1
    draining: bool = False
    """It takes no new work, however much is free."""
    name: str = ""
    """The agent's name, for tasks that ask for one agent and for people."""
    ahead: WorkAhead = field(default_factory=dict[int, int])


class Cached(Struct, frozen=True):
    """An attempt whose result is found again: whose, when it ended, what it said. ``value`` has its data."""

    key: TaskKey
    at: int
    cell: TaskCell
    value: Value | None = None


class Gate(Struct):
    """The runs of one job and key that are let in, oldest first, and the first of those that wait, in order."""

    holders: dict[int, None] = field(default_factory=dict)
    waiting: dict[int, None] = field(default_factory=dict)


class Working(Struct):
    """The working set of one group of changes: what was loaded, overlaid by what was decided.

    ``items`` maps the list's key to its decoded items from the asked-for position; ``values`` holds decoded results by
    task key. A key that was asked for and is absent had no row.
    """

    runs: dict[int, RunCell] = field(default_factory=dict)
    tasks: dict[TaskKey, TaskCell] = field(default_factory=dict)
    inputs: dict[int, RunInput] = field(default_factory=dict)
    params: dict[int, Any] = field(default_factory=dict)
    """Parameters of runs as decoded when they were first read; they never change. Whoever loads may bring large ones."""
    values: dict[TaskKey, Any] = field(default_factory=dict)
    items: dict[tuple[TaskKey, int], list[Any]] = field(default_factory=dict)
    totals: dict[TaskKey, int] = field(default_factory=dict)
    """How many items the lists have of which ``items`` has a page, where the results do not say so themselves."""
    members: dict[int, list[TaskKey]] = field(default_factory=dict)
    offers: list[Offer] = field(default_factory=list)
    incarnation: int = 1
    waiting: frozenset[int] = frozenset()
    """Classes in which older ready tasks wait for room: new ones queue behind them instead of being claimed at once."""
    limits: dict[str, Limit] = field(default_factory=dict)
    """Named limits that changes of the group take from; a name that was asked for and is absent does not exist."""
    uses: dict[LimitKey, int] = field(default_factory=dict)
    """Units of them in use; a key that is absent was not asked for, and then nothing may be taken of it."""
    ticks: dict[LimitKey, int] = field(default_factory=dict)
    """The instants of rates; absent means that nothing was started yet."""
    gates: dict[LimitKey, Gate] = field(default_factory=dict)
    holders: dict[LimitKey, tuple[str, ...]] = field(default_factory=dict)
    """Who holds a limit, in words; only for explain."""
    keys: dict[str, str] = field(default_factory=dict)
    """The keys of limits as this process last saw them, by name: a guess that spares claims, which look themselves."""
    cached: dict[bytes, Cached] = field(default_factory=dict)
    place: str = ""
    """What stands before ``/runs/…`` in the address of a run; empty where no server is."""
    unlimited: bool = False
    """Limits count for nothing: a run in the caller's own process, one task at a time."""


class Dispatch(Struct, frozen=True, gc=False):
    """After the commit: hand this attempt to its agent. ``spec`` is the rendered task (see ``core.render.Rendered``)."""

    key: TaskKey
    graph: int
    agent: int
    boot: int
    attempt: int
    epoch: int
    spec: Any
    klass: int = 0


class StopAttempt(Struct, frozen=True, gc=False):
    """After the commit: a rung of the ladder for an attempt that an agent owns, or owned.

    ``fence`` is the last one: the attempt is nobody's any more, kill it at once and report nothing. ``take_back`` is none:
    it gives back what has not begun and leaves alone what runs.
    """

    key: TaskKey
    agent: int
    boot: int
    epoch: int
    grace_ms: int
    reason: str
    fence: bool = False
    take_back: bool = False


class Follow(Struct, frozen=True, gc=False):
    """Another change to decide, in the same commit where the bounds allow it, else in the next."""

    change: Change


class Alarm(Struct, frozen=True, gc=False):
    """A cell is owed a ``Wake`` at ``at``: a hint for the timer loop, the truth is ``due_at`` in the row."""

    key: TaskKey
    at: int


class Ended(Struct, frozen=True, gc=False):
    """The run reached its final state: wakes those who wait for it."""

    run: int


class HasFiles(Struct, frozen=True, gc=False):
    """The run may have files that no attempt of its own left: those of tasks that it has taken over."""

    run: int


class Waits(Struct, frozen=True, gc=False):
    """A task of this class became ready and found no room: a hint for the claim loop, the truth is the row.

    ``placement`` is given where it is made of the run (keys of limits): it is written down in this commit.
    """

    klass: int
    placement: Placement | None = None


class Tell(Struct, frozen=True, gc=False):
    """In this commit: a row of the outbox. It is delivered afterwards, and again until it was."""

    message: AnyMessage


class Parked(Struct, frozen=True, gc=False):
    """A limit holds this class back; ``at`` is when that may change by time alone, 0 when it does not. A hint."""

    klass: int
    limit: LimitKey
    at: int = 0


class Freed(Struct, frozen=True, gc=False):
    """Something of these limits was given back: a hint for those that wait for it, the truth is the rows."""

    limits: tuple[LimitKey, ...]


Command = Dispatch | StopAttempt | Follow | Alarm | Ended | Waits | Tell | Parked | Freed | HasFiles


class Step(Struct, frozen=True, gc=False):
    """What one change decided: new images, facts, commands. Applying it is ``Working.apply``-simple: overlay by key."""

    run: RunCell | None = None
    tasks: tuple[TaskCell, ...] = ()
    facts: tuple[AnyFact, ...] = ()
    commands: tuple[Command, ...] = ()
    values: tuple[tuple[TaskKey, Value], ...] = ()
    """Results too large for the cell, to be written aside under this key."""
    ticks: tuple[tuple[LimitKey, int], ...] = ()
    """The instants of rates that this start has moved."""
