"""Whose turn it is among the classes that wait: by rank between priorities, turn by turn between the jobs of one.

Memory only, decides nothing but an order. A job that floods waits in its own lane; within one priority the lanes are
served one by one, so that what another job asks for begins after at most one task of each other lane. Between
priorities the rank decides, which ages: a point of priority is worth a minute of waiting. Called by the claim loop.
"""

from __future__ import annotations

from collections.abc import Mapping

from headrace.core.classes import band_of
from headrace.core.nodes import LANE_SHIFT
from headrace.store.rows import ReadyRow


class Turns:
    """Start-time fair queueing: a lane's next turn, counted in tasks; one that comes anew begins at the present."""

    def __init__(self) -> None:
        self._turns: dict[int, int] = {}
        self._now: dict[int, int] = {}

    def next(self, heads: Mapping[int, ReadyRow]) -> int:
        """The class whose head is next."""
        first = min(heads, key=lambda klass: heads[klass].rank)
        band = band_of(first)
        return min(
            (klass for klass in heads if band_of(klass) == band),
            key=lambda klass: (self._turn(klass), heads[klass].rank),
        )

    def took(self, klass: int) -> None:
        """A task of this class was taken."""
        turn = self._turn(klass)
        self._turns[klass >> LANE_SHIFT] = turn + 1
        self._now[band_of(klass)] = turn

    def _turn(self, klass: int) -> int:
        return max(self._turns.get(klass >> LANE_SHIFT, 0), self._now.get(band_of(klass), 0))
