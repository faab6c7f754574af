"""Durations, sizes and instants as users write them: ``250ms 5s 10m 2h 1d``, ``512K``, ``2026-03-29T01:30:00Z``.

Pure. Durations are int milliseconds, sizes int bytes (K is 1024) everywhere behind this file.
Called by ``core`` when it compiles a definition and by whoever shows a duration to a person.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Final

from headrace.model.errors import Invalid
from headrace.model.ids import Millis

MAX_MILLIS: Final = 1000 * 366 * 86_400_000
"""A thousand years: no duration is longer."""

MAX_BYTES: Final = 2**53 - 1

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DURATION = re.compile(r"([0-9]{1,18})(?:\.([0-9]{1,18}))?(ms|s|m|h|d)")
_SIZE = re.compile(r"([0-9]{1,18})([KMGT]?)")
_MILLIS = (("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1))
_MILLIS_OF = dict(_MILLIS)
_BYTES_OF = {"": 1, "K": 1024, "M": 1024**2, "G": 1024**3, "T": 1024**4}


def millis(text: str) -> Millis:
    """Milliseconds of a duration, rounded down. Raises ``Invalid``."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise Invalid(f"{_shown(text)} is not a duration; write 250ms, 5s, 10m, 2h or 1d")
    whole, part, unit = found.groups()
    factor = _MILLIS_OF[unit]
    value = int(whole) * factor
    if part:
        value += int(part) * factor // 10 ** len(part)
    if value > MAX_MILLIS:
        raise Invalid(f"{_shown(text)} is too long a duration; the longest is 1000 years")
    return Millis(value)


def size_bytes(text: str) -> int:
    """Bytes of a size. Raises ``Invalid``."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Invalid(f"{_shown(text)} is not a size; write 512K, 512M or 2G")
    value = int(found.group(1)) * _BYTES_OF[found.group(2)]
    if value > MAX_BYTES:
        raise Invalid(f"{_shown(text)} is too large a size")
    return value


def text_of(ms: int) -> str:
    """A duration in the largest unit that writes it exactly; ``millis`` gives it back. Negative ones count as 0."""
    ms = max(ms, 0)
    for unit, factor in _MILLIS:
        if ms and ms % factor == 0:
            return f"{ms // factor}{unit}"
    return "0s"


def instant_us(given: object) -> int:
    """Microseconds of an instant: a text of ISO 8601 with its zone. Raises ``Invalid``."""
    try:
        at = datetime.fromisoformat(given if isinstance(given, str) else "")
    except ValueError:
        at = None
    if at is None or at.tzinfo is None:
        raise Invalid(f"{_shown(str(given))} is no instant; write date, time and zone, as 2026-03-29T01:30:00Z")
    return (at - _EPOCH) // datetime.resolution


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
