"""A disk that loses what was not synced when the power goes: a shim under SQLite, and the same for plain files.

Writes go to real files in a scratch folder at once (kill -9 keeps the page cache). Until the file is synced, the disk
remembers how to undo each write; a power cut undoes them, or a random part of them, since a real disk may have written
some. Used by the simulator and the fault tests.
"""

from __future__ import annotations

from pathlib import Path
from random import Random

import apsw


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
        self.undo.clear()
        return lost


class _File(apsw.VFSFile):
    """One open file of SQLite on this disk."""

    def __init__(self, disk: Disk, name: apsw.URIFilename | str | None, flags: list[int]) -> None:
        self.disk = disk
        self.path = name.filename() if isinstance(name, apsw.URIFilename) else str(name or "")
        super().__init__("", name, flags)

    def xWrite(self, data: bytes, offset: int) -> None:  # noqa: N802 the name is SQLite's
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


class Files:
    """Plain files on this disk, for blobs and the journal: the same verbs as the product's file port."""

    def __init__(self, disk: Disk, root: Path) -> None:
        self.disk = disk
        self.root = root

    def write(self, path: Path, data: bytes) -> None:
        """Write a new file; unsynced until ``sync``."""
        size = path.stat().st_size if path.exists() else 0
        old = path.read_bytes() if size else b""
        self.disk.wrote(str(path), 0, old, size)
        path.write_bytes(data)

    def append(self, path: Path, data: bytes) -> None:
        """Append; unsynced until ``sync``."""
        size = path.stat().st_size if path.exists() else 0
        self.disk.wrote(str(path), size, b"", size)
        with path.open("ab") as file:
            file.write(data)

    def sync(self, path: Path) -> None:
        """Fsync."""
        self.disk.synced(str(path))
