"""A restore into an empty database, in one transaction: all of it is there, or nothing.

What was there is not deleted: its schema gets another name. Refuses a database to which others of ours are connected.
Called by the backup process only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from headrace.model.errors import Conflict
from headrace.store.archive import Archive
from headrace.store.images import labels_in
from headrace.store.manifest import Manifest
from headrace.store.postgres.connect import Connection, Queries, connect, queries, translated
from headrace.store.postgres.migrate import migrate
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
from headrace.store.tables import BLOBS, TABLES, Row, fitted

RUN_TYPES = ("int8", "int2", "int8", "int8", "text", "jsonb", "bytea", "bytea", "int8", "bytea")
TASK_TYPES = ("int8", "int8", "int8", "int2", "int8", "int8", "int8", "int8", "int8", "bytea")
POSITION_SHIFT = 48


async def fill_postgres(dsn: str, archive: Archive, manifest: Manifest, *, force: bool, now: int) -> Restored:
    """Restore a backup that was checked. Raises Conflict when the database holds work and ``force`` was not said."""
    sql = queries()
    conn = await connect(dsn, sql, "no_timeout")
    try:
        with translated("cannot restore"):
            async with conn.transaction():
                aside, there = await _make_room(conn, sql, force)
                await migrate(conn, sql)
                incarnation = next_incarnation(manifest.header.incarnation, there, now)
                mark = Mark(manifest.header.at, now, incarnation)
                await _Filling(conn, sql, manifest).all(archive)
                unfinished = await _finish(conn, sql, mark)
            await conn.execute(sql["analyze"])
    finally:
        await conn.close()
    return Restored(
        incarnation=incarnation,
        backup_at=mark.backup_at,
        rows=manifest.rows,
        blobs=manifest.blobs,
        set_aside=aside,
        unfinished=unfinished,
    )


async def _make_room(conn: Connection, sql: Queries, force: bool) -> tuple[str, int]:
    """(where the old schema is now, its incarnation); nothing and 0 when there was none."""
    exists = await (await conn.execute(sql["schema_exists"])).fetchone()
    if exists is None or not exists[0]:
        return "", 0
    others = await (await conn.execute(sql["others_connected"])).fetchone()
    if others is not None and others[0]:
        raise Conflict("control processes are connected to this database: stop them first")
    holds = await (await conn.execute(sql["holds_work"])).fetchone()
    if holds is not None and holds[0] and not force:
        raise Conflict("the database holds jobs or runs: restore into an empty one, or set them aside (--force)")
    row = await (await conn.execute(sql["meta_get"], ["incarnation"])).fetchone()
    named = await (await conn.execute(sql["aside_name"])).fetchone()
    await conn.execute(sql["set_aside"])
    return "" if named is None else f"the schema {named[0]}", 0 if row is None else int(row[0])


async def _finish(conn: Connection, sql: Queries, mark: Mark) -> list[Unfinished]:
    for name in ("fill_open_run", "fill_other_run", "forget_credentials", "forget_credentials_history"):
        await conn.execute(sql[name])
    for what, step in STEPS:
        await conn.execute(sql["jump_ids"], [step, what])
    await conn.execute(sql["numbers_go_on"])
    await conn.execute(sql["meta_put"], ["incarnation", str(mark.incarnation)])
    await conn.execute(sql["meta_put"], [RESTORED, mark_text(mark)])
    rows = await (await conn.execute(sql["unfinished"], [UNFINISHED_MAX])).fetchall()
    return [Unfinished(*row) for row in rows]


class _Filling:
    """Copies the rows in. ``_blobs``: (id, digest, size) of blobs whose pieces are in."""

    def __init__(self, conn: Connection, sql: Queries, manifest: Manifest) -> None:
        self._conn = conn
        self._sql = sql
        self._header = manifest.header
        self._columns = {name: tuple(names) for name, names in manifest.header.columns.items()}
        self._tables = {table.name: table for table in TABLES}
        self._blobs: list[Row] = []
        self._commits = 0

    async def all(self, archive: Archive) -> None:
        """Everything that the archive holds."""
        for name, rows in archive.rows():
            if name == BLOBS.name:
                await self._copy("blob_chunk", ("int8", "int8", "bytea"), self._chunks(rows))
            elif name == "meta":
                if self._header.store == "postgres":
                    for row in rows:
                        await self._conn.execute(self._sql["meta_put"], list(row))
            else:
                table = self._tables[name]
                whole = fitted(rows, self._columns[name], table)
                if name == "run":
                    await self._copy(name, RUN_TYPES, map(_run, whole))
                elif name == "task":
                    await self._copy(name, TASK_TYPES, map(_task, whole))
                elif name == "commit_row":
                    await self._copy(name, table.types, map(self._commit, whole))
                else:
                    await self._copy(name, table.types, whole)
        await self._copy("blob", ("int8", "text", "int8"), self._blobs)

    async def _copy(self, name: str, types: Iterable[str], rows: Iterable[Row]) -> None:
        async with self._conn.cursor() as cursor, cursor.copy(self._sql[f"load_{name}"]) as copy:
            copy.set_types(list(types))
            for row in rows:
                await copy.write_row(row)

    def _chunks(self, rows: Iterable[Row]) -> Iterator[Row]:
        for digest, size, no, data in rows:
            if no == 0:
                self._blobs.append((len(self._blobs) + 1, digest, size))
            yield len(self._blobs), no, data

    def _commit(self, row: Row) -> Row:
        """From SQLite a commit has no place yet: they stand in the order of their numbers, before all that is to come."""
        touched, position, _ = row[6:]
        if touched is None or position is not None:
            return row
        self._commits += 1
        return (*row[:7], (self._header.incarnation << POSITION_SHIFT) + self._commits, self._commits)


def _run(row: Row) -> Row:
    run, state, due_at, created_at, job, given, params, at, image = row
    return run, state, due_at or None, created_at, job, labels_in(given) or None, given, params, at or created_at, image


def _task(row: Row) -> Row:
    run, no, index, state, klass, rank, due_at, agent, at, image = row
    return run, no, index, state, klass, rank, due_at or None, agent or None, at, image
