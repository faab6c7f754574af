"""Backups as control offers them: made one at a time by a process of their own, kept in a folder, handed out, removed.

A file in the folder is a whole and checked backup; what is half made has another name and is swept at the start. Never
reads a store itself. Made by ``control.app``; called by ``control.api.backups``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from headrace.control.backup.work import Done, Work
from headrace.control.folder import remove_whole, write_whole
from headrace.model.errors import Conflict, HeadraceError, Invalid, NotFound, Problem, StoreError
from headrace.model.ports import Clock

SUFFIX = ".hrb"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
PIECE = 1_048_576
ASKED = "restore-asked.json"
REFUSED = "restore-refused.txt"
ENDS_S = 5.0
"""So long a process that was asked to end may clean up behind itself."""


class Kept(Struct, frozen=True):
    """A backup in the folder."""

    name: str
    size: int
    made_at: float


class Asked(Struct, frozen=True):
    """A restore that the next start is to make."""

    name: str
    force: bool = False


class Backups:
    """The folder ``backups`` of a data folder. ``dsn`` empty: SQLite in ``data``."""

    def __init__(self, data: Path, dsn: str, clock: Clock) -> None:
        self.folder = data / "backups"
        self._data = data
        self._dsn = dsn
        self._clock = clock
        self._busy = False
        self._sweep()

    async def save(self, name: str | None) -> tuple[str, Done]:
        """Make one; gives its name and what is in it. Raises Conflict while another is made, StoreError with the reason."""
        if name is None:
            at = datetime.fromtimestamp(self._clock.now() / 1e6, UTC)
            name = f"headrace-{at:%Y%m%d-%H%M%S}-{at.microsecond:06d}{SUFFIX}"
        path = self._path(name)
        if path.exists():
            raise Conflict(f"there is a backup {name}: give another name, or delete it")
        if self._busy:
            raise Conflict("another backup is being made")
        self._busy = True
        try:
            self.folder.mkdir(0o700, exist_ok=True)
            self._sweep()
            return name, await self._do(Work(do="save", file=str(path), folder=str(self._data), dsn=self._dsn))
        finally:
            self._busy = False

    async def check(self, name: str) -> Done:
        """Read a backup whole. Raises NotFound; Invalid when it is damaged."""
        return await self._do(Work(do="check", file=str(self._there(name))))

    def kept(self) -> list[Kept]:
        """What is in the folder, by name."""
        if not self.folder.is_dir():
            return []
        paths = [path for path in sorted(self.folder.iterdir()) if _NAME.fullmatch(path.name)]
        return [Kept(path.name, path.stat().st_size, path.stat().st_mtime) for path in paths]

    def open(self, name: str) -> tuple[int, AsyncIterator[bytes]]:
        """(size, bytes) of one. Raises NotFound."""
        path = self._there(name)
        return path.stat().st_size, _read(path)

    def remove(self, name: str) -> None:
        """Delete one. Raises NotFound."""
        self._there(name).unlink()

    def require(self, name: str) -> None:
        """Raises NotFound, Invalid for a name that no backup has."""
        self._there(name)

    async def ask_restore(self, name: str, *, force: bool) -> Done:
        """Have the next start of control restore it; it is checked now. The caller ends this life of control."""
        done = await self.check(name)
        write_whole(self._data / ASKED, msgspec.json.encode(Asked(name, force)).decode())
        return done

    async def restore_if_asked(self, lock: int = -1) -> Done | None:
        """What a start does first. A restore that is refused leaves the store as it was; the reason stands in REFUSED.

        ``lock`` is the descriptor that holds the data folder: the process that restores holds it as well, so that no later
        life begins beside it.
        """
        path = self._data / ASKED
        if not path.exists():
            return None
        asked = Asked(ASKED)
        try:
            asked = _asked(path)
            todo = Work(
                do="restore",
                file=str(self._path(asked.name)),
                folder=str(self._data),
                dsn=self._dsn,
                force=asked.force,
                held=True,
            )
            done = await self._do(todo, lock)
        except HeadraceError as error:
            write_whole(self._data / REFUSED, f"{asked.name}: {error}\n")
            remove_whole(path)
            raise
        remove_whole(path)
        return done

    async def _do(self, todo: Work, lock: int = -1) -> Done:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "headrace.control.backup.process",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=() if lock < 0 else (lock,),
        )
        todo = msgspec.structs.replace(todo, parent=os.getpid())
        try:
            out, words = await process.communicate(msgspec.json.encode(todo))
        except asyncio.CancelledError:
            await _end(process)
            raise
        try:
            done = msgspec.json.decode(out, type=Done)
        except msgspec.MsgspecError as error:
            told = words.decode(errors="replace")[-2000:]
            raise StoreError(f"the backup process ended with code {process.returncode}: {told}") from error
        if done.error:
            raise _error(done)
        return done

    def _sweep(self) -> None:
        """Remove what processes that were killed left half made."""
        for path in self.folder.glob(".*") if self.folder.is_dir() else ():
            path.unlink(missing_ok=True)

    def _path(self, name: str) -> Path:
        if not _NAME.fullmatch(name):
            message = "letters, digits, dots, _ and -, at most 100; a letter or digit first"
            raise Invalid("1 problem", problems=(Problem("name", message),))
        return self.folder / name

    def _there(self, name: str) -> Path:
        path = self._path(name)
        if not path.is_file():
            raise NotFound(f"there is no backup {name}")
        return path


class BackupFailed(HeadraceError):
    """The backup could not be made: the disk is full, or cannot be written. Nothing is left of it."""

    status = 507


def _asked(path: Path) -> Asked:
    """The restore that was asked for. Raises Invalid when the file does not say."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=Asked)
    except msgspec.MsgspecError as error:
        raise Invalid(f"what is to be restored cannot be read: {error}") from error


async def _end(process: asyncio.subprocess.Process) -> None:
    """Have it end, and wait until it has: what it was doing is not to go on behind the back of whoever asked."""
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), ENDS_S)
        except TimeoutError:
            process.kill()
            await process.wait()


def _error(done: Done) -> HeadraceError:
    """What the process said, as its own kind where that tells the caller what to do."""
    kinds: dict[str, type[HeadraceError]] = {"Conflict": Conflict, "Busy": Conflict}
    if done.kind in ("Invalid", "TooLarge"):
        return Invalid(done.error)
    return kinds.get(done.kind, BackupFailed)(done.error)


async def _read(path: Path) -> AsyncIterator[bytes]:
    with path.open("rb") as file:
        while data := await asyncio.to_thread(file.read, PIECE):
            yield data
