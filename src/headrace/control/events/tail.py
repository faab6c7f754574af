"""The newest events, read once for all who watch: one reader of the feed per node, fanned out in memory.

Keeps a bounded stretch of events up to the end of what can be told. A watcher inside the stretch is served from it, one
that fell behind reads the store by itself: nothing is buffered for anybody. Idle while nobody watches. Woken by the
ledger's commits and other nodes' hints. Made by ``control.node``; used by the stream of events.
"""

from __future__ import annotations

import asyncio
import logging
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from operator import attrgetter

from headrace.control.events.cursor import Cursor
from headrace.control.events.feed import Event, Feed, Page
from headrace.control.events.subjects import Wanted
from headrace.control.metrics import SECONDS, Histogram
from headrace.model.cells import RunCell
from headrace.model.errors import HeadraceError
from headrace.model.ports import Clock
from headrace.store.rows import Batch

KEPT_MAX = 4_000
"""Events that are kept at hand."""
PAGE = 200
LOOK_S = 1.0
"""Where other nodes commit too: so long at most until a commit is seen whose hint was lost."""
AGAIN_S = 0.003
"""So soon it is looked again while commits wait for others to end."""

_cursor = attrgetter("cursor")

log = logging.getLogger("headrace.control")


class Shared:
    """An event that many are told: each text of it is made once."""

    __slots__ = ("cursor", "event", "texts")

    def __init__(self, event: Event) -> None:
        self.event = event
        self.cursor = event.cursor
        self.texts: dict[str, bytes] = {}


class Tail:
    """``watch`` while somebody listens; ``since`` for what is at hand; ``changed`` to wait for more."""

    def __init__(self, feed: Feed, clock: Clock, *, alone: bool) -> None:
        self.feed = feed
        self._loop = asyncio.get_running_loop()
        self.lag = Histogram(SECONDS)
        self.watchers = 0
        self.over = False
        self._clock = clock
        self._alone = alone
        self._all = Wanted((), lambda _: True)
        self._kept: list[Shared] = []
        self._low: Cursor | None = None
        self._high: Cursor | None = None
        self._news = asyncio.Event()
        self._waiting: set[asyncio.Future[None]] = set()
        self._task: asyncio.Task[None] | None = None
        self.joined: dict[tuple[Cursor, Cursor, str, str], bytes] = {}
        """Texts of several events put together, for those who want the same; of the newest events only."""

    def wake(self) -> None:
        """Something may have been committed. Costs nothing while nobody watches."""
        if self.watchers:
            self._news.set()

    def committed(self, batch: Batch, runs: Mapping[int, RunCell]) -> None:
        """Something was committed here. Costs nothing while nobody watches."""
        if self.watchers:
            self.feed.fresh.take(batch, runs)
            self._news.set()

    def enter(self) -> None:
        """One more watches."""
        self.watchers += 1
        self._news.set()
        if self._task is None or self._task.done():
            self._low = self._high = None
            self._kept = []
            self._task = asyncio.ensure_future(self._run())

    def leave(self) -> None:
        """One less."""
        self.watchers -= 1
        if self.watchers == 0 and self._task is not None:
            self._task.cancel()
            self._task = None
            self.feed.fresh.clear()

    def end(self) -> None:
        """The server ends: nobody waits any more."""
        self.over = True
        if self._task is not None:
            self._task.cancel()
        self._tell()

    def since(self, cursor: Cursor) -> Sequence[Shared] | None:
        """The events behind this cursor; None when the stretch at hand does not reach back so far (or not up to it)."""
        if self._low is None or self._high is None or not self._low <= cursor <= self._high:
            return None
        return self._kept[bisect_right(self._kept, cursor, key=_cursor) :]

    @property
    def high(self) -> Cursor | None:
        """Up to here events are at hand."""
        return self._high

    def news(self) -> asyncio.Future[None]:
        """A future that is done when there is more; ask before looking. ``forget`` it when it is not waited for."""
        future: asyncio.Future[None] = self._loop.create_future()
        if self.over:
            future.set_result(None)
        else:
            self._waiting.add(future)
        return future

    def forget(self, future: asyncio.Future[None]) -> None:
        """Nobody waits for it."""
        self._waiting.discard(future)

    def _tell(self) -> None:
        self.joined.clear()
        waiting, self._waiting = self._waiting, set()
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def _run(self) -> None:
        while True:
            try:
                if self._high is None:
                    self._high = self._low = await self.feed.latest()
                    self._tell()
                page = await self._more(self._high)
            except HeadraceError:
                # the store is away or busy: watchers wait, the ledger's own log says why
                await asyncio.sleep(LOOK_S)
                continue
            except Exception:
                log.exception("events could not be read; it is tried again")
                await asyncio.sleep(LOOK_S)
                continue
            await self._pause(page)

    async def _more(self, high: Cursor) -> Page:
        """Read on."""
        self._news.clear()
        page = await self.feed.page(high, PAGE, self._all)
        if page.events:
            now = self._clock.now()
            for event in page.events:
                self.lag.add(max(0.0, (now - event.at) / 1e6))
            self._kept.extend(map(Shared, page.events))
        self._high = page.cursor
        over = len(self._kept) - KEPT_MAX
        if over > 0:
            self._low = self._kept[over - 1].cursor
            del self._kept[:over]
        if page.events:
            self._tell()
        return page

    async def _pause(self, page: Page) -> None:
        if page.more:
            # others work on this loop too: who watches a flood is behind, never the flood
            await asyncio.sleep(0)
            return
        if page.ahead:
            await asyncio.sleep(AGAIN_S)
            return
        try:
            async with asyncio.timeout(None if self._alone else LOOK_S):
                await self._news.wait()
        except TimeoutError:
            return
