"""The compiled form of a definition: everything a step needs, computed once per version.

Records only, immutable; made by ``core.graph.compile``, read by every other file of core, cached by whoever
holds a ledger. A task is known by its place in the definition (``no``).
"""

from __future__ import annotations

from typing import Any

from msgspec import UNSET, Struct

from headrace.core.render import Source
from headrace.model.states import TaskState

INNER = frozenset({"job", "wait"})
"""Kinds of tasks that no agent does."""

DEPTH_MAX = 32
"""So many runs deep may child runs nest."""

WINDOW = 2_000
"""Most live instances of one group; more are created as these end."""

CHUNK = 1_000
"""Most cells that one step sweeps."""

GROWTH = 250
"""Most instances that one step creates: others wait for their commit meanwhile."""

TAKE_CHUNK = 200
"""Most instances that one step takes over from an earlier run: their results are read and written."""

INLINE_READS = 8
"""A successor that reads more tasks than this gets them in a step of its own."""

RANK_SLOPE_MS = 60_000
"""One point of priority is worth this much waiting: ageing without re-sorting."""

LANE_SHIFT, LANES, PRIORITY_SHIFT = 48, 64, 54
"""Parts of a class's number: above the placement the lane of its job, above that the priority."""

PARKED = 0
"""The class of a ready task whose run is paused: no agent and no claim ever looks for it."""

ENDED_MASK = sum(
    1 << state
    for state in (TaskState.succeeded, TaskState.failed, TaskState.canceled, TaskState.skipped, TaskState.lost)
)


class Need(Struct, frozen=True):
    """One condition on one other task. ``states`` is a bit mask over ``TaskState``, ``exit`` a glob or None."""

    task: int
    states: int
    exit: str | None = None
    any: bool = False
    """One of the alternatives of ``needs: {any: […]}``."""


class Edge(Struct, frozen=True):
    """The same condition seen from the task that is needed: ``to`` waits for it."""

    to: int
    states: int
    exit: str | None = None
    any: bool = False


class Reads(Struct, frozen=True):
    """What rendering looks at: cells of other tasks, their results, the results of whole groups, the run's input."""

    cells: tuple[int, ...] = ()
    values: tuple[int, ...] = ()
    gathers: tuple[int, ...] = ()
    input: bool = False


class RetryPolicy(Struct, frozen=True):
    """When a failed attempt is followed by another. Durations in ms. ``given``: the definition says ``retries``."""

    max: int = 0
    delay: int = 1_000
    backoff: float = 2.0
    max_delay: int = 300_000
    jitter: float = 0.2
    only: frozenset[str] | None = None
    never: frozenset[str] = frozenset()
    given: bool = False


class Placement(Struct, frozen=True):
    """Where work may run: the class of tasks that wait for the same room. ``agent`` is a name, empty for any.

    ``on_lost`` belongs to it because only what may be started again elsewhere is given out ahead of an agent's slots.
    """

    kind: str
    labels: tuple[tuple[str, str], ...] = ()
    agent: str = ""
    package: str = ""
    limits: tuple[tuple[str, int], ...] = ()
    on_lost: str = "retry"
    keys: tuple[str, ...] = ()
    """Values of the limits' keys, in their order; empty where none of them is counted apart."""


class CacheRule(Struct, frozen=True):
    """A result is good for so many microseconds; ``key``: what makes two attempts the same, empty for the whole work."""

    for_us: int
    key: str = ""


class GateRule(Struct, frozen=True):
    """So many runs of the job at once, counted per ``key`` (a text with expressions); ``when_full`` as in the document."""

    max: int
    key: str = ""
    when_full: str = "queue"


class Each(Struct, frozen=True):
    """The items of a group. ``paged`` is the task whose whole result is the list, so that it is read in pieces.

    ``fixed`` is the rendering of a source without expressions: made once, so that no chunk copies the whole list.
    """

    source: Any
    reads: Reads
    paged: int | None = None
    fixed: Any = None
    window: int = WINDOW
    low: int = WINDOW // 2
    """With this many live instances or fewer, more are created."""


class Again(Struct, frozen=True):
    """``repeat``: a task that succeeded is done again until it was done ``times`` times. ``delay_ms`` between two."""

    times: int
    delay_ms: int = 0


class Node(Struct, frozen=True):
    """One task, compiled. ``needs`` are conditions on others, ``edges`` who waits for this one.

    A ``finally`` task has in ``gate`` its conditions on ordinary tasks; they are looked at when all of those have
    ended. ``pending`` is how many unmet things its new cell counts (one for all alternatives of ``any`` together).
    """

    no: int
    name: str
    source: Source
    placement: Placement
    klass: int
    needs: tuple[Need, ...] = ()
    edges: tuple[Edge, ...] = ()
    gate: tuple[Need, ...] = ()
    pending: int = 0
    alternatives: int = 0
    when: Any = UNSET
    when_reads: Reads = Reads()
    sift: Any = UNSET
    """A ``when`` that speaks of the item: it is decided for each instance, and ``when`` is not set."""
    reads: Reads = Reads()
    each: Each | None = None
    retry: RetryPolicy = RetryPolicy()
    grace_ms: int = 10_000
    priority: int | None = None
    final: bool = False
    allow_failure: bool = False
    on_lost: str = "retry"
    plain: bool = False
    """Nothing about it is rendered: neither texts nor a condition nor items; and nothing but room holds it back."""
    quiet: bool = False
    """All that wait for it are ``plain``, so that its end reads nothing but their cells."""
    inner: bool = False
    """Its work is a child run or a wait: no agent does it and it holds no slot."""
    delay_ms: int = 0
    repeat: Again | None = None
    lane: int = 0
    """The lane of its job, where it stands in the number of a class."""
    cache: CacheRule | None = None
    limited: bool = False
    """It takes from named limits: only the claim loop gives it out, never the change that made it ready."""


class Graph(Struct, frozen=True):
    """One job version, compiled. ``ordinary`` counts tasks without ``finally``; ``finals`` are the others.

    ``fast``: one task without conditions, instances, limits or ``finally``: its steps take the short way.
    """

    name: str
    nodes: tuple[Node, ...]
    by_name: dict[str, int]
    roots: tuple[int, ...]
    finals: tuple[int, ...]
    ordinary: int
    timeout_ms: int = 0
    stop_on_failure: bool = False
    result: Any = UNSET
    result_reads: Reads = Reads()
    result_no: int | None = None
    said_no: int | None = None
    """The task whose exit status is the run's unless one fails: that whose result is the run's."""
    fast: bool = False
    gate: GateRule | None = None
    long: bool = False
    """Some task behaves in a way of which the short ways know nothing: every change takes the long way."""
