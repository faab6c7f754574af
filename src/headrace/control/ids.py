"""Numbers made by the server: run ids from blocks that the store reserved for this node.

A number that was handed out and never used leaves a gap; none is ever handed out twice. ``growing`` blocks begin with
one number and double, later in longer strides (each new block is a commit that one submit waits for): a server that
made three runs leaves no gap that people see. Called by the API.
"""

from __future__ import annotations

import asyncio

from headrace.store.port import Store

BLOCK = 16_384
STRIDE_FROM = 8
STRIDE = 8
"""From this block size on the next block is so many times as long."""


class Ids:
    """Takes blocks from the store and hands single numbers out; asks for the next block when the last does not hold enough."""

    def __init__(self, store: Store, what: str = "run", block: int = BLOCK, *, growing: bool = False) -> None:
        self._store = store
        self._what = what
        self._most = block
        self._block = 1 if growing else block
        self._next = 0
        self._end = 0
        self._lock = asyncio.Lock()

    async def first(self) -> int:
        """The next number that will be handed out; every later one of this life is at least as high."""
        first = await self.take(1)
        self._next -= 1
        return first

    async def take(self, count: int = 1) -> int:
        """The first of ``count`` consecutive numbers."""
        if self._end - self._next < count:
            async with self._lock:
                if self._end - self._next < count:
                    size = max(self._block, count)
                    self._next = await self._store.reserve_ids(self._what, size)
                    self._end = self._next + size
                    self._block = min(self._block * (2 if self._block < STRIDE_FROM else STRIDE), self._most)
        first = self._next
        self._next += count
        return first
