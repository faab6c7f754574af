"""Whether work moves: how much there is, and since when nothing was given out though tasks are ready and an agent has room.

Looked at by whoever asks for the server's health; keeps what was seen from one look to the next, and decides nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

COUNTS_AGE_S = 5.0
"""Anybody may ask for the server's health, and counting a million ready tasks takes a tenth of a second."""


def _none() -> int:
    return 0


class Progress:
    """``given_out`` tells how many attempts this control has given to agents since it began."""

    def __init__(self, given_out: Callable[[], int] = _none) -> None:
        self._given_out = given_out
        self._seen = -1
        self._since = 0

    def look(self, ready: int, free: int, now: int) -> int:
        """The instant (µs) of the first look since which nothing was given out though it could be; 0 when all moves.

        Ready tasks that no agent with room fits (labels, a full limit) count as well: explain tells of each.
        """
        given_out = self._given_out()
        if not ready or not free:
            self._since = 0
        elif not self._since or given_out != self._seen:
            self._since = now
        self._seen = given_out
        return self._since


class Counts:
    """What the store counts, read at most once in ``COUNTS_AGE_S``, however many ask at once."""

    def __init__(self) -> None:
        self._found: dict[str, int] = {}
        self._until = -1.0
        self._reading = asyncio.Lock()

    async def get(self, read: Callable[[], Awaitable[dict[str, int]]], now: float) -> dict[str, int]:
        """The counts as they were at most so long before ``now`` (monotonic seconds)."""
        async with self._reading:
            if now >= self._until:
                self._found = await read()
                self._until = now + COUNTS_AGE_S
            return self._found
