"""Give work that had to wait to agents that have room again: the only place that reads the ready index.

What becomes ready while there is room is claimed in the very change that made it ready; this loop sees only the rest.
It knows which classes wait (told by ``Waits`` commands, read once at the start), reads only classes with room, in rank
order, and asks ``Claim`` changes in one group. Work that nobody can place costs nothing, nor does work that a limit
holds back: its class is parked until something of that limit is given back. Core decides; a claim that comes too late
is refused and harmless.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Sequence

import msgspec

from headrace.control.changes.limits import read_limit
from headrace.control.changes.result import Result
from headrace.control.loops.dispatch import Asks
from headrace.control.loops.loop import Loop
from headrace.control.loops.parking import Parking
from headrace.control.loops.turns import Heads, Turns
from headrace.control.placement import Placement
from headrace.core.classes import base_of
from headrace.core.eligible import held_back, place_for
from headrace.core.graph import Placement as Class
from headrace.core.limits import starts, tick_under, ticks_of
from headrace.core.nodes import INNER
from headrace.core.work import Offer, Waits, Working
from headrace.model.changes import SYSTEM, Claim
from headrace.model.errors import Busy
from headrace.model.limits import LIMIT, LimitKey, Take
from headrace.model.ports import Clock
from headrace.store.port import Reader
from headrace.store.rows import ReadyRow

PAGE = 500
"""Ready rows read at once: what was read is claimed in this order even if something more urgent comes meanwhile."""

BARREN_MAX = 16
"""Passes in a row whose claims changed nothing, before waiting for room or work to be told again."""

PASS_MAX = 1_024
"""Claims asked for in one pass."""


class ClaimLoop(Loop):
    """One per node."""

    def __init__(self, reader: Reader, ledger: Asks, placement: Placement, clock: Clock) -> None:
        super().__init__()
        self._clock = clock
        self._reader = reader
        self._ledger = ledger
        self._placement = placement
        self._classes: dict[int, Class] = {}
        """The placements of what waits, by number: each value of a limit's key has its own, so none is kept longer."""
        self._pages: dict[int, deque[ReadyRow]] = {}
        self._told: set[int] = set()
        self._barren = 0
        self._unsure = False
        self._waiting: dict[int, set[int]] = {}
        """All classes that wait, by their placement: ``Placement.waiting`` has these."""
        self._open: set[int] = set()
        self._turns = Turns()
        self._parking = Parking()
        self._timers: dict[LimitKey, asyncio.TimerHandle] = {}
        self._counted: set[LimitKey] = set()
        self._guessed: set[int] = set()
        """Classes parked in this pass because of what the pass itself is about to claim (``_counted``)."""
        placement.on_room(self.room)

    def room(self) -> None:
        """There may be room. Wakes only when something waits for it."""
        if self._open:
            self.wake()

    def told(self, commands: Sequence[Waits]) -> None:
        """What commits of this node say. A placement that comes with it need not be looked up."""
        for c in commands:
            if c.placement is not None:
                self._classes[base_of(c.klass)] = c.placement
        self.waits({c.klass for c in commands})

    def waits(self, klasses: Iterable[int]) -> None:
        """Tasks of these classes found no room."""
        self._told.update(klasses)
        for klass in self._told:
            self._waiting.setdefault(base_of(klass), set()).add(klass)
        if not self._placement.waiting >= self._waiting.keys():
            self._placement.waiting = frozenset(self._waiting)
        self._open.update(k for k in self._told if k not in self._parking)
        if self._open:
            self.wake()

    def freed(self, limits: Iterable[LimitKey]) -> None:
        """Something of these limits was given back, or they were changed."""
        self._look(self._parking.freed(limits))

    def freed_elsewhere(self) -> None:
        """Another node gave something back, or changed a limit."""
        self._look(self._parking.everything())

    def parked(self, klass: int, limit: LimitKey, at: int) -> None:
        """A claim came too late for this limit, which holds its class back until ``at`` where that is known."""
        self._park(klass, limit, at)

    def _park(self, klass: int, limit: LimitKey, at: int) -> None:
        # What was taken from its page may still be ready, and nothing is kept of what may wait for long.
        self._pages.pop(klass, None)
        if klass in self._waiting.get(base_of(klass), ()) and self._parking.park(klass, limit):
            self._open.discard(klass)
            if at:
                self._alarm(limit, at)

    def _alarm(self, limit: LimitKey, at: int) -> None:
        """Look again when a rate lets the next begin."""
        old = self._timers.pop(limit, None)
        if old is not None:
            old.cancel()
        delay = max(0.0, (at - self._clock.now()) / 1_000_000)
        self._timers[limit] = asyncio.get_running_loop().call_later(delay, self._ring, limit)

    def _ring(self, limit: LimitKey) -> None:
        self._timers.pop(limit, None)
        self.freed([limit])

    def _look(self, klasses: Iterable[int]) -> None:
        self._open.update(k for k in klasses if k in self._waiting.get(base_of(k), ()))
        if self._open:
            self.wake()

    def relearn(self) -> None:
        """What waits may be more than what was told: read it anew."""
        self._unsure = True
        self.wake()

    async def start(self) -> None:
        """Read what waited before this life."""
        found = await self._learn()
        self._classes.update(found.values())
        self.waits(found)

    async def run_once(self) -> None:
        """Claim as much of what waits as there is room for."""
        try:
            if self._unsure:
                self._unsure = False
                self._pages.clear()
                self._look(self._parking.everything())
                await self.start()
            claims = await self._choose(self._placement.offers())
            if not claims:
                return
            answers = await self._ledger.ask_many(claims, SYSTEM)
            self._doubt()
        except Busy:
            # What was taken from the pages may not have been claimed.
            self._unsure = True
            raise
        if any(isinstance(answer, Result) and answer.moved for answer in answers):
            self._barren = 0
            self.wake()
        elif self._barren < BARREN_MAX:
            # Every row was taken or canceled meanwhile. No attempt is out whose end would wake us: look again.
            self._barren += 1
            self._pages.clear()
            self.wake()
        else:
            self._barren = 0

    def _doubt(self) -> None:
        """A claim may have come to nothing, and then nobody gives back what was counted for it: who was parked because of
        that is looked at again in the next pass, which sees what is committed.
        """
        if self._guessed:
            self._open.update(self._parking.recall(self._guessed))

    async def _choose(self, offers: list[Offer]) -> list[Claim]:
        """The best-ranked waiting tasks of all classes that fit into these offers."""
        claims: list[Claim] = []
        self._parking.stir()
        self._counted.clear()
        self._guessed.clear()
        open_ = {klass: kind for klass, kind in (await self._kinds()).items() if place(kind, klass, offers)}
        picture = await self._picture(open_)
        heads = Heads(self._turns)
        read: set[int] = set()
        wanting = list(open_)
        while len(claims) < PASS_MAX:
            for klass in wanting:
                if place(open_[klass], klass, offers) and (row := await self._head(klass, open_[klass], picture, read)):
                    heads.put(klass, row.rank)
            if not heads:
                break
            wanting, klass = [], heads.take()
            kind = open_[klass]
            offer = place(kind, klass, offers)
            if offer is None or (picture is not None and self._held(klass, kind, picture)):
                continue
            offer.free -= 1
            self._turns.took(klass)
            row = self._pages[klass].popleft()
            claims.append(Claim(row.run, row.no, row.index, tuple([name for name, _ in kind.limits])))
            wanting = [klass]
        return claims

    async def _picture(self, open_: dict[int, Class]) -> Working | None:
        """What is free of the limits of these classes, as far as it is committed; None when they have none."""
        takes = {take for kind in open_.values() if kind.limits for take in takes_of(kind)}
        if not takes:
            return None
        picture = Working()
        for name in {name for name, _, _ in takes}:
            row = await self._reader.entity((LIMIT, name))
            if row is not None and not row.deleted_at:
                picture.limits[name] = read_limit(row.image)
        for key, (used, tick, at) in (await self._reader.uses(sorted({(n, k) for n, k, _ in takes}))).items():
            limit = picture.limits.get(key[0])
            picture.uses[key], picture.ticks[key] = used, tick if limit is None else tick_under(limit, tick, at)
        return picture

    def _held(self, klass: int, kind: Class, picture: Working) -> bool:
        """Whether a limit holds the class back; otherwise one of its tasks is counted as begun."""
        if not kind.limits:
            return False
        takes, now = takes_of(kind), self._clock.now()
        if any(name in picture.limits and bool(picture.limits[name].key) != bool(key) for name, key, _ in takes):
            # The limit counts by another key since: the claim puts the task where it belongs.
            return False
        hold = held_back(takes, picture, now)
        if hold is not None:
            self._park(klass, hold.limit, hold.reason.at)
            if hold.limit in self._counted:
                self._guessed.add(klass)
            return True
        picture.ticks.update(ticks_of(picture, takes, now))
        for name, key, units in takes:
            picture.uses[name, key] += units
            self._counted.add((name, key))
        return False

    async def _head(self, klass: int, kind: Class, picture: Working | None, read: set[int]) -> ReadyRow | None:
        """The next row of a class; None when nothing of it waits any longer.

        ``read`` are the classes read in this pass: what was taken from their page is still ready in the store, so the
        next page has to wait until that is claimed.
        """
        page = self._pages.get(klass)
        if not page:
            if klass in read:
                return None
            read.add(klass)
            self._told.discard(klass)
            page = self._pages[klass] = deque(await self._reader.ready(klass, self._rows(kind, picture)))
            if not page:
                self._over(klass)
                return None
        return page[0]

    def _rows(self, kind: Class, picture: Working | None) -> int:
        """So many rows of a class are read at once: no more than its limits let begin. A key has few, keys may be many."""
        most = PAGE
        if picture is not None:
            now = self._clock.now()
            for name, key, units in takes_of(kind):
                limit = picture.limits.get(name)
                if limit is not None and bool(limit.key) == bool(key):
                    used, tick = picture.uses.get((name, key), 0), picture.ticks.get((name, key), 0)
                    most = min(most, starts(limit, units, used, tick, now))
        return max(most, 1)

    def _over(self, klass: int) -> None:
        """Nothing of this class was there to be read: unless some was told meanwhile, it waits no longer."""
        if klass not in self._told:
            base = base_of(klass)
            kin = self._waiting.get(base, set())
            kin.discard(klass)
            if not kin:
                self._waiting.pop(base, None)
                self._classes.pop(base, None)
                self._placement.waiting -= {base}
            self._pages.pop(klass, None)
            self._open.discard(klass)
            self._parking.leave(klass)

    async def _kinds(self) -> dict[int, Class]:
        """The open classes with their placements; all that nobody has told are looked up at once."""
        missing = [klass for klass in self._open if base_of(klass) not in self._classes]
        if missing:
            self._told.difference_update(missing)
            wanted = {base_of(klass) for klass in missing}
            self._classes.update((base, kind) for base, kind in (await self._learn()).values() if base in wanted)
            for klass in missing:
                if base_of(klass) not in self._classes:
                    self._over(klass)
        classes = self._classes
        return {klass: kind for klass in self._open if (kind := classes.get(base_of(klass))) is not None}

    async def _learn(self) -> dict[int, tuple[int, Class]]:
        """All classes that wait: the number of the placement, and what that is."""
        rows = await self._reader.ready_classes()
        return {klass: (base_of(klass), msgspec.msgpack.decode(image, type=Class)) for klass, image in rows}


def takes_of(kind: Class) -> tuple[Take, ...]:
    """What each task of a class takes of limits."""
    keys = kind.keys or ("",) * len(kind.limits)
    return tuple([(name, key, units) for (name, units), key in zip(kind.limits, keys, strict=True)])


def place(kind: Class, klass: int, offers: list[Offer]) -> Offer | None:
    """The offer with the most room for this class, if any has some. A guess that spares claims: core decides.

    What no agent does needs no room.
    """
    if kind.kind in INNER:
        return Offer(0, 0, 1)
    at = place_for(kind, base_of(klass), offers)
    return None if at < 0 else offers[at]
