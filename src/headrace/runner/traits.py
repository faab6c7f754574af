"""What a call may change of its own process: put back where that can be done, else the runner is not used again.

One call must not make the next one fail. Below a microsecond a call: what costs more is looked at after longer calls
and at the end of a frame, limits only once the module that sets them was imported. Called by ``runner.calls``.
"""

from __future__ import annotations

import os
import signal
import sys
from _signal import getsignal  # type: ignore[import-not-found]  # reason: signal's own makes an enum of it, in 5 µs

OWN = (signal.SIGTERM, signal.SIGINT)
"""The signal by which a runner is asked to end a call, and the one it ignores."""
TIMERS = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)
LIMITS = "/proc/self/limits"


class Traits:
    """The process as it is before its first call."""

    def __init__(self) -> None:
        self._depth = sys.getrecursionlimit()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._switch = sys.getswitchinterval()
        self._user = (os.geteuid(), os.getegid())
        self._handlers = [getsignal(number) for number in OWN]
        self._limits = _limits()

    def restore(self) -> bool:
        """After each call. False when something cannot be put back: the next call needs another process."""
        if sys.getrecursionlimit() != self._depth:
            sys.setrecursionlimit(self._depth)
        os.umask(self._umask)
        return "resource" not in sys.modules or _limits() == self._limits

    def restore_all(self) -> bool:
        """After calls that took their time, and at the end of a frame."""
        if sys.getswitchinterval() != self._switch:
            sys.setswitchinterval(self._switch)
        for number, handler in zip(OWN, self._handlers, strict=True):
            if getsignal(number) is not handler:
                signal.signal(number, handler)
        for timer in TIMERS:
            if signal.getitimer(timer)[0]:
                signal.setitimer(timer, 0)
        return (os.geteuid(), os.getegid()) == self._user


def _limits() -> bytes:
    """The limits of this process, as the kernel tells them."""
    with open(LIMITS, "rb") as file:
        return file.read()
