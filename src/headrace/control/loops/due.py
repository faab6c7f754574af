"""One timer for everything that is owed a ``Wake``: retries, timeouts, propagation, expansion, fence deadlines.

The truth is ``due_at`` in the rows; ``Alarm`` commands are hints that the timer must be set earlier. At the start it
reads what is owed already. It decides nothing: a ``Wake`` that finds nothing owed is harmless. One per node.
"""

from __future__ import annotations

import asyncio
import logging

from headrace.control.loops.dispatch import Asks
from headrace.control.loops.loop import Loop
from headrace.model.changes import SYSTEM, Wake
from headrace.model.errors import Busy
from headrace.model.ports import Clock
from headrace.store.port import Reader
from headrace.store.rows import DueRow

PAGE = 500
FAR_US = 2**62
STUBBORN_US = 1_000_000
"""Rows that stay due after their wake was asked for wait this long: trouble must not become a busy loop."""

log = logging.getLogger("headrace.control")

SLEEP_MAX_S = 3_600.0
"""The wall clock may be set: look again at least this often."""


class DueLoop(Loop):
    """Sleeps until the earliest due cell, asks the ledger to wake what is due, and sleeps again."""

    def __init__(self, reader: Reader, ledger: Asks, clock: Clock) -> None:
        super().__init__()
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._next = 0

    def alarm(self, at: int) -> None:
        """A cell is owed a wake at this instant."""
        if at < self._next:
            self._next = at
            self.wake()

    async def run(self) -> None:
        """Pass after pass; between them, sleep until the next is due or an earlier alarm comes."""
        while True:
            try:
                await self.run_once()
            except Busy as error:
                log.info("what is due waits: %s", error)
                self._next = min(self._next, self._clock.now() + STUBBORN_US)
            delay = (self._next - self._clock.now()) / 1_000_000
            try:
                async with asyncio.timeout(min(max(delay, 0.0), SLEEP_MAX_S)):
                    await self._woken.wait()
            except TimeoutError:
                self._next = min(self._next, self._clock.now())
            self._woken.clear()

    async def run_once(self) -> None:
        """Wake everything that is due now, a page at a time, and set the timer for what comes next."""
        before: list[DueRow] = []
        while self._next <= (now := self._clock.now()):
            self._next = FAR_US
            rows = await self._reader.due(FAR_US, PAGE)
            due = [r for r in rows if r.due_at <= now]
            if due and due == before:
                self._next = min(self._next, now + STUBBORN_US)
            elif due:
                await self._ledger.ask_many([Wake(r.run, r.no, r.index) for r in due], SYSTEM)
                self._next = 0
            elif rows:
                self._next = min(self._next, rows[0].due_at)
            before = due
