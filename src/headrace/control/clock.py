"""The clocks of a control process, as the port that everything else takes.

``SystemClock`` is the machine's and is made by ``control.app`` only. ``SteadyClock`` is what a node's ledger and loops
read: retries and deadlines must not wait an hour because somebody set the clock back an hour.
"""

from __future__ import annotations

import logging
import time

from headrace.model.ports import Clock

FAR_AHEAD_US = 60_000_000

log = logging.getLogger("headrace.control")


class SystemClock:
    """The machine's clocks."""

    def now(self) -> int:
        """Microseconds since 1970 UTC."""
        return time.time_ns() // 1_000

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return time.monotonic()


class SteadyClock:
    """A wall clock that never goes back and never stands still.

    While the machine's clock is behind (it was set back), time goes on at the pace of the monotonic clock until the
    machine has caught up; when the machine's clock is set forward it is followed at once.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base = clock.now()
        self._at = clock.monotonic()

    def now(self) -> int:
        """Microseconds since 1970 UTC, at least as far on as real time since the last reading."""
        at = self._clock.monotonic()
        wall = self._clock.now()
        # Counted from one base: adding up small differences would lose the part below a microsecond each time.
        steady = self._base + round((at - self._at) * 1_000_000)
        if wall <= steady:
            return steady
        self._base, self._at = wall, at
        return wall

    def monotonic(self) -> float:
        """Seconds that only go forward."""
        return self._clock.monotonic()

    def at_least(self, instant: int) -> None:
        """Never say an earlier instant than this: the store already holds it."""
        ahead = instant - self._clock.now()
        if ahead > FAR_AHEAD_US:
            log.warning(
                "the store's last instant is %d s ahead of this machine's clock: was it set back?", ahead // 1_000_000
            )
        now = self.now()
        if instant > now:
            self._base, self._at = instant, self._clock.monotonic()
