"""A few connections for readers and blobs, made when needed and kept.

Never hands a connection to two users at once; never keeps one that broke. Called by ``reader`` and ``blobs``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from psycopg.pq import TransactionStatus

from headrace.model.errors import StoreAway, StoreError
from headrace.store.postgres.connect import Connection, Queries, Row, connect, translated
from headrace.store.postgres.wire import Wire

OFTEN = frozenset({"entity_by_key", "log", "log_end", "history_at", "entities_at"})
"""Statements that every submit, or every commit that somebody watches, waits for: asked without a cursor, for a third of
the CPU.
"""


class Pool:
    """At most ``size`` connections; who comes when all are busy waits. ``extra`` names statements of the set-up."""

    def __init__(self, dsn: str, queries: Queries, *extra: str, size: int = 4) -> None:
        self._dsn = dsn
        self._queries = queries
        self._extra = extra
        self._free: list[Connection] = []
        self._wires: dict[Connection, Wire] = {}
        self._room = asyncio.Semaphore(size)
        self._closed = False

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        """A connection in autocommit for the length of the block; driver errors inside become ours."""
        async with self._room:
            conn = await self._take()
            try:
                with translated("PostgreSQL"):
                    yield conn
            finally:
                await self._give_back(conn)

    async def rows(self, name: str, params: list[Any]) -> list[Row]:
        """All rows of one named statement: one snapshot. Only for statements that may safely be done twice.

        A connection that lay free while the server restarted is found out here, so it is tried once more on a new one.
        """
        try:
            return await self._once(name, params)
        except StoreAway:
            return await self._once(name, params)

    async def row(self, name: str, params: list[Any]) -> Row | None:
        """The first row, or None."""
        rows = await self.rows(name, params)
        return rows[0] if rows else None

    def knows(self, name: str) -> bool:
        """Whether a statement has this name."""
        return name in self._queries

    async def close(self) -> None:
        """Close the free connections now and those in use when they come back."""
        self._closed = True
        await self._close_free()

    async def _once(self, name: str, params: list[Any]) -> list[Row]:
        async with self.connection() as conn:
            if name in OFTEN:
                return await self._quickly(conn, name, params)
            cursor = await conn.execute(self._queries[name], params, prepare=True, binary=True)
            return await cursor.fetchall() if cursor.description else []

    async def _quickly(self, conn: Connection, name: str, params: list[Any]) -> list[Row]:
        wire = self._wires.get(conn)
        if wire is None:
            wire = self._wires[conn] = Wire(conn, self._queries)
        else:
            conn.pgconn.enter_pipeline_mode()
        try:
            wire.send(name, params)
            return wire.rows((await wire.answers())[0])
        finally:
            if not conn.closed:
                conn.pgconn.exit_pipeline_mode()

    async def _take(self) -> Connection:
        if self._closed:
            raise StoreError("the store is closed")
        while self._free:
            conn = self._free.pop()
            if not conn.closed:
                return conn
            self._wires.pop(conn, None)
        return await connect(self._dsn, self._queries, *self._extra)

    async def _close_free(self) -> None:
        while self._free:
            conn = self._free.pop()
            self._wires.pop(conn, None)
            await conn.close()

    async def _give_back(self, conn: Connection) -> None:
        if conn.closed:
            self._wires.pop(conn, None)
            # Those that lie free lost their server at the same time, as a rule: the next user gets a new one.
            await self._close_free()
        elif self._closed or conn.info.transaction_status != TransactionStatus.IDLE:
            self._wires.pop(conn, None)
            await conn.close()
        else:
            self._free.append(conn)
