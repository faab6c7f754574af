"""Opens connections and translates the driver's errors; refuses a server on which acknowledged work could be lost.

Never retries: who asked decides. Called by ``store``, ``writer``, ``pool``, ``migrate``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import psycopg
from psycopg import errors as pg

from headrace.model.errors import Busy, HeadraceError, StoreAway, StoreError
from headrace.store.postgres import arrays
from headrace.store.sql import load_queries

PACKAGE = "headrace.store.postgres"

Queries = Mapping[str, bytes]
"""Statements by name, as psycopg wants them."""

Row = tuple[Any, ...]

Connection = psycopg.AsyncConnection[Row]

DURABLE = frozenset({"on", "remote_apply"})
"""Values of synchronous_commit under which an acknowledged commit survives; the weaker ones are refused."""

PATIENT = ("lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout")
"""What must be bounded on the ledger's connection."""

MISCOUNTED = "HR001"
"""What ``exactly`` (migration 8) raises. Keys that two nodes may write at once are tried again; else a row is missing."""

OLDEST = 130_000
"""server_version_num of the oldest server with the functions that we ask."""

_PATIENCE: dict[str, Any] = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,
    "application_name": "headrace",
}


def queries() -> Queries:
    """Every named statement of this dialect."""
    return {name: text.encode() for name, text in load_queries(PACKAGE).items()}


@contextmanager
def translated(doing: str) -> Iterator[None]:
    """Turn psycopg's errors into ours. A lost connection or a lock is "try again", all else is a failure."""
    try:
        yield
    except psycopg.Error as e:
        raise translate(e, doing) from e


def translate(e: psycopg.Error, doing: str) -> HeadraceError:
    """The error of ours that says what ``e`` means for whoever asked."""
    text = f"{doing}: {str(e).strip() or type(e).__name__}"
    if e.sqlstate == MISCOUNTED:
        raced = any(name in text for name in ("put_answers", "put_entities"))
        return Busy(f"{text}: another node wrote the same key just now") if raced else StoreError(text)
    if isinstance(e, pg.LockNotAvailable | pg.QueryCanceled | pg.DeadlockDetected | pg.SerializationFailure):
        return Busy(text)
    if isinstance(e, pg.UniqueViolation):
        return Busy(f"{doing}: another node wrote the same key just now: {e.diag.constraint_name}")
    if is_lost(e):
        return StoreAway(text)
    return StoreError(text)


def is_lost(e: psycopg.Error) -> bool:
    """Whether the connection is gone, so that the server may or may not have done what was asked last."""
    if isinstance(e, pg.AdminShutdown | pg.CrashShutdown | pg.CannotConnectNow | pg.TooManyConnections):
        return True
    return isinstance(e, psycopg.OperationalError) and e.sqlstate is None


async def connect(dsn: str, queries: Queries, *extra: str) -> Connection:
    """A connection of ours in autocommit, set up by ``session`` and the statements named in ``extra``."""
    with translated("cannot connect to PostgreSQL"):
        conn = await psycopg.AsyncConnection.connect(
            dsn, autocommit=True, cursor_factory=psycopg.AsyncRawCursor, **_defaults(dsn)
        )
    arrays.register(conn.adapters)
    conn.prepare_threshold = 0
    conn.prepared_max = 500
    try:
        with translated("cannot set up a connection to PostgreSQL"):
            await conn.execute(queries["session"])
            check_settings(await read_settings(conn, queries))
            for name in extra:
                await conn.execute(queries[name])
    except BaseException:
        await conn.close()
        raise
    return conn


def connect_blocking(dsn: str, queries: Queries, *extra: str) -> psycopg.Connection[Row]:
    """The same for a process that has nothing else to do, without the checks of what is written: it only reads."""
    with translated("cannot connect to PostgreSQL"):
        conn = psycopg.connect(dsn, autocommit=True, cursor_factory=psycopg.RawCursor, **_defaults(dsn))
        for name in ("session", *extra):
            conn.execute(queries[name])
    return conn


def _defaults(dsn: str) -> dict[str, Any]:
    given = psycopg.conninfo.conninfo_to_dict(dsn)
    return {name: value for name, value in _PATIENCE.items() if name not in given}


async def read_settings(conn: Connection, queries: Queries) -> dict[str, str]:
    """What the server says of the settings that safety rests on."""
    cursor = await conn.execute(queries["settings"])
    return {str(name): str(value) for name, value in await cursor.fetchall()}


def check_settings(settings: dict[str, str]) -> None:
    """Raise StoreError, naming every setting with which acknowledged work could be lost."""
    wrong: list[str] = []
    if settings["synchronous_commit"] not in DURABLE:
        wrong.append(f"synchronous_commit is {settings['synchronous_commit']!r}; it must be one of {sorted(DURABLE)}")
    wrong += [
        f"{name} is {settings[name]!r}; it must be 'on'"
        for name in ("fsync", "full_page_writes")
        if settings[name] != "on"
    ]
    if int(settings["server_version_num"]) < OLDEST:
        wrong.append(f"the server is version {settings['server_version_num']}; PostgreSQL 13 is the oldest that works")
    if settings["server_encoding"] != "UTF8":
        wrong.append(f"the database's encoding is {settings['server_encoding']}; it must be UTF8")
    if settings["in_recovery"] == "true":
        wrong.append("the server is a standby; give the primary, or target_session_attrs=read-write with several hosts")
    if wrong:
        raise StoreError("this PostgreSQL cannot keep what Headrace promises: " + "; ".join(wrong))


def check_patience(settings: dict[str, str]) -> None:
    """Raise StoreError when a statement of the ledger could wait for ever: a pooler or the server forgot what was set."""
    endless = [name for name in PATIENT if settings.get(name, "0") == "0"]
    if endless:
        raise StoreError(f"the ledger's connection to PostgreSQL does not keep these settings: {', '.join(endless)}")
