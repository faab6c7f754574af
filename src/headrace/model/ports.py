"""What the shells need of the world, as protocols: time, dice, fault points.

The product wires real ones in its ``app`` files, the simulator wires virtual ones; nothing else makes them.
"""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Wall time for records, monotonic time for waiting. Never called by ``core``."""

    def now(self) -> int:
        """Microseconds since 1970 UTC; may jump when the machine's clock is set."""

    def monotonic(self) -> float:
        """Seconds that only go forward."""


class Dice(Protocol):
    """A source of numbers in [0, 1): jitter and nothing that must be secret."""

    def random(self) -> float: ...


class Fault(Protocol):
    """A named point at which a test may kill, stop or fail this process; does nothing in production.

    Every call in the source is written ``fault("room.point")`` with a literal, so that a test can find them all.
    """

    def __call__(self, name: str, /) -> None: ...


def no_fault(name: str, /) -> None:
    """The fault port of production: nothing happens."""
