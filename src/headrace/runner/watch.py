"""Whether anything was made, removed or renamed in some folders: asked of the kernel once for all of them.

Only a quick "no": whoever is told "perhaps" has to look. Where inotify is not to be had the answer is always "perhaps".
POSIX, Linux. Called by ``runner.place`` only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select

_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
MASK = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
"""What moves the change time of a folder."""
CHUNK = 65_536


class Watch:
    """Over the folders that were added. One file descriptor, closed on exec."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._sure = False
        self._libc = ctypes.CDLL(None)
        self._fd = -1
        with contextlib.suppress(AttributeError):
            self._fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd >= 0:
            self._poll.register(self._fd, select.POLLIN)
            self._sure = True

    def add(self, path: str) -> None:
        """Watch this folder from here on; what was removed needs no word."""
        if self._sure and self._libc.inotify_add_watch(self._fd, os.fsencode(path), MASK) < 0:
            self._sure = False

    def quiet(self) -> bool:
        """True: nothing happened in any of them since ``forget``."""
        return self._sure and not self._poll.poll(0)

    def forget(self) -> None:
        """What happened so far is known."""
        if self._sure:
            with contextlib.suppress(BlockingIOError):
                while os.read(self._fd, CHUNK):
                    continue
