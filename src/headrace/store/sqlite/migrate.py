"""Numbered migrations: the schema is all of them, applied in order, each in a transaction of its own.

Never goes back and never skips. Called when the store is opened.
"""

from __future__ import annotations

import apsw

from headrace.model.errors import StoreError
from headrace.store.sql import load_migrations
from headrace.store.sqlite.connection import translated

PACKAGE = "headrace.store.sqlite"


def migrate(conn: apsw.Connection, queries: dict[str, str], now: int) -> int:
    """Apply what is missing and give the schema's number. Refuses a file written by a newer Headrace."""
    migrations = load_migrations(PACKAGE)
    with translated("cannot bring the schema up to date"):
        conn.execute(queries["schema_table"])
        applied = [row[0] for row in conn.execute(queries["schema_applied"])]
        newest = migrations[-1][0]
        if applied and applied[-1] > newest:
            raise StoreError(f"the data folder was written by a newer Headrace (schema {applied[-1]}, known {newest})")
        for number, text in migrations:
            if number not in applied:
                with conn:
                    for _ in conn.execute(text):
                        pass
                    conn.execute(queries["schema_record"], (number, f"{number:04d}", now))
    return newest
