"""A disk that loses what was not synced when the power goes: a shim under SQLite, and the same for plain files.

Writes go to real files in a scratch folder at once (kill -9 keeps the page cache). Until the file is synced, the disk
remembers how to undo each write; a power cut undoes them, or a random part of them, since a real disk may have written
some. Used by the simulator and the fault tests.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import apsw

from headrace.store.sqlite.files import OsFiles


class Disk:
    """Knows, per file, which writes have not been synced."""

    def __init__(self, name: str, *, honest: bool = True) -> None:
        self.name = name
        self.honest = honest
        """False: syncs do nothing (the sabotage "fsync off")."""
        self.undo: dict[str, list[tuple[int, bytes, int]]] = {}
        self.born: set[str] = set()
        """Files whose folder entry was not synced."""
        self.syncs = 0
        self.writes = 0
        self.dead = False
        self._vfs: _Vfs | None = None

    def vfs(self) -> str:
        """Register the SQLite VFS of this disk and give its name."""
        if self._vfs is None:
            self._vfs = _Vfs(self)
        return self.name

    def close(self) -> None:
        """Take the VFS out again."""
        if self._vfs is not None:
            self._vfs.unregister()
            self._vfs = None

    def wrote(self, path: str, offset: int, old: bytes, old_size: int) -> None:
        """Remember how to undo a write."""
        self.writes += 1
        self.undo.setdefault(path, []).append((offset, old, old_size))

    def synced(self, path: str) -> None:
        """The file's bytes are on the platter."""
        self.syncs += 1
        if self.honest:
            self.undo.pop(path, None)

    def power_cut(self, dice: Random) -> int:
        """Lose what was not synced: per file, keep a random prefix of the unsynced writes. Gives the writes lost."""
        lost = 0
        for path, writes in self.undo.items():
            if not Path(path).exists():
                continue
            kept = dice.randint(0, len(writes)) if dice.random() < 0.5 else 0
            with open(path, "r+b") as file:  # noqa: PTH123 the paths come from SQLite as texts
                for offset, old, old_size in reversed(writes[kept:]):
                    lost += 1
                    file.seek(offset)
                    file.write(old)
                    file.truncate(old_size)
        for name in sorted(self.born):
            if dice.random() < 0.5:
                lost += 1
                Path(name).unlink(missing_ok=True)
        self.undo.clear()
        self.born.clear()
        return lost


class _File(apsw.VFSFile):
    """One open file of SQLite on this disk."""

    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name or "")
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 the name is SQLite's
        if self.disk.dead:
            raise apsw.IOError("the process that had this file open is dead")
        size = self.xFileSize()
        old = self.xRead(min(len(data), size - offset), offset) if offset < size else b""
        self.disk.wrote(self.path, offset, old, size)
        super().xWrite(data, offset)

    def xTruncate(self, size: int) -> None:  # noqa: N802 the name is SQLite's
        now = self.xFileSize()
        if size < now:
            self.disk.wrote(self.path, size, self.xRead(now - size, size), now)
        super().xTruncate(size)

    def xSync(self, flags: int) -> None:  # noqa: N802 the name is SQLite's
        self.disk.synced(self.path)


class _Vfs(apsw.VFS):
    """SQLite's door to the disk."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        super().__init__(disk.name, "")

    def xOpen(self, name: apsw.URIFilename | str | None, flags: list[int]) -> _File:  # noqa: N802 the name is SQLite's
        return _File(self.disk, name, flags)


class DiskFiles(OsFiles):
    """The store's file port on this disk: bytes and names that were not synced may be gone after a power cut."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def append(self, path: str, data: bytes) -> None:
        size = self.size(path) or 0
        self._disk.wrote(path, size, b"", size)
        super().append(path, data)

    def sync(self, path: str) -> None:
        self._disk.synced(path)

    def sync_folder(self, path: str) -> None:
        if self._disk.honest:
            self._disk.born = {name for name in self._disk.born if str(Path(name).parent) != path}

    def move(self, source: str, target: str) -> None:
        super().move(source, target)
        if source in self._disk.undo:
            self._disk.undo[target] = self._disk.undo.pop(source)
        self._disk.born.add(target)
