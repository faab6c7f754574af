"""Whose turn it is among the classes that wait: by rank between priorities, turn by turn between the jobs of one.

Memory only, decides nothing but an order. A job that floods waits in its own lane; within one priority the lanes are
served one by one, so that what another job asks for begins after at most one task of each other lane. Between
priorities the rank decides, which ages: a point of priority is worth a minute of waiting. Called by the claim loop.
"""

from __future__ import annotations

from collections.abc import Mapping
from heapq import heappop, heappush

from headrace.core.nodes import LANE_SHIFT, PRIORITY_SHIFT

_BAND_SHIFT = PRIORITY_SHIFT - LANE_SHIFT
"""A class's number above ``LANE_SHIFT`` is its lane: the priority, and in it the lane of the job."""


class Turns:
    """Start-time fair queueing: a lane's next turn, counted in tasks; one that comes anew begins at the present."""

    def __init__(self) -> None:
        self._turns: dict[int, int] = {}
        self._now: dict[int, int] = {}

    def next(self, ranks: Mapping[int, int]) -> int:
        """The lane that is next, of those with these ranks first in line."""
        band = min(ranks, key=lambda lane: ranks[lane]) >> _BAND_SHIFT
        return min(
            (lane for lane in ranks if lane >> _BAND_SHIFT == band), key=lambda lane: (self._turn(lane), ranks[lane])
        )

    def took(self, klass: int) -> None:
        """A task of this class was taken."""
        lane = klass >> LANE_SHIFT
        turn = self._turn(lane)
        self._turns[lane] = turn + 1
        self._now[lane >> _BAND_SHIFT] = turn

    def _turn(self, lane: int) -> int:
        return max(self._turns.get(lane, 0), self._now.get(lane >> _BAND_SHIFT, 0))


class Heads:
    """The rank of the next task of each class, by lane: finding the next one costs by lanes, however many classes wait."""

    def __init__(self, turns: Turns) -> None:
        self._turns = turns
        self._lanes: dict[int, list[tuple[int, int]]] = {}

    def __bool__(self) -> bool:
        return bool(self._lanes)

    def put(self, klass: int, rank: int) -> None:
        """The rank of a class's next task; each class once."""
        heappush(self._lanes.setdefault(klass >> LANE_SHIFT, []), (rank, klass))

    def take(self) -> int:
        """The class whose turn it is, out of the line."""
        lanes = self._lanes
        lane = (
            next(iter(lanes)) if len(lanes) == 1 else self._turns.next({at: heap[0][0] for at, heap in lanes.items()})
        )
        heap = lanes[lane]
        klass = heappop(heap)[1]
        if not heap:
            del lanes[lane]
        return klass
