"""Give work that had to wait to agents that have room again: the only place that reads the ready index.

What becomes ready while there is room is claimed in the very change that made it ready; this loop sees only the rest.
It knows which classes wait (told by ``Waits`` commands, read once at the start), reads only classes with room, in rank
order, and asks ``Claim`` changes in one group. Work that nobody can place costs nothing. Core decides; a claim that
comes too late is refused and harmless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

import msgspec

from headrace.control.loops.dispatch import Asks
from headrace.control.loops.loop import Loop
from headrace.control.placement import Placement
from headrace.core.eligible import room_of
from headrace.core.graph import Placement as Class
from headrace.core.nodes import INNER
from headrace.core.work import Offer
from headrace.model.changes import SYSTEM, Claim
from headrace.model.errors import Busy
from headrace.store.port import Reader
from headrace.store.rows import ReadyRow

PAGE = 500
"""Ready rows read at once: what was read is claimed in this order even if something more urgent comes meanwhile."""

BARREN_MAX = 16
"""Passes in a row whose claims all came too late, before waiting for room or work to be told again."""

PASS_MAX = 1_024
"""Claims asked for in one pass."""


class ClaimLoop(Loop):
    """One per node."""

    def __init__(self, reader: Reader, ledger: Asks, placement: Placement) -> None:
        super().__init__()
        self._reader = reader
        self._ledger = ledger
        self._placement = placement
        self._classes: dict[int, Class] = {}
        self._pages: dict[int, deque[ReadyRow]] = {}
        self._told: set[int] = set()
        self._barren = 0
        self._unsure = False
        placement.on_room(self.room)

    def room(self) -> None:
        """There may be room. Wakes only when something waits for it."""
        if self._placement.waiting:
            self.wake()

    def waits(self, klasses: Iterable[int]) -> None:
        """Tasks of these classes found no room."""
        self._told.update(klasses)
        if not self._told <= self._placement.waiting:
            self._placement.waiting |= self._told
        self.wake()

    def relearn(self) -> None:
        """What waits may be more than what was told: read it anew."""
        self._unsure = True
        self.wake()

    async def start(self) -> None:
        """Read what waited before this life."""
        await self._learn()
        self.waits(self._classes)

    async def run_once(self) -> None:
        """Claim as much of what waits as there is room for."""
        before = self._placement.taken
        try:
            if self._unsure:
                self._unsure = False
                self._pages.clear()
                await self.start()
            claims = await self._choose(self._placement.offers())
            if not claims:
                return
            await self._ledger.ask_many(claims, SYSTEM)
        except Busy:
            # What was taken from the pages may not have been claimed.
            self._unsure = True
            raise
        if self._placement.taken > before:
            self._barren = 0
            self.wake()
        elif self._barren < BARREN_MAX:
            # Every row was taken or canceled meanwhile. No attempt is out whose end would wake us: look again.
            self._barren += 1
            self._pages.clear()
            self.wake()
        else:
            self._barren = 0

    async def _choose(self, offers: list[Offer]) -> list[Claim]:
        """The best-ranked waiting tasks of all classes that fit into these offers."""
        claims: list[Claim] = []
        open_ = {klass: kind for klass in self._placement.waiting if (kind := await self._class(klass))}
        heads: dict[int, ReadyRow] = {}
        read: set[int] = set()
        while open_ and len(claims) < PASS_MAX:
            for klass in [k for k in open_ if k not in heads]:
                head = await self._head(klass, read) if place(open_[klass], klass, offers) else None
                if head is None:
                    del open_[klass]
                else:
                    heads[klass] = head
            if not heads:
                break
            klass = min(heads, key=lambda k: heads[k].rank) if len(heads) > 1 else next(iter(heads))
            del heads[klass]
            offer = place(open_[klass], klass, offers)
            if offer is None:
                del open_[klass]
                continue
            offer.free -= 1
            row = self._pages[klass].popleft()
            claims.append(Claim(row.run, row.no, row.index))
        return claims

    async def _head(self, klass: int, read: set[int]) -> ReadyRow | None:
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
            page = self._pages[klass] = deque(await self._reader.ready(klass, PAGE))
            if not page:
                self._over(klass)
                return None
        return page[0]

    def _over(self, klass: int) -> None:
        """Nothing of this class was there to be read: unless some was told meanwhile, it waits no longer."""
        if klass not in self._told:
            self._placement.waiting -= {klass}

    async def _class(self, klass: int) -> Class | None:
        if klass not in self._classes:
            self._told.discard(klass)
            await self._learn()
            if klass not in self._classes:
                self._over(klass)
        return self._classes.get(klass)

    async def _learn(self) -> None:
        for klass, image in await self._reader.ready_classes():
            self._classes[klass] = msgspec.msgpack.decode(image, type=Class)


def place(kind: Class, klass: int, offers: list[Offer]) -> Offer | None:
    """The offer with the most room for this class, if any has some. A guess that spares claims: core decides.

    What no agent does needs no room.
    """
    if kind.kind in INNER:
        return Offer(0, 0, 1)
    best: Offer | None = None
    most = 0
    for offer in offers:
        if kind.agent and kind.agent != offer.name:
            continue
        if kind.labels and any(offer.labels.get(name) != value for name, value in kind.labels):
            continue
        room = room_of(kind, klass, offer)
        if room > most:
            best, most = offer, room
    return best
