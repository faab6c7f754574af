"""A timer that a thread can poll for, set by another thread in one system call: nothing wakes when it is set again.

Fires a fixed time after it was set last, once. POSIX, Linux. Called by ``runner.outbox`` only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct

_MONOTONIC = 1
_FLAGS = os.O_NONBLOCK | os.O_CLOEXEC
_SPEC = struct.Struct("@llll")
"""``struct itimerspec``: interval and value, each as seconds and nanoseconds."""


class Timer:
    """``fd`` is readable from the instant it fires until ``clear`` or the next setting. Raises OSError."""

    def __init__(self, after_us: int) -> None:
        # PyDLL: the interpreter's lock is not given away for a call that never waits.
        libc = ctypes.PyDLL(None, use_errno=True)
        self.fd: int = libc.timerfd_create(_MONOTONIC, _FLAGS)
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._settime = libc.timerfd_settime
        self._settime.argtypes = (ctypes.c_int, ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p)
        self._soon = _SPEC.pack(0, 0, after_us // 1_000_000, after_us % 1_000_000 * 1000)
        self._now = _SPEC.pack(0, 0, 0, 1)

    def set(self) -> None:
        """From now on it counts; what was set before is forgotten."""
        self._settime(self.fd, 0, self._soon, None)

    def fire(self) -> None:
        """At once."""
        self._settime(self.fd, 0, self._now, None)

    def clear(self) -> None:
        """It is known that it fired."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.fd, 8)
