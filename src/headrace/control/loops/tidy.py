"""Take away what the rules say is over: today the answers under idempotency keys that are told no more.

A page a pass, so that nobody waits for it; when nothing is left it looks again after an hour. It decides nothing about
runs, and everything else that was ever written stays. One per node.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from headrace.control.changes.answers import ForgetAnswers, over_before
from headrace.control.changes.named import NamedChange
from headrace.control.loops.loop import Loop
from headrace.model.changes import Origin
from headrace.model.ports import Clock
from headrace.store.port import Reader

PAGE = 500
"""Answers that one commit deletes."""

SOON_S = 0.05
LATER_S = 3600.0

TIDY = Origin("system", "tidy")


class Changes(Protocol):
    """The part of the ledger that this loop needs."""

    async def change(self, named: NamedChange, origin: Origin) -> object: ...


class TidyLoop(Loop):
    """Wakes itself; the first time at the start."""

    def __init__(self, reader: Reader, ledger: Changes, clock: Clock) -> None:
        super().__init__()
        self._reader = reader
        self._ledger = ledger
        self._clock = clock

    async def run_once(self) -> None:
        """One page; the next one soon when there was a whole one, else after an hour."""
        keys = await self._reader.answers_before(over_before(self._clock.now()), PAGE)
        if keys:
            await self._ledger.change(ForgetAnswers(tuple(keys)), TIDY)
        asyncio.get_running_loop().call_later(SOON_S if len(keys) == PAGE else LATER_S, self.wake)
