"""What every loop of control is: one class, one owned task, woken by an event, one bounded pass at a time.

``run_once`` does what there is to do and returns; ``run`` waits for the next wake-up. Nothing polls. A store that is
away or busy is waited for. The task belongs to whoever starts it (``control.app`` or a link session); any other error
that a pass does not handle ends that owner too, so that trouble is loud and a new life begins from the store.
"""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod

from headrace.model.errors import Busy

log = logging.getLogger("headrace.control")


class Loop(ABC):
    """Base of the loops."""

    def __init__(self) -> None:
        self._woken = asyncio.Event()
        self._trouble = Backoff()

    def wake(self) -> None:
        """There may be something to do. Cheap, never blocks, may be called any number of times."""
        self._woken.set()

    @abstractmethod
    async def run_once(self) -> None:
        """Do what there is to do now, then return. Raises Busy when the store is: the pass is then done again."""

    async def run(self) -> None:
        """Pass after pass, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            try:
                await self.run_once()
            except Busy as error:
                log.info("%s waits: %s", type(self).__name__, error)
                self.wake()
                await self._trouble.wait()
            else:
                self._trouble.reset()


class Backoff:
    """Seconds to wait after a failure in a row: 0.05, 0.1, 0.2 … up to ``most``; forgotten after a success."""

    def __init__(self, first: float = 0.05, most: float = 2.0) -> None:
        self._first = first
        self._most = most
        self._next = first

    async def wait(self) -> None:
        """Wait, and wait longer the next time."""
        delay = self._next
        self._next = min(self._most, delay * 2)
        await asyncio.sleep(delay)

    def reset(self) -> None:
        """It went well."""
        self._next = self._first
