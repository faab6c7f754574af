"""The few verbs on files that blobs need, as a port: the simulator puts a disk that forgets what was not fsynced here.

Never interprets bytes. Called by ``store.sqlite.blobs`` only.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

INTERRUPTED = "restore-interrupted"
"""A file that is there while a restore moves files: with it the folder is no store, and nothing is opened in it."""


class Files(Protocol):
    """Blocking; paths are absolute texts."""

    def make_folder(self, path: str) -> bool:
        """Make it and those above; True when it was not there."""

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file, which is made when it is not there."""

    def sync(self, path: str) -> None:
        """The file's bytes survive a power cut."""

    def sync_folder(self, path: str) -> None:
        """The folder's names survive a power cut."""

    def move(self, source: str, target: str) -> None:
        """Rename, atomically, over what is there."""

    def read(self, path: str, offset: int, size: int | None) -> bytes | None:
        """Bytes, or None when there is no such file."""

    def size(self, path: str) -> int | None: ...

    def remove(self, path: str) -> None:
        """Harmless when it is not there."""

    def names(self, path: str) -> list[str]: ...


class OsFiles:
    """The real ones."""

    def make_folder(self, path: str) -> bool:
        """Make it and those above; True when it was not there."""
        if Path(path).is_dir():
            return False
        Path(path).mkdir(0o700, parents=True, exist_ok=True)
        return True

    def append(self, path: str, data: bytes) -> None:
        """Add to the end of a file."""
        with Path(path).open("ab") as file:
            file.write(data)

    def sync(self, path: str) -> None:
        """Fsync."""
        self._sync(path, os.O_RDWR)

    def sync_folder(self, path: str) -> None:
        """Fsync of a folder."""
        self._sync(path, os.O_RDONLY | os.O_DIRECTORY)

    def move(self, source: str, target: str) -> None:
        """Rename."""
        Path(source).replace(target)

    def read(self, path: str, offset: int, size: int | None) -> bytes | None:
        """Bytes, or None when there is no such file."""
        try:
            with Path(path).open("rb") as file:
                file.seek(offset)
                return file.read(-1 if size is None else size)
        except FileNotFoundError:
            return None

    def size(self, path: str) -> int | None:
        """Size in bytes, or None."""
        try:
            return Path(path).stat().st_size
        except FileNotFoundError:
            return None

    def remove(self, path: str) -> None:
        """Unlink."""
        Path(path).unlink(missing_ok=True)

    def names(self, path: str) -> list[str]:
        """What the folder holds, sorted."""
        return sorted(entry.name for entry in Path(path).iterdir())

    def _sync(self, path: str, flags: int) -> None:
        fd = os.open(path, flags)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)
