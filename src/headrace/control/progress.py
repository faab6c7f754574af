"""Whether work moves: since when nothing was given out though tasks are ready and an agent has room.

Looked at by whoever asks for the server's health; keeps what was seen from one look to the next, and decides nothing.
"""

from __future__ import annotations

from collections.abc import Callable


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
