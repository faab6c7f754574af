"""Brings the schema to the newest number. All in one transaction, so a crash leaves the old schema.

Never changes a schema that is newer than this program: it refuses. Called by ``store`` at opening.
"""

from __future__ import annotations

from headrace.model.errors import StoreError
from headrace.store.postgres.connect import PACKAGE, Connection, Queries, translated
from headrace.store.sql import load_migrations


async def migrate(conn: Connection, queries: Queries) -> int:
    """Apply what is missing; gives the schema's number. Processes that race here wait for each other."""
    migrations = load_migrations(PACKAGE)
    newest = migrations[-1][0]
    with translated("cannot migrate the schema"):
        async with conn.transaction():
            await conn.execute(queries["migration_lock"])
            found = await _numbers(conn, queries)
            if max(found, default=0) > newest:
                raise StoreError(
                    f"the database has schema {max(found)}, this Headrace knows {newest}: upgrade Headrace"
                )
            for number, text in migrations:
                if number not in found:
                    await conn.execute(text.encode(), prepare=False)
                    await conn.execute(queries["schema_record"], [number])
    return newest


async def _numbers(conn: Connection, queries: Queries) -> set[int]:
    # `create schema if not exists` asks for the right to create even when there is nothing to do.
    exists = await (await conn.execute(queries["schema_exists"])).fetchone()
    if exists is None or not exists[0]:
        await conn.execute(queries["create_schema"])
    await conn.execute(queries["schema_table"])
    rows = await (await conn.execute(queries["schema_applied"])).fetchall()
    return {int(row[0]) for row in rows}
