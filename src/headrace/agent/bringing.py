"""Attempts whose input files are being put in place beside the loop: they have a slot, and no executor has them yet.

Owns no attempt and starts none: says when the files are there. Called by ``agent.attempts`` only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from headrace.agent.work import Work


class Bringing:
    """``brought`` is called on the loop when an attempt's files are there, could not be put there, or are left."""

    def __init__(self, brought: Callable[[Work], None]) -> None:
        self._brought = brought
        self._works: dict[Work, asyncio.Future[None]] = {}

    def begin(self, work: Work) -> bool:
        """False when its files are no work: whoever makes the place may do that at once."""
        assert work.place is not None
        future = work.place.bring()
        if future is None:
            return False
        self._works[work] = future
        future.add_done_callback(lambda _: self._over(work))
        return True

    def leave(self, work: Work) -> bool:
        """It is to end before it began: the rest of its files need not come. False for any other."""
        if work not in self._works or work.place is None:
            return False
        work.place.leave()
        return True

    async def end(self) -> None:
        """Leave all of them, and wait until nobody writes into their places any more."""
        for work in self._works:
            self.leave(work)
        if self._works:
            await asyncio.wait(self._works.values())

    def _over(self, work: Work) -> None:
        del self._works[work]
        self._brought(work)
