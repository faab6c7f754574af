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
    newest = len(migrations)
    with translated("cannot migrate the schema"):
        async with conn.transaction():
            await conn.execute(queries["migration_lock"])
            found = await _number(conn, queries)
            if found > newest:
                raise StoreError(f"the database has schema {found}, this Headrace knows {newest}: upgrade Headrace")
            for number, text in migrations[found:]:
                await conn.execute(text.encode(), prepare=False)
                await conn.execute(queries["schema_record"], [number])
    return newest


async def _number(conn: Connection, queries: Queries) -> int:
    # `create schema if not exists` asks for the right to create even when there is nothing to do.
    exists = await (await conn.execute(queries["schema_exists"])).fetchone()
    if exists is None or not exists[0]:
        await conn.execute(queries["create_schema"])
    await conn.execute(queries["schema_table"])
    row = await (await conn.execute(queries["schema_applied"])).fetchone()
    return 0 if row is None else int(row[0])
