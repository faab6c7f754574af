"""Whether anything was made, removed or renamed in some folders, or a file was opened: asked of the kernel at once.

Only a quick "no": whoever is told "perhaps" has to look. Where inotify is not to be had the answer is always "perhaps".
POSIX, Linux. Called by ``runner.place`` only.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import struct

_MODIFY, _OPEN, _OVERFLOW, _IGNORED = 0x2, 0x20, 0x4000, 0x8000
_MOVED_FROM, _MOVED_TO, _CREATE, _DELETE = 0x40, 0x80, 0x100, 0x200
MASK = _MOVED_FROM | _MOVED_TO | _CREATE | _DELETE
"""What moves the change time of a folder."""
CHUNK = 65_536
NOBODY = -2
"""No watch of the kernel's has this number."""
_EVENT = struct.Struct("@iIII")
"""``struct inotify_event`` without its name: watch, mask, cookie, length of the name."""


class Watch:
    """Over the folders that were added, and at most one file. One file descriptor, closed on exec."""

    def __init__(self) -> None:
        self._poll = select.poll()
        self._sure = False
        self._stirred = False
        self._file = NOBODY
        self.opened = True
        """Somebody has, or may have, opened the followed file; True as long as none is followed."""
        self._libc = ctypes.CDLL(None)
        self.fd = -1
        with contextlib.suppress(AttributeError):
            self.fd = self._libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self.fd >= 0:
            self._poll.register(self.fd, select.POLLIN)
            self._sure = True

    def add(self, path: str) -> None:
        """Watch this folder from here on; what was removed needs no word."""
        if self._sure and self._libc.inotify_add_watch(self.fd, os.fsencode(path), MASK) < 0:
            self._sure = False

    def follow(self, path: str) -> None:
        """From here on ``opened`` tells whether anybody opened or changed this file, and no longer about another."""
        if self._sure:
            self._file = self._libc.inotify_add_watch(self.fd, os.fsencode(path), _OPEN | _MODIFY)
            self.opened = self._file < 0

    def quiet(self) -> bool:
        """True: nothing happened in any of them since ``forget``."""
        return self._sure and not self._stirred and not self._poll.poll(0)

    def calm(self) -> bool:
        """The same for somebody who knows that there is nothing to read from ``fd``."""
        return self._sure and not self._stirred

    def own(self) -> None:
        """What was written to the followed file so far is our own doing; all else is told of."""
        if self._sure:
            self._stirred = self._read(ours=True) or self._stirred

    def forget(self) -> None:
        """What happened so far is known."""
        if self._sure:
            self._read(ours=False)
            self._stirred = False

    def _read(self, *, ours: bool) -> bool:
        """Whether there was anything but our own writing."""
        stirred, more = False, True
        while more:
            try:
                data = os.read(self.fd, CHUNK)
            except BlockingIOError:
                return stirred
            at = 0
            while at < len(data):
                watch, mask, _, size = _EVENT.unpack_from(data, at)
                at += _EVENT.size + size
                if watch != self._file:
                    # The end of a watch is that of a file or folder that we have put another in the place of.
                    stirred = stirred or not mask & _IGNORED
                if mask & _OVERFLOW or (watch == self._file and (mask & _OPEN or not ours)):
                    self._doubt()
            more = len(data) > CHUNK // 2
        return stirred

    def _doubt(self) -> None:
        """Whoever opened the file may write to it at any time: what is told of it from here on is of no use."""
        self.opened = True
        self._libc.inotify_rm_watch(self.fd, self._file)
        self._file = NOBODY
