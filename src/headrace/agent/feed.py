"""The outcomes that wait for control: numbered, kept until acknowledged, read by one held GET at a time.

Holds encoded outcomes (bytes), so that a million of them cost no collector anything. Must not touch the disk. Called by
``agent.attempts`` (adds) and by the agent's API (reads).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Protocol

import msgspec
from msgspec import Raw, Struct

from headrace.link.records import Feed, Outcome, StartedNote

FEED_MAX = 4 * 1024 * 1024
"""Bytes of outcomes in one answer; one outcome is always given, however large."""

NOTE_S = 0.02
"""How long an attempt must have run before its start is worth a word: most are over by then."""


GATHER_S = 0.005
"""So long may outcomes wait for others while more work is queued here: each answer costs control a commit."""

GATHER_MAX = 64
"""So many outcomes are worth an answer, however much is queued."""


class FeedWire(Struct, frozen=True):
    """``Feed`` with its outcomes still encoded; the same bytes on the wire."""

    boot: str
    outcomes: list[Raw]
    started: list[StartedNote]
    first: int
    last: int

    def opened(self) -> Feed:
        """The same as records."""
        outcomes = [msgspec.msgpack.decode(o, type=Outcome) for o in self.outcomes]
        return Feed(self.boot, outcomes, self.started, self.first, self.last)


class Noted(Protocol):
    """Something that runs and whose start may have to be told."""

    def note(self) -> StartedNote: ...


class Outbox:
    """Outcomes by dense number ``m``, and starts not told yet.

    ``queued`` is how much work waits here for a slot: while there is some, a reader gets outcomes in handfuls.
    """

    def __init__(
        self,
        boot: str,
        *,
        acknowledged: Callable[[int], None],
        bell: Callable[[], None],
        queued: Callable[[], int] = lambda: 0,
    ) -> None:
        self.last = 0
        self._boot = boot
        self._acknowledged = acknowledged
        self._bell = bell
        self._queued = queued
        self._gather_timer: asyncio.TimerHandle | None = None
        self._first = 1
        self._kept: deque[bytes] = deque()
        self._untold: dict[Noted, None] = {}
        self._notes_due = False
        self._note_timer: asyncio.TimerHandle | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._rung = False

    @property
    def waiting(self) -> int:
        """Outcomes not acknowledged."""
        return len(self._kept)

    def add(self, encoded: list[bytes]) -> None:
        """Outcomes ``last + 1 ...``, journaled already."""
        self._kept.extend(encoded)
        self.last += len(encoded)
        if self._waiter is None or self._enough():
            self._wake()
        elif self._gather_timer is None:
            self._gather_timer = asyncio.get_running_loop().call_later(GATHER_S, self._gathered)

    def began(self, work: Noted) -> None:
        """It runs; to be told if it still does when the feed is read."""
        self._untold[work] = None
        if self._note_timer is None and not self._notes_due:
            self._note_timer = asyncio.get_running_loop().call_later(NOTE_S, self._notes)

    def ended(self, work: Noted) -> None:
        """It is over: its outcome says everything."""
        self._untold.pop(work, None)

    async def read(self, after: int, wait_ms: int) -> FeedWire:
        """Acknowledge up to ``after``; then what is there, or what comes within ``wait_ms``. A later reader ends the
        waiting of an earlier one.
        """
        self._acknowledge(after)
        self._rung = False
        if wait_ms > 0 and not self._due():
            if not self._kept:
                await self._wait(wait_ms / 1000)
            elif not self._enough():
                await self._wait(min(wait_ms / 1000, GATHER_S))
        return self._take()

    def unqueued(self) -> None:
        """Less waits for a slot than before: what is here may be enough now, and control may have more work."""
        if self._kept and self._waiter is not None and self._enough():
            self._release()

    def close(self) -> None:
        """End the reader's waiting and the timer."""
        self._release()
        self._stop_gathering()
        if self._note_timer is not None:
            self._note_timer.cancel()

    def _enough(self) -> bool:
        """As much is over as is queued: half of what was sent ahead, so that control sends more in time."""
        return len(self._kept) >= min(self._queued(), GATHER_MAX)

    def _gathered(self) -> None:
        self._gather_timer = None
        if self._kept:
            self._wake()

    def _acknowledge(self, after: int) -> None:
        if after < self._first:
            return
        after = min(after, self.last)
        for _ in range(after - self._first + 1):
            self._kept.popleft()
        if after >= self._first:
            self._first = after + 1
            self._acknowledged(after)

    async def _wait(self, seconds: float) -> None:
        self._release()
        loop = asyncio.get_running_loop()
        self._waiter = waiter = loop.create_future()
        over = loop.call_later(seconds, _end, waiter)
        try:
            await waiter
        finally:
            over.cancel()
            if self._waiter is waiter:
                self._waiter = None

    def _take(self) -> FeedWire:
        outcomes: list[Raw] = []
        size = 0
        for encoded in self._kept:
            size += len(encoded)
            if outcomes and size > FEED_MAX:
                break
            outcomes.append(Raw(encoded))
        notes = [work.note() for work in self._untold] if self._due() else []
        if notes:
            self._untold.clear()
        self._notes_due = False
        self._stop_gathering()
        return FeedWire(self._boot, outcomes, notes, self._first, self.last)

    def _due(self) -> bool:
        return self._notes_due and bool(self._untold)

    def _notes(self) -> None:
        self._note_timer = None
        if self._untold:
            self._notes_due = True
            self._wake()

    def _wake(self) -> None:
        if self._waiter is not None:
            self._release()
        elif not self._rung:
            self._rung = True
            self._bell()

    def _stop_gathering(self) -> None:
        if self._gather_timer is not None:
            self._gather_timer.cancel()
            self._gather_timer = None

    def _release(self) -> None:
        waiter, self._waiter = self._waiter, None
        if waiter is not None:
            _end(waiter)


def _end(waiter: asyncio.Future[None]) -> None:
    """Its waiting is over."""
    if not waiter.done():
        waiter.set_result(None)
