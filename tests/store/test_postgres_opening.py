"""Opening a PostgreSQL store: migrations, settings that it refuses, id blocks, connections that come back, hints."""

from __future__ import annotations

import asyncio
import multiprocessing
from typing import TYPE_CHECKING

import psycopg
import pytest

from headrace.model.cells import TaskCell
from headrace.model.errors import StoreAway, StoreError
from headrace.model.states import TaskState
from headrace.store.postgres.connect import check_settings, queries
from headrace.store.postgres.store import open_store
from headrace.store.rows import Batch
from headrace.store.sql import load_migrations

if TYPE_CHECKING:
    from multiprocessing.queues import SimpleQueue
    from multiprocessing.synchronize import Barrier

    from conformance.postgres_server import PostgresServer

GOOD = {
    "synchronous_commit": "on",
    "fsync": "on",
    "full_page_writes": "on",
    "server_version_num": "150018",
    "server_encoding": "UTF8",
    "in_recovery": "false",
}


def open_at_once(dsn: str, ready: Barrier, opened: SimpleQueue[tuple[int, int]]) -> None:
    async def one() -> None:
        store = await open_store(dsn)
        opened.put((store.identity.schema, await store.reserve_ids("run", 100)))
        await store.close()

    async def main() -> None:
        await asyncio.gather(one(), one(), one())

    ready.wait()
    asyncio.run(main())


def test_processes_that_start_at_once_on_an_empty_database_all_succeed(empty_postgres_dsn: str) -> None:
    context = multiprocessing.get_context("spawn")
    ready, opened = context.Barrier(2), context.SimpleQueue()
    both = [context.Process(target=open_at_once, args=(empty_postgres_dsn, ready, opened)) for _ in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join()
    assert [process.exitcode for process in both] == [0, 0]
    found = [opened.get() for _ in range(6)]
    assert {schema for schema, _ in found} == {len(load_migrations("headrace.store.postgres"))}
    assert sorted(first for _, first in found) == [1, 101, 201, 301, 401, 501]


def test_a_schema_from_a_newer_headrace_is_left_alone(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as conn:
        conn.execute("insert into headrace.schema_migration (number) values (9999)")
    with pytest.raises(StoreError, match="upgrade Headrace"):
        asyncio.run(open_store(postgres_dsn))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("synchronous_commit", "off"),
        ("synchronous_commit", "local"),
        ("synchronous_commit", "remote_write"),
        ("fsync", "off"),
        ("full_page_writes", "off"),
        ("server_version_num", "120004"),
        ("server_encoding", "SQL_ASCII"),
        ("in_recovery", "true"),
    ],
)
def test_a_server_that_could_lose_acknowledged_work_is_refused(name: str, value: str) -> None:
    check_settings(GOOD)
    with pytest.raises(StoreError):
        check_settings({**GOOD, name: value})


def test_the_settings_are_read_from_the_server_itself(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    database = postgres_dsn.rpartition("=")[2]
    postgres_server.admin(f"alter database {database} set synchronous_commit = off")
    with pytest.raises(StoreError, match="synchronous_commit is 'off'"):
        asyncio.run(open_store(postgres_dsn))


def test_no_server_is_said_as_something_that_may_pass() -> None:
    with pytest.raises(StoreAway):
        asyncio.run(open_store("host=/nonexistent dbname=x"))


def test_readers_go_on_after_the_server_ended_their_connections(postgres_dsn: str) -> None:
    async def main() -> None:
        store = await open_store(postgres_dsn)
        await asyncio.gather(*(store.reader.run(n) for n in range(4)))
        with psycopg.connect(postgres_dsn, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid, 1000) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        for _ in range(8):
            assert await store.reader.run(1) is None
        await store.close()

    asyncio.run(main())


def test_a_reader_cannot_write(postgres_dsn: str) -> None:
    async def main() -> None:
        store = await open_store(postgres_dsn)
        with pytest.raises(StoreError, match="read-only"):
            await store.reader.statement("ids_reserve", {"what": "run", "count": 1})
        await store.close()

    asyncio.run(main())


def test_another_node_is_told_which_classes_became_ready_and_oneself_is_not(postgres_dsn: str) -> None:
    async def main() -> None:
        heard: asyncio.Queue[str] = asyncio.Queue()
        own: list[str] = []
        here = await open_store(postgres_dsn, on_hint=own.append)
        there = await open_store(postgres_dsn, on_hint=heard.put_nowait)
        assert here.hints is not None
        assert there.hints is not None
        async with asyncio.timeout(30):
            await here.hints.listening.wait()
            await there.hints.listening.wait()
            cells = [TaskCell(1, no, state=TaskState.ready, klass=no % 2 + 5) for no in range(4)]
            await here.writer.begin()
            await here.writer.write(Batch(at=1, new_tasks=cells))
            await here.writer.commit()
            assert await heard.get() == "5,6"
        assert own == []
        await here.close()
        await there.close()

    asyncio.run(main())


def test_every_statement_can_be_prepared(postgres_dsn: str) -> None:
    """A statement with a misspelt column must not wait for its first use."""
    alone = {"begin", "commit", "rollback", "listen", "create_schema", "schema_table"}
    with psycopg.connect(postgres_dsn, cursor_factory=psycopg.RawCursor) as conn:
        conn.execute("set search_path to headrace")
        for name, text in queries().items():
            if name not in alone:
                conn.execute(b"prepare " + f"p_{name}".encode() + b" as " + text)
