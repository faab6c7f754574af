"""The machine's clocks, as the port that everything else takes. Made by ``control.app`` only."""

from __future__ import annotations

import time


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()
