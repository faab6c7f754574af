"""A backup of the PostgreSQL store: one REPEATABLE READ transaction, every table copied out of that one snapshot.

It only reads, so it has no transaction id and holds up neither writers nor readers of events. Called by the backup
process only.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, Self

from headrace.model.errors import StoreError
from headrace.store.postgres.connect import Connection, Queries, connect, queries, translated
from headrace.store.tables import Row, Table


class PostgresDump:
    """The rows of one snapshot. Use as an asynchronous context."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sql: Queries = queries()
        self._conn: Connection

    async def __aenter__(self) -> Self:
        self._conn = await connect(self._dsn, self._sql, "no_timeout")
        with translated("cannot take a snapshot"):
            await self._conn.execute(self._sql["snapshot"])
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._conn.close()

    async def one(self, name: str, *values: Any) -> Any:
        """The first value of a named statement."""
        with translated(name):
            row = await (await self._conn.execute(self._sql[name], list(values))).fetchone()
        if row is None:
            raise StoreError(f"{name} gave nothing: this is not a store of Headrace")
        return row[0]

    async def identity(self) -> tuple[int, int]:
        """(schema, incarnation)."""
        with translated("cannot read the store's identity"):
            rows = await (await self._conn.execute(self._sql["schema_applied"])).fetchall()
        return max(row[0] for row in rows), int(await self.one("meta_get", "incarnation"))

    async def rows(self, table: Table) -> AsyncIterator[Row]:
        """The rows of one table, in the order of its key."""
        with translated(f"cannot read {table.name}"):
            async with self._conn.cursor() as cursor, cursor.copy(self._sql[f"dump_{table.name}"]) as copy:
                copy.set_types(list(table.types))
                async for row in copy.rows():
                    yield row
