"""The SQLite store put together: one file for the ledger, a folder for blobs, one control process.

Never opened by two processes: a lock in the data folder is the app's business. Called by ``app`` files only.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import apsw

from headrace.model.errors import StoreError
from headrace.model.ports import Clock, Fault, no_fault
from headrace.store.port import Blobs, Identity, Reader, Writer
from headrace.store.rows import Hint
from headrace.store.sql import load_queries
from headrace.store.sqlite.blobs import FileBlobs
from headrace.store.sqlite.connection import SqliteOptions, open_reader, open_writer, settings, translated
from headrace.store.sqlite.files import INTERRUPTED, Files, OsFiles
from headrace.store.sqlite.migrate import PACKAGE, migrate
from headrace.store.sqlite.offload import Inline, Offload, Threads
from headrace.store.sqlite.reader import SqliteReader
from headrace.store.sqlite.writer import SqliteWriter


class SqliteStore:
    """``store.port.Store``. Made by ``open_sqlite``."""

    def __init__(
        self, writer: SqliteWriter, reader: SqliteReader, blobs: Blobs, *, identity: Identity, offloads: list[Offload]
    ) -> None:
        self.writer: Writer = writer
        self.reader: Reader = reader
        self.blobs: Blobs = blobs
        self.identity = identity
        self._writer = writer
        self._reader = reader
        self._offloads = offloads

    async def reserve_ids(self, what: str, count: int) -> int:
        """A block of numbers; waits for the writer's turn, so never ask inside a transaction."""
        return await self._writer.reserve(what, count)

    def hear(self, on_hint: Callable[[Hint], None]) -> None:
        """There is no other node that could tell anything."""

    async def close(self) -> None:
        """Finish what is under way and close the file; the WAL is folded in by the last connection."""
        for offload in self._offloads:
            offload.close()
        with translated("cannot close"):
            self._reader.close()
            self._writer.close()


async def open_sqlite(
    folder: str,
    *,
    clock: Clock,
    fault: Fault = no_fault,
    options: SqliteOptions | None = None,
    files: Files | None = None,
    inline: bool = False,
) -> SqliteStore:
    """Open, or make, the store in ``folder`` (``headrace.db`` and ``blobs/``). ``inline``: no threads (simulator)."""
    options = options or SqliteOptions()
    files = files or OsFiles()
    files.make_folder(folder)
    if files.size(f"{folder}/{INTERRUPTED}") is not None:
        raise StoreError(
            f"a restore into {folder} was interrupted: do it again (headrace restore FILE --force); nothing was deleted"
        )
    queries = load_queries(PACKAGE)
    path = f"{folder}/headrace.db"
    conn = open_writer(path, options)
    fault("store.before_migration")
    schema = migrate(conn, queries, clock.now())
    fault("store.after_migration")
    incarnation = read_incarnation(conn, queries)
    committer: Offload = Inline() if inline else Threads(1, "commit")
    readers: Offload = Inline() if inline or options.alone else Threads(options.readers, "read")
    blobs = FileBlobs(f"{folder}/blobs", files, offload=readers, fault=fault)
    count = 1 if options.alone or inline else options.readers
    connections = [conn] if options.alone else [open_reader(path, options) for _ in range(count)]
    return SqliteStore(
        SqliteWriter(conn, queries, blobs=blobs, committer=committer, fault=fault),
        SqliteReader(connections, queries, blobs=blobs, offload=readers),
        blobs,
        identity=Identity(incarnation, schema, settings(conn)),
        offloads=[committer, readers],
    )


def read_incarnation(conn: apsw.Connection, queries: dict[str, str]) -> int:
    """The number that a restore raises; epochs carry it."""
    rows: list[tuple[Any, ...]] = conn.execute(queries["meta_get"], ("incarnation",)).fetchall()
    return int(rows[0][0])
