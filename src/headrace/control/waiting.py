"""The units that wait for a group, and how much of them the next group takes.

A unit of few changes is not kept waiting by long ones that came before it: one run that is submitted would else wait
until thousands of outcomes are written. Decides no rule and does no IO. Called by ``control.ledger`` only.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from headrace.control.group import Bounds
from headrace.control.unit import Unit

CHANGES_MIN = 16
"""The fewest changes that a group may be cut down to when the machine is slow."""

SMALL = 16
"""A unit of more changes is a long one."""

ROWS_A_CHANGE = 3
"""So many rows are reckoned as one change: a change that creates hundreds of tasks counts for what it costs."""


class Waiting:
    """Two lines, each in order of arrival. As long as both have something they take turns: who asks little waits for one
    long group at most, and then for no more than what the likes of him ask.
    """

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._most = bounds.changes
        self._short: deque[Unit] = deque()
        self._long: deque[Unit] = deque()
        self._long_next = False

    def __len__(self) -> int:
        return len(self._short) + len(self._long)

    @property
    def long_next(self) -> bool:
        """Whether the next group is a long one. One of those who ask little gives others their turn soon by itself."""
        return bool(self._long) and (self._long_next or not self._short)

    def put(self, unit: Unit) -> None:
        """Behind the others."""
        self._line(unit).append(unit)

    def put_back(self, units: Sequence[Unit]) -> None:
        """Before the others, in this order."""
        for unit in reversed(units):
            self._line(unit).appendleft(unit)

    def take(self) -> list[Unit]:
        """What the next group decides. Whoever has gone meanwhile is left out."""
        line = self._long if self.long_next else self._short
        self._long_next = line is self._short
        units: list[Unit] = []
        count = 0
        while line and count < self._most:
            unit = line.popleft()
            if unit.future is None or not unit.future.cancelled():
                units.append(unit)
                count += unit.take(self._most - count)
        return units

    def take_along(self) -> list[Unit]:
        """Those who ask little and came while a long group was decided: they go with its commit instead of waiting for it and
        then for one of their own. First come, and no more than ``SMALL``.
        """
        line = self._short
        units: list[Unit] = []
        while line and len(units) < SMALL and _may_go_along(line[0]):
            unit = line.popleft()
            if unit.future is not None and not unit.future.cancelled():
                unit.take(len(unit.changes))
                units.append(unit)
        return units

    def adapt(self, units: Sequence[Unit], rows: int, seconds: float) -> None:
        """So many changes that a group holds the loop for about ``bounds.seconds``: what is loaded is then decided."""
        count = max(sum(unit.until - unit.began for unit in units), rows // ROWS_A_CHANGE)
        if seconds <= 0 or count == 0:
            return
        fitting = int(count * self._bounds.seconds / seconds)
        if fitting < self._most:
            self._most = max(CHANGES_MIN, fitting, self._most // 2)
        elif count >= self._most:
            self._most = min(self._bounds.changes, fitting, self._most * 2)

    def _line(self, unit: Unit) -> deque[Unit]:
        return self._long if _is_long(unit) else self._short


def weighty(units: Sequence[Unit]) -> bool:
    """Whether deciding these may take so long that it is worth a look at the thread's own clock."""
    return len(units) > SMALL or any(_is_long(unit) for unit in units)


def _may_go_along(unit: Unit) -> bool:
    """Somebody outside waits for it, most likely, and it waits for no lock: the group has locked others already. Named things
    are locked first in a group, and a unit that found its rows held may be the one to wait for them.
    """
    return unit.atomic and not unit.waits


def _is_long(unit: Unit) -> bool:
    # What follows from a decision may be one change and much work: it is long.
    return len(unit.changes) > SMALL or unit.future is None
