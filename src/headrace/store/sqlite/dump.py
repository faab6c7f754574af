"""A backup of the SQLite store: one snapshot of the file, copied beside, then its rows and the blobs told one by one.

Works beside a running control: it opens the file for reading only, pins one snapshot and copies it in bounded steps
(SQLite's backup API), so the WAL is held for as short as can be. Blobs are written before the rows that name them and are
listed after the snapshot, so every named one is found. Blocking; called by the backup process only.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Self

import apsw

from headrace.model.errors import StoreError
from headrace.store.sql import load_queries
from headrace.store.sqlite.connection import assert_library, translated
from headrace.store.sqlite.migrate import PACKAGE
from headrace.store.tables import BLOB_PIECE, Row

PAGES = 1024
"""Pages copied in one step: 4 MiB."""


class SqliteDump:
    """The rows of one snapshot. Use as a context: the copy is removed at its end."""

    def __init__(self, folder: Path, copy: Path) -> None:
        self._folder = folder
        self._copy = copy
        self._sql = load_queries(PACKAGE)
        self._conn: apsw.Connection

    def __enter__(self) -> Self:
        assert_library()
        try:
            with translated(f"cannot copy the database to {self._copy}"):
                self._take()
        except BaseException:
            self._remove()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()
        self._remove()

    def one(self, name: str) -> Any:
        """The first value of a named statement."""
        with translated(name):
            return next(self._conn.execute(self._sql[name]))[0]

    def identity(self) -> tuple[int, int]:
        """(schema, incarnation)."""
        with translated("cannot read the store's identity"):
            numbers = [row[0] for row in self._conn.execute(self._sql["schema_applied"])]
            incarnation = next(self._conn.execute(self._sql["meta_get"], ("incarnation",)))[0]
        return max(numbers), int(incarnation)

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of one table, in the order of its key."""
        with translated(f"cannot read {table}"):
            yield from self._conn.execute(self._sql[f"dump_{table}"])

    def blobs(self) -> Iterator[Row]:
        """Every blob in pieces."""
        root = self._folder / "blobs"
        for group in sorted(root.iterdir()) if root.is_dir() else ():
            if len(group.name) == 2:
                for path in sorted(group.iterdir()):
                    yield from _pieces(path)

    def _take(self) -> None:
        source = apsw.Connection(str(self._folder / "headrace.db"), flags=apsw.SQLITE_OPEN_READONLY)
        try:
            source.set_busy_timeout(5000)
            source.execute("BEGIN")
            next(source.execute(self._sql["last_commit_at"]))  # the snapshot is that of the first read
            self._conn = apsw.Connection(str(self._copy))
            self._conn.pragma("journal_mode", "off")
            self._conn.pragma("synchronous", "off")
            with self._conn.backup("main", source, "main") as backup:
                while not backup.done:
                    backup.step(PAGES)
        finally:
            source.close()
        self._conn.pragma("cache_size", -4096)
        said = self.one("quick_check")
        if said != "ok":
            raise StoreError(f"the database is damaged: {said}")

    def _remove(self) -> None:
        if hasattr(self, "_conn"):
            self._conn.close()
        for name in (self._copy, self._copy.with_name(self._copy.name + "-journal")):
            with contextlib.suppress(FileNotFoundError):
                name.unlink()


def _pieces(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        size = path.stat().st_size
        no = 0
        while (data := file.read(BLOB_PIECE)) or no == 0:
            yield path.name, size, no, data
            no += 1
