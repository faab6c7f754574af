"""A restore into an empty data folder: a new file and new blobs are made beside, and moved into place when all is there.

Nothing that was in the folder is touched before that, and nothing is deleted: what was there is set aside under another
name. Blocking; the caller holds the folder's lock. Called by the backup process only.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from itertools import islice
from pathlib import Path

import apsw

from headrace.model.cells import INLINE_MAX
from headrace.model.errors import Conflict
from headrace.store.archive import Archive, disk_trouble, sync_folder
from headrace.store.images import labels_in
from headrace.store.manifest import Manifest
from headrace.store.restored import (
    RESTORED,
    STEPS,
    UNFINISHED_MAX,
    Mark,
    Restored,
    Unfinished,
    mark_text,
    next_incarnation,
)
from headrace.store.sql import load_queries
from headrace.store.sqlite.connection import SqliteOptions, open_writer, translated
from headrace.store.sqlite.files import INTERRUPTED
from headrace.store.sqlite.migrate import PACKAGE, migrate
from headrace.store.sqlite.store import read_incarnation
from headrace.store.sqlite.writer import encode_labels
from headrace.store.tables import BLOBS, TABLES, Row, fitted

BATCH = 1000
NAMES = ("headrace.db", "headrace.db-wal", "headrace.db-shm", "blobs")
"""What of a data folder is the store; secrets and the rest stay where they are."""
SECRET = "run-secret"  # noqa: S105 -- the name of a file: a new one is made at the next start


def fill_sqlite(folder: Path, archive: Archive, manifest: Manifest, *, force: bool, now: int) -> Restored:
    """Restore a backup that was checked. Raises Conflict when the folder holds work and ``force`` was not said."""
    there = _incarnation_there(folder, force)
    fresh = folder / f"restoring-{os.getpid()}"
    queries = load_queries(PACKAGE)
    mark = Mark(manifest.header.at, now, next_incarnation(manifest.header.incarnation, there, now))
    with disk_trouble("cannot restore"):
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(0o700)
        try:
            unfinished = _write(fresh, archive, manifest, queries, mark)
            os.sync()
            (folder / INTERRUPTED).write_text("a restore was moving files\n")
            sync_folder(folder)
            aside = _set_aside(folder, now)
            for name in NAMES:
                if (fresh / name).exists():
                    (fresh / name).rename(folder / name)
            sync_folder(folder)
            (folder / INTERRUPTED).unlink()
            sync_folder(folder)
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    return Restored(
        incarnation=mark.incarnation,
        backup_at=mark.backup_at,
        rows=manifest.rows,
        blobs=manifest.blobs,
        set_aside=aside,
        unfinished=unfinished,
    )


def _incarnation_there(folder: Path, force: bool) -> int:
    """Of the store that is in the folder; 0 when there is none."""
    path = folder / "headrace.db"
    if not path.exists():
        return 0
    queries = load_queries(PACKAGE)
    with translated("cannot look at what is there"):
        conn = apsw.Connection(str(path))
        try:
            if not force and next(conn.execute(queries["holds_work"]))[0]:
                raise Conflict(
                    f"{folder} holds jobs or runs: restore into an empty folder, or set them aside (--force)"
                )
            return read_incarnation(conn, queries)
        finally:
            conn.close()


def _write(fresh: Path, archive: Archive, manifest: Manifest, queries: dict[str, str], mark: Mark) -> list[Unfinished]:
    conn = open_writer(str(fresh / "headrace.db"), SqliteOptions())
    columns = {name: tuple(names) for name, names in manifest.header.columns.items()}
    tables = {table.name: table for table in TABLES}
    blobs = _Blobs(fresh / "blobs")
    with translated("cannot restore"):
        conn.pragma("synchronous", "off")  # a half-filled file is thrown away; it is synced before it is moved
        migrate(conn, queries, mark.restored_at)
        with conn:
            for name, rows in archive.rows():
                if name == BLOBS.name:
                    blobs.take(rows)
                elif name != "meta" or manifest.header.store == "sqlite":
                    _load(conn, queries, name, fitted(rows, columns[name], tables[name]))
            for statement in ("forget_credentials", "forget_credentials_history"):
                conn.execute(queries[statement])
            for what, step in STEPS:
                conn.execute(queries["jump_ids"], (step, what))
            meta = [("incarnation", str(mark.incarnation)), (RESTORED, mark_text(mark))]
            conn.executemany(queries["load_meta"], meta)
        unfinished = [Unfinished(*row) for row in conn.execute(queries["unfinished"], (UNFINISHED_MAX,))]
        conn.pragma("wal_checkpoint", "truncate")
        conn.close()
    return unfinished


def _load(conn: apsw.Connection, queries: dict[str, str], name: str, rows: Iterable[Row]) -> None:
    rows = iter(rows)
    while batch := list(islice(rows, BATCH)):
        if name == "run":
            aside = [(row[0], row[6]) for row in batch if row[6] is not None and len(row[6]) > INLINE_MAX]
            conn.executemany(queries["load_run_params"], aside)
            batch = [_run(row) for row in batch]
        elif name == "task":
            batch = [(*row[:8], row[9]) for row in batch]
        elif name == "commit_row":
            batch = [row[:7] for row in batch]
        conn.executemany(queries[f"load_{name}"], batch)


def _run(row: Row) -> Row:
    run, state, due_at, created_at, job, given, params, _, image = row
    inline = None if params is not None and len(params) > INLINE_MAX else params
    labels = labels_in(given)
    return run, state, due_at, created_at, job, encode_labels(labels) if labels else None, given, inline, image


class _Blobs:
    """Writes blobs as files; their digests were compared when the archive was checked. The caller syncs the disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder
        (folder / "draft").mkdir(0o700, parents=True)

    def take(self, rows: list[Row]) -> None:
        for digest, _, no, data in rows:
            if no == 0:
                self._path = self._folder / digest[:2] / digest
                self._path.parent.mkdir(0o700, exist_ok=True)
            with self._path.open("ab" if no else "wb") as file:
                file.write(data)


def _set_aside(folder: Path, now: int) -> str:
    """Move what is there out of the way; gives where it is now, or the empty text."""
    there = [name for name in NAMES if (folder / name).exists()]
    (folder / SECRET).unlink(missing_ok=True)
    if not there:
        return ""
    aside = folder / f"before-restore-{now}"
    aside.mkdir(0o700)
    for name in there:
        (folder / name).rename(aside / name)
    sync_folder(aside)
    return str(aside)
