"""The process that makes, checks and restores backups, so that nobody in control waits for it.

Takes one ``Work`` as JSON on stdin, answers one ``Done`` as JSON on stdout. It runs beside control at a lower priority
and only reads what control writes. A store is named here because each brings its own dump; nothing is decided. Started by
``control.backup.service`` and by ``headrace restore``.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import msgspec

import headrace
from headrace.control.backup.work import Done, Work
from headrace.control.folder import DataFolder
from headrace.model.errors import HeadraceError, Invalid, StoreError
from headrace.store.archive import Archive, ArchiveWriter, disk_trouble, header_columns
from headrace.store.manifest import Header, Manifest
from headrace.store.restored import Restored
from headrace.store.sql import load_migrations
from headrace.store.tables import BLOBS, TABLES, Row

NICE = 15
TERMINATED = 143
"""Exit code after SIGTERM, which leaves nothing half made."""
PR_SET_PDEATHSIG = 1


def work(todo: Work) -> Done:
    """Do it here. Raises HeadraceError."""
    path = Path(todo.file)
    if todo.do == "save":
        with disk_trouble(f"the backup could not be written to {path}"):
            manifest = _save(todo)
        if Archive(path).check(rows=False) != manifest:
            raise StoreError(f"{path} does not hold what was written: the disk is not to be trusted")
        return Done(manifest=_brief(manifest), size=path.stat().st_size)
    manifest = Archive(path).check()
    if todo.do == "check":
        return Done(manifest=_brief(manifest), size=path.stat().st_size)
    return Done(manifest=_brief(manifest), restored=_restore(todo, manifest), size=path.stat().st_size)


def _brief(manifest: Manifest) -> Manifest:
    """Without its list of pieces."""
    return msgspec.structs.replace(manifest, pieces=[])


def _now() -> int:
    return time.time_ns() // 1000


def _header(store: str, schema: int, incarnation: int, at: int) -> Header:
    return Header(
        headrace=headrace.__version__,
        store=store,
        schema=schema,
        incarnation=incarnation,
        at=at,
        made_at=_now(),
        columns=header_columns(),
    )


class Dump(Protocol):
    """What both stores' dumps are to a backup."""

    def one(self, name: str) -> Any: ...

    def identity(self) -> tuple[int, int]: ...

    def rows(self, table: str) -> Iterator[Row]: ...

    def blobs(self) -> Iterator[Row]: ...


def _save(todo: Work) -> Manifest:
    path = Path(todo.file)
    if todo.dsn:
        from headrace.store.postgres.dump import PostgresDump  # an optional extra

        with PostgresDump(todo.dsn) as rows:
            return _write(path, rows, "postgres")
    from headrace.store.sqlite.dump import SqliteDump  # each store brings its driver along

    with SqliteDump(Path(todo.folder), path.with_name(f".{path.name}.{os.getpid()}.copy")) as copy:
        return _write(path, copy, "sqlite")


def _write(path: Path, dump: Dump, store: str) -> Manifest:
    header = _header(store, *dump.identity(), dump.one("last_commit_at"))
    with ArchiveWriter(path, header) as archive:
        for table in TABLES:
            archive.rows(table.name, dump.rows(table.name))
        archive.rows(BLOBS.name, dump.blobs())
        return archive.seal()


def _restore(todo: Work, manifest: Manifest) -> Restored:
    archive = Archive(Path(todo.file))
    known = max(number for number, _ in load_migrations("headrace.store.sqlite"))
    if manifest.header.schema > known:
        schema = manifest.header.schema
        raise Invalid(f"the backup has schema {schema}, this Headrace knows {known}: upgrade Headrace")
    if todo.dsn:
        from headrace.store.postgres.fill import fill_postgres  # an optional extra

        return asyncio.run(fill_postgres(todo.dsn, archive, manifest, force=todo.force, now=_now()))
    from headrace.store.sqlite.fill import fill_sqlite  # each store brings its driver along

    folder = Path(todo.folder)
    if todo.held:
        return fill_sqlite(folder, archive, manifest, force=todo.force, now=_now())
    data = DataFolder(folder)
    with disk_trouble(f"cannot restore into {folder}"):
        data.take()
    try:
        return fill_sqlite(folder, archive, manifest, force=todo.force, now=_now())
    finally:
        data.leave()


def _end_with(parent: int) -> None:
    """Be killed when the parent ends; at once when it has: what it asked for is begun anew by its next life."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        sys.exit(TERMINATED)


def main() -> int:
    """Read what is to be done, do it, tell; gives the exit code."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(TERMINATED))
    with contextlib.suppress(OSError):
        os.nice(NICE)
    try:
        todo = msgspec.json.decode(sys.stdin.buffer.read(), type=Work)
        if todo.parent:
            _end_with(todo.parent)
        done = work(todo)
    except HeadraceError as error:
        done = Done(error=str(error), kind=type(error).__name__)
    sys.stdout.buffer.write(msgspec.json.encode(done))
    return 1 if done.error else 0


if __name__ == "__main__":
    sys.exit(main())
