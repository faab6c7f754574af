"""Where work can go: this node's view of the agents that are linked to it, and of what each of them holds.

Memory only: a new life rebuilds it from the leased rows (``store.port.Reader.leased``). It decides nothing about
tasks: it says how much room there is (``offers``), ``core.eligible`` says who may take it. Called by the ledger
(``offers`` before each group), the loops (``took``, ``done``) and the doorbell (``link``, ``unlink``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from statistics import median

from msgspec import Struct, field

from headrace.core.work import Offer
from headrace.link.records import AttemptName

Name = tuple[int, int, int, int]
"""(run, no, index, epoch): an attempt's name as a plain tuple, because it is a key on the hot path."""

PREFETCH_MAX = 8192
"""Attempts that one agent may hold beyond its slots, whatever was measured."""

SHORTEST_US = 25.0
"""No attempt takes its slot for less, whatever its own clock says."""

QUICK_US = 50_000
"""Only classes whose measured median is below this are prefetched."""

SAMPLES = 31
WINDOW = 8
"""Durations looked at per feed and class: enough for a median, few enough for the hot path."""

CLASSES_MAX = 512
"""Classes of which durations are kept, those measured last: each version of a package makes classes of its own."""

FIRST_US = 2_000.0
"""What each part of a round trip is taken to last until it was measured."""

SMOOTHING = 0.2


class Linked(Struct, kw_only=True):
    """One agent linked to this node. ``gone`` since its doorbell closed: it keeps its work and gets no more.
    ``draining``: it says that it takes no new work.

    ``boot`` is the store's number of the agent's present life, ``boot_id`` the agent's own name of it.
    ``post_us`` and ``deliver_us`` are measured times, smoothed.
    """

    agent: int
    name: str
    boot: int
    boot_id: str
    link_epoch: int
    slots: int
    labels: dict[str, str] = {}
    draining: bool = False
    gone: bool = False
    post_us: float = FIRST_US
    deliver_us: float = FIRST_US
    held: dict[Name, int] = field(default_factory=dict)

    def measured(self, *, post_us: float = 0.0, deliver_us: float = 0.0) -> None:
        """One part of a round trip took this long: the POST, or applying a feed (claiming takes as long again)."""
        if post_us:
            self.post_us += (post_us - self.post_us) * SMOOTHING
        if deliver_us:
            self.deliver_us += (deliver_us - self.deliver_us) * SMOOTHING

    @property
    def round_us(self) -> float:
        """From an outcome read to the next attempt accepted."""
        return self.post_us + 2 * self.deliver_us

    def prefetch(self, median_us: float) -> int:
        """How many attempts of this length fit into two round trips of all slots."""
        return min(PREFETCH_MAX, int(2 * self.round_us * self.slots / max(median_us, SHORTEST_US)))


class Durations:
    """Measured medians per class, in microseconds, from the last samples; ``_seen`` is in the order of measuring."""

    def __init__(self) -> None:
        self._seen: dict[int, deque[int]] = {}
        self._quick: dict[int, float] = {}

    def add(self, klass: int, durations: Iterable[int]) -> None:
        """Take in some durations of one class."""
        seen = self._seen.pop(klass, None)
        if seen is None:
            seen = deque(maxlen=SAMPLES)
            if len(self._seen) >= CLASSES_MAX:
                oldest = next(iter(self._seen))
                del self._seen[oldest]
                self._quick.pop(oldest, None)
        self._seen[klass] = seen
        seen.extend(durations)
        middle = median(seen)
        if middle < QUICK_US:
            self._quick[klass] = middle
        else:
            self._quick.pop(klass, None)

    def quick(self) -> dict[int, float]:
        """Classes that may be prefetched, with their medians."""
        return self._quick


class Prefetch:
    """How much one agent takes beyond its slots, by class: reckoned when it is asked, once for each class."""

    __slots__ = ("_found", "_linked", "_quick")

    def __init__(self, linked: Linked, quick: dict[int, float]) -> None:
        self._linked = linked
        self._quick = quick
        self._found: dict[int, int] = {}

    def get(self, klass: int, none: int, /) -> int:
        """Attempts of this class; ``none`` when it is not to be prefetched."""
        found = self._found.get(klass)
        if found is None:
            middle = self._quick.get(klass)
            found = self._found[klass] = none if middle is None else self._linked.prefetch(middle)
        return found


class Placement:
    """Room and work of every linked agent. ``room`` is called when room appears where none was."""

    def __init__(self) -> None:
        self.durations = Durations()
        self.waiting: frozenset[int] = frozenset()
        """Classes with ready rows that had to wait: what becomes ready later queues behind them."""
        self.given_out = 0
        """Attempts that were given to agents since the start."""
        self._agents: dict[int, Linked] = {}
        self._owner: dict[Name, int] = {}
        self._listeners: list[Callable[[], None]] = []

    def on_room(self, listener: Callable[[], None]) -> None:
        """Call this whenever an agent may have room again; it must be quick."""
        self._listeners.append(listener)

    def link(self, linked: Linked) -> None:
        """An agent's doorbell stands; what it holds is told by ``took``, from the leased rows."""
        before = self._agents.get(linked.agent)
        if before is not None:
            self._forget(before)
        self._agents[linked.agent] = linked

    def unlink(self, agent: int, link_epoch: int) -> None:
        """The doorbell closed: no more work goes there until it rings again. What it holds stays its own."""
        linked = self._agents.get(agent)
        if linked is not None and linked.link_epoch == link_epoch:
            linked.gone = True

    def of(self, agent: int) -> Linked | None:
        """The agent, linked now or gone since."""
        return self._agents.get(agent)

    def agents(self) -> list[Linked]:
        """All agents known to this life of the node."""
        return list(self._agents.values())

    def took(self, agent: int, name: Name, klass: int) -> None:
        """The attempt is the agent's now."""
        linked = self._agents.get(agent)
        self.given_out += 1
        if linked is not None:
            linked.held[name] = klass
            self._owner[name] = agent

    def done(self, name: Name | AttemptName) -> int | None:
        """The attempt is over or taken back; gives its class, None when it was not known."""
        key = name if isinstance(name, tuple) else (name.run, name.no, name.index, name.epoch)
        agent = self._owner.pop(key, None)
        return None if agent is None else self._agents[agent].held.pop(key, None)

    def room(self) -> None:
        """Tell the listeners that there may be room."""
        for listener in self._listeners:
            listener()

    def offers(self) -> list[Offer]:
        """What each linked agent can take now. The ledger asks before each group; claims take from the answer.

        While one agent has an idle slot, no agent gets work beyond its slots. One that drains is among them, and says
        so: the rules hold work back from it, and ``explain`` can tell.
        """
        quick = self.durations.quick()
        linked = [a for a in self._agents.values() if not a.gone]
        takers = [a for a in linked if not a.draining]
        idle = len(takers) > 1 and any(len(a.held) < a.slots for a in takers)
        return [self._offer(a, {} if idle else quick) for a in linked]

    def _offer(self, a: Linked, quick: dict[int, float]) -> Offer:
        return Offer(
            agent=a.agent,
            boot=a.boot,
            free=a.slots - len(a.held),
            labels=a.labels,
            slots=a.slots,
            draining=a.draining,
            ahead=Prefetch(a, quick) if quick else {},
            name=a.name,
        )

    def _forget(self, linked: Linked) -> None:
        for name in linked.held:
            self._owner.pop(name, None)
