"""Who waits for a run: long polls and followed logs, woken when something about it was committed.

Memory of this process only; a waiter that hears nothing looks again by itself after a while, because another node may
have committed. Told by ``control.node``, awaited by handlers.
"""

from __future__ import annotations

import asyncio

LOOK_AGAIN = 1.0
"""Seconds after which a waiter looks by itself."""


class Waiters:
    """Futures by run; a run nobody waits for costs one lookup."""

    def __init__(self) -> None:
        self._waiting: dict[int, set[asyncio.Future[None]]] = {}
        self.over = False
        """The server ends: nobody waits any more, each answers with what there is."""

    def end(self) -> None:
        """From now on nobody waits."""
        self.over = True
        self.everybody()

    def ended(self, run: int) -> None:
        """The run is final: wake those who wait for it."""
        self.changed(run)

    def changed(self, run: int) -> None:
        """Something about the run was committed."""
        for future in self._waiting.pop(run, ()):
            if not future.done():
                future.set_result(None)

    def everybody(self) -> None:
        """Anything may have changed: wake everybody."""
        for run in list(self._waiting):
            self.changed(run)

    def subscribe(self, run: int) -> asyncio.Future[None]:
        """A future that is done at the next change; ask before looking, so that no change falls between."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if self.over:
            future.set_result(None)
        else:
            self._waiting.setdefault(run, set()).add(future)
        return future

    async def until(self, run: int, future: asyncio.Future[None], seconds: float) -> None:
        """Wait for what ``subscribe`` gave, at most ``seconds`` and at most LOOK_AGAIN."""
        try:
            await asyncio.wait({future}, timeout=max(0.0, min(seconds, LOOK_AGAIN)))
        finally:
            self.drop(run, future)

    def drop(self, run: int, future: asyncio.Future[None]) -> None:
        """Wait no longer."""
        waiting = self._waiting.get(run)
        if waiting is not None:
            waiting.discard(future)
            if not waiting:
                del self._waiting[run]
