"""The data folder of one control: its lock, its secrets, and the two files by which local tools find a server.

Files here are 0600 and the folder 0700. Nothing else writes them. Called by ``control.app``.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from pathlib import Path

from headrace.model.errors import Busy

TOKEN_NAME = "admin-token"  # noqa: S105 -- the name of a file
SERVER_NAME = "server.json"
SECRET_NAME = "run-secret"  # noqa: S105 -- the name of a file
SECRET_BYTES = 32


class DataFolder:
    """One data folder, held by one process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = -1

    def take(self) -> None:
        """Hold the folder for as long as this process lives. Raises Busy when another control has it."""
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self.path / "control.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as e:
            os.close(self._lock)
            raise Busy(
                f"another control process uses the data folder {self.path}; headrace runs and all other words reach it; "
                "a second server needs a folder (--data DIR) and a port of its own"
            ) from e

    def leave(self) -> None:
        """Somebody else may take the folder, when no process that was given ``lock`` lives any more."""
        os.close(self._lock)

    @property
    def lock(self) -> int:
        """The descriptor that holds the folder: a process that inherits it holds the folder too, for as long as it lives."""
        return self._lock

    def secret(self) -> bytes:
        """The key of run tokens; made once."""
        return bytes.fromhex(self._once(SECRET_NAME, os.urandom(SECRET_BYTES).hex()))

    def admin_token(self, text: str) -> str:
        """The admin token that is there, else this one, kept."""
        return self._once(TOKEN_NAME, text)

    def announce(self, url: str) -> None:
        """Say where the server is; whole or not at all."""
        self._write(SERVER_NAME, json.dumps({"url": url, "pid": os.getpid()}) + "\n")

    def last_port(self) -> int:
        """The port that a life which ended without withdrawing had announced; 0 when there is none."""
        try:
            url = json.loads((self.path / SERVER_NAME).read_text())["url"]
            return int(url.rpartition(":")[2])
        except (OSError, ValueError, KeyError, TypeError):
            return 0

    def withdraw(self) -> None:
        """The server is gone."""
        with contextlib.suppress(FileNotFoundError):
            (self.path / SERVER_NAME).unlink()

    def _once(self, name: str, text: str) -> str:
        with contextlib.suppress(FileNotFoundError):
            kept = (self.path / name).read_text().strip()
            if kept:
                return kept
        self._write(name, text)
        return text

    def _write(self, name: str, text: str) -> None:
        write_whole(self.path / name, text)


def write_whole(path: Path, text: str) -> None:
    """Write a private file so that it is there whole, or as it was before, whatever happens meanwhile."""
    fresh = path.with_name(f"{path.name}.new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(fd, "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    _sync_names(path.parent)


def remove_whole(path: Path) -> None:
    """Remove a file so that it does not come back after a power cut."""
    path.unlink(missing_ok=True)
    _sync_names(path.parent)


def _sync_names(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
