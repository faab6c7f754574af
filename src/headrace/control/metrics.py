"""What a control process counts, and how Prometheus reads it: plain numbers in memory, written out when asked for.

Counting costs a dictionary look-up a request and a few additions a group; nothing here is stored. Made by the ledger, the
tailer and the API; written by ``control.api.metrics``.
"""

from __future__ import annotations

import os
import resource
from bisect import bisect_left
from collections.abc import Iterable, Mapping
from pathlib import Path

from msgspec import Struct, field

SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000)

_PROC = Path("/proc")

Labels = Mapping[str, str]


class Histogram:
    """How many observations lie at or below each bound, and their sum."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum = 0.0

    def add(self, value: float) -> None:
        """One observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


class Counters(Struct):
    """What a ledger has done since the start."""

    groups: int = 0
    changes: int = 0
    refused: int = 0
    stale: int = 0
    """Of those refused: outcomes of attempts that were not the newest any more."""
    deferred: int = 0
    unknown: int = 0
    away: int = 0
    submitted: int = 0
    settled: int = 0
    """Outcomes that feeds delivered."""
    sizes: Histogram = field(default_factory=lambda: Histogram(SIZES))
    """Changes of a group."""
    seconds: Histogram = field(default_factory=lambda: Histogram(SECONDS))
    """From a group's first load until it is durable."""


class Requests:
    """Requests of the API by method, route and status, and how long they took."""

    def __init__(self) -> None:
        self.counts: dict[tuple[str, str, int], int] = {}
        self.seconds = Histogram(SECONDS)

    def add(self, method: str, route: str, status: int, seconds: float) -> None:
        """One request that was answered."""
        key = (method, route, status)
        self.counts[key] = self.counts.get(key, 0) + 1
        self.seconds.add(seconds)


class Exposition:
    """Prometheus's text format, put together line by line."""

    def __init__(self) -> None:
        self._lines: list[str] = []

    def value(self, name: str, kind: str, text: str, value: float) -> None:
        """A metric without labels."""
        self.values(name, kind, text, [({}, value)])

    def values(self, name: str, kind: str, text: str, values: Iterable[tuple[Labels, float]]) -> None:
        """A metric with its values by label."""
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
        self._lines += [f"{name}{_labelled(labels)} {_number(value)}" for labels, value in values]

    def histogram(self, name: str, text: str, seen: Histogram) -> None:
        """A histogram."""
        self._lines += [f"# HELP {name} {text}", f"# TYPE {name} histogram"]
        below = 0
        for bound, count in zip(seen.bounds, seen.counts, strict=False):
            below += count
            self._lines.append(f'{name}_bucket{{le="{_number(bound)}"}} {below}')
        total = below + seen.counts[-1]
        self._lines += [
            f'{name}_bucket{{le="+Inf"}} {total}',
            f"{name}_sum {_number(seen.sum)}",
            f"{name}_count {total}",
        ]

    def text(self) -> bytes:
        """All of it."""
        return ("\n".join(self._lines) + "\n").encode()


def process(out: Exposition) -> None:
    """The process itself, by the names that Prometheus's clients use."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    cpu = used.ru_utime + used.ru_stime
    out.value("process_cpu_seconds_total", "counter", "Seconds of CPU used by this process.", cpu)
    found = _of_proc()
    if found is not None:
        resident, virtual, files, started = found
        out.value("process_resident_memory_bytes", "gauge", "Memory of this process.", resident)
        out.value("process_virtual_memory_bytes", "gauge", "Address space of this process.", virtual)
        out.value("process_open_fds", "gauge", "Open files of this process.", files)
        out.value("process_start_time_seconds", "gauge", "When this process began, in Unix time.", started)


def _of_proc() -> tuple[int, int, int, float] | None:
    """Memory, address space, files and start from /proc; None where there is none."""
    try:
        pages = (_PROC / "self/statm").read_bytes().split()
        ticks = int((_PROC / "self/stat").read_bytes().rpartition(b")")[2].split()[19])
        boot = next(int(ln.split()[1]) for ln in (_PROC / "stat").read_bytes().splitlines() if ln.startswith(b"btime"))
        files = sum(1 for _ in (_PROC / "self/fd").iterdir())
    except (OSError, ValueError, IndexError, StopIteration):
        return None
    size = os.sysconf("SC_PAGE_SIZE")
    return int(pages[1]) * size, int(pages[0]) * size, files, boot + ticks / os.sysconf("SC_CLK_TCK")


def _labelled(labels: Labels) -> str:
    if not labels:
        return ""
    pairs = (f'{name}="{_escaped(value)}"' for name, value in labels.items())
    return "{" + ",".join(pairs) + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def _number(value: float) -> str:
    return str(int(value)) if value == int(value) else repr(float(value))
