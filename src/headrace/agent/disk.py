"""The agent's disk, as a small port: append, read, replace, remove. The simulator has one that crashes and tears.

Nothing above this file opens a file for the journal or the spool. Errors are ``OSError``.
"""

from __future__ import annotations

import os
from typing import Protocol


class AppendFile(Protocol):
    """A file that grows at its end."""

    size: int
    """Bytes in it."""

    def append(self, data: bytes) -> None:
        """Write at the end, whole or (after a crash) in part; never synced."""

    def read(self, offset: int, size: int) -> bytes:
        """At most ``size`` bytes from ``offset``."""

    def close(self) -> None:
        """Free the handle; the bytes stay."""


class Disk(Protocol):
    """Files under one folder, by relative name."""

    def append_to(self, name: str) -> AppendFile:
        """Open, or make, a file to append to."""

    def read(self, name: str) -> bytes | None:
        """The whole file, or None when there is none."""

    def replace(self, name: str, by: str) -> None:
        """Rename ``by`` over ``name`` in one step."""

    def remove(self, name: str) -> None:
        """Remove a file; harmless when there is none."""

    def names(self, folder: str) -> list[str]:
        """Names of the files in a folder; empty when there is none."""


class RealAppend:
    """``AppendFile`` on a real file."""

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self.size = os.fstat(self._fd).st_size

    def append(self, data: bytes) -> None:
        """See ``AppendFile``. A partial write (disk full) is cut off again, so that the file stays readable."""
        before = self.size
        view = memoryview(data)
        try:
            while view:
                done = os.write(self._fd, view)
                self.size += done
                view = view[done:]
        except OSError:
            os.ftruncate(self._fd, before)
            self.size = before
            raise

    def read(self, offset: int, size: int) -> bytes:
        """See ``AppendFile``."""
        return os.pread(self._fd, size, offset)

    def close(self) -> None:
        """See ``AppendFile``."""
        os.close(self._fd)


class RealDisk:
    """``Disk`` in a real folder, 0700."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        os.makedirs(folder, mode=0o700, exist_ok=True)

    def _path(self, name: str) -> str:
        return os.path.join(self._folder, name)

    def append_to(self, name: str) -> AppendFile:
        """See ``Disk``."""
        try:
            return RealAppend(self._path(name))
        except FileNotFoundError:
            os.makedirs(os.path.dirname(self._path(name)), mode=0o700, exist_ok=True)
            return RealAppend(self._path(name))

    def read(self, name: str) -> bytes | None:
        """See ``Disk``."""
        try:
            with open(self._path(name), "rb") as f:
                return f.read()
        except FileNotFoundError:
            return None

    def replace(self, name: str, by: str) -> None:
        """See ``Disk``."""
        os.replace(self._path(by), self._path(name))

    def remove(self, name: str) -> None:
        """See ``Disk``."""
        try:
            os.unlink(self._path(name))
        except FileNotFoundError:
            return

    def names(self, folder: str) -> list[str]:
        """See ``Disk``."""
        try:
            return sorted(os.listdir(self._path(folder)))
        except FileNotFoundError:
            return []
