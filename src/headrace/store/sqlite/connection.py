"""Opening SQLite so that what was committed stays committed, and saying so: pragmas are read back and asserted.

Never sets two pragmas in one statement: the second would silently not run. Called by ``store.sqlite.store`` only.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import apsw
from msgspec import Struct

from headrace.model.errors import StoreError

OLDEST = (3, 51, 3)
"""Older ones have a WAL race that can corrupt the file."""

PAGE_CACHE_KIB = 16_384


class SqliteOptions(Struct, frozen=True):
    """How to open the file. ``vfs`` names an apsw VFS to put underneath (the simulator's shim).

    ``alone``: locking mode EXCLUSIVE, for a VFS without shared memory; readers then share the writer's connection.
    """

    vfs: str | None = None
    alone: bool = False
    autocheckpoint: int = 4000
    readers: int = 2


@contextmanager
def translated(what: str) -> Iterator[None]:
    """Errors of the driver become StoreError, with their cause."""
    try:
        yield
    except apsw.Error as error:
        raise StoreError(f"SQLite: {what}: {error}") from error


def assert_library() -> None:
    """Refuse a SQLite that can corrupt its file."""
    found = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    if found < OLDEST:
        raise StoreError(f"SQLite {apsw.sqlite_lib_version()} is too old: 3.51.3 or newer is needed")


def open_writer(path: str, options: SqliteOptions) -> apsw.Connection:
    """The one connection that writes. Raises StoreError when a setting that safety rests on did not take."""
    assert_library()
    with translated(f"cannot open {path}"):
        conn = apsw.Connection(path, vfs=options.vfs)
        if options.alone:
            _set(conn, "locking_mode", "exclusive", "exclusive")
        _set(conn, "journal_mode", "wal", "wal")
        _set(conn, "synchronous", "full", 2)
        _set(conn, "wal_autocheckpoint", options.autocheckpoint, options.autocheckpoint)
        _set(conn, "foreign_keys", 0, 0)
        _set(conn, "temp_store", "memory", 2)
        _set(conn, "cache_size", -PAGE_CACHE_KIB, -PAGE_CACHE_KIB)
        conn.set_busy_timeout(0 if options.alone else 1000)
    return conn


def open_reader(path: str, options: SqliteOptions) -> apsw.Connection:
    """A connection that cannot write."""
    with translated(f"cannot open {path} for reading"):
        conn = apsw.Connection(path, flags=apsw.SQLITE_OPEN_READONLY, vfs=options.vfs)
        _set(conn, "query_only", 1, 1)
        _set(conn, "cache_size", -4096, -4096)
        conn.set_busy_timeout(1000)
    return conn


def settings(conn: apsw.Connection) -> dict[str, str]:
    """What the connection itself says about the settings that safety rests on."""
    names = ("journal_mode", "synchronous", "wal_autocheckpoint", "locking_mode", "page_size")
    found = {name: str(conn.pragma(name)) for name in names}
    found["library"] = apsw.sqlite_lib_version()
    return found


def _set(conn: apsw.Connection, name: str, value: str | int, wanted: str | int) -> None:
    conn.pragma(name, value)
    found = conn.pragma(name)
    if found != wanted:
        raise StoreError(f"SQLite: pragma {name} is {found!r}, it must be {wanted!r}")
