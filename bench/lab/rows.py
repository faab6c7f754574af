"""What a row of the table is, and how many samples become one line. Plain records; no IO."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lab.stage import Stage

Values = dict[str, float]
"""One sample: metric → value."""


@dataclass(frozen=True)
class Metric:
    """One number of a row. ``target`` None: told, not judged. ``more``: more is better. ``peers``: comparable there."""

    name: str
    unit: str
    target: float | None = None
    more: bool = False
    stretch: float | None = None
    peers: bool = True

    def met(self, value: float) -> bool | None:
        """Whether the target is reached."""
        if self.target is None:
            return None
        return value >= self.target if self.more else value <= self.target


@dataclass(frozen=True)
class Row:
    """A row: ``measure(stage, size)`` gives one sample, after it has proved that the work was really done.

    ``size`` is the usual amount of work, ``quick`` a smaller one, ``tiny`` what the smoke test takes. ``peers`` are
    (peer, word of its program, amount). ``pairs``: at most so many samples, for rows that take long.
    """

    name: str
    title: str
    metrics: tuple[Metric, ...]
    measure: Callable[[Stage, int], Values]
    size: int
    quick: int
    tiny: int
    peers: tuple[tuple[str, str, int], ...] = ()
    postgres: bool = False
    pairs: int = 3


@dataclass
class Line:
    """Samples of one system in one row."""

    who: str
    samples: list[Values] = field(default_factory=list)
    note: str = ""

    def median(self, metric: str) -> float | None:
        """The middle one of the samples that have this metric."""
        values = [s[metric] for s in self.samples if metric in s]
        return statistics.median(values) if values else None

    def span(self, metric: str) -> tuple[float, float] | None:
        """The least and the most."""
        values = [s[metric] for s in self.samples if metric in s]
        return (min(values), max(values)) if values else None


def quantile(values: list[float], part: float) -> float:
    """The value below which ``part`` of them lie."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * part))]
