"""A backup of the PostgreSQL store: one REPEATABLE READ transaction, every table copied out of that one snapshot.

It only reads, so it has no transaction id and holds up neither writers nor readers of events. Blocking (a row costs a
tenth of what it would on an event loop); called by the backup process only.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Self

import psycopg

from headrace.model.errors import StoreError
from headrace.store.postgres.connect import Queries, connect_blocking, queries, translated
from headrace.store.tables import BLOBS, TABLES, Row


class PostgresDump:
    """The rows of one snapshot. Use as a context."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._sql: Queries = queries()
        self._types = {table.name: list(table.types) for table in (*TABLES, BLOBS)}
        self._conn: psycopg.Connection[Row]

    def __enter__(self) -> Self:
        self._conn = connect_blocking(self._dsn, self._sql, "no_timeout")
        with translated("cannot take a snapshot"):
            self._conn.execute(self._sql["snapshot"])
        return self

    def __exit__(self, *_: object) -> None:
        self._conn.close()

    def one(self, name: str, *values: Any) -> Any:
        """The first value of a named statement."""
        with translated(name):
            row = self._conn.execute(self._sql[name], list(values)).fetchone()
        if row is None:
            raise StoreError(f"{name} gave nothing: this is not a store of Headrace")
        return row[0]

    def identity(self) -> tuple[int, int]:
        """(schema, incarnation)."""
        with translated("cannot read the store's identity"):
            rows = self._conn.execute(self._sql["schema_applied"]).fetchall()
        return max(row[0] for row in rows), int(self.one("meta_get", "incarnation"))

    def rows(self, table: str) -> Iterator[Row]:
        """The rows of one table, in the order of its key."""
        statement = self._sql[f"dump_{table}"]
        with translated(f"cannot read {table}"), self._conn.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(self._types[table])
            yield from copy.rows()

    def blobs(self) -> Iterator[Row]:
        """Every blob in pieces."""
        return self.rows(BLOBS.name)
