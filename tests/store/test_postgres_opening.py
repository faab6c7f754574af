"""Opening a PostgreSQL store: migrations, settings that it refuses, id blocks, connections that come back, hints."""

from __future__ import annotations

import asyncio
import multiprocessing
import re
from typing import TYPE_CHECKING

import psycopg
import pytest
from msgspec.structs import replace

from headrace.model.cells import RunCell, RunInput, TaskCell
from headrace.model.errors import StoreAway, StoreError
from headrace.model.states import RunState, TaskState
from headrace.store.postgres.connect import PATIENT, check_patience, check_settings, queries
from headrace.store.postgres.hints import understood, written
from headrace.store.postgres.store import PostgresStore, open_store
from headrace.store.rows import Batch, Hint, NewRun
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
    assert {schema for schema, _ in found} == {load_migrations("headrace.store.postgres")[-1][0]}
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


def test_another_node_is_told_what_became_ready_and_ended_and_oneself_is_not(postgres_dsn: str) -> None:
    async def main() -> None:
        heard: asyncio.Queue[Hint] = asyncio.Queue()
        own: asyncio.Queue[Hint] = asyncio.Queue()
        here, there = await open_store(postgres_dsn), await open_store(postgres_dsn)
        here.hear(own.put_nowait)
        there.hear(heard.put_nowait)
        async with asyncio.timeout(30):
            # Who begins to listen may have missed anything.
            assert (await own.get(), await heard.get()) == (Hint(all=True), Hint(all=True))
            cells = [TaskCell(1, no, state=TaskState.ready, klass=no % 2 + 5) for no in range(4)]
            run = RunCell(1, 1, RunState.running, 1)
            await committed(here, Batch(at=1, new_runs=[NewRun(RunInput(1, 1, None, None, 1), run)], new_tasks=cells))
            assert await heard.get() == Hint(classes=(5, 6))
            await committed(here, Batch(at=2, runs=[replace(run, state=RunState.succeeded, version=2)]))
            assert await heard.get() == Hint(runs=(1,))
        assert all(hint.all for hint in own._queue)  # type: ignore[attr-defined]  # reason: what it has not given yet
        await here.close()
        await there.close()

    asyncio.run(main())


async def committed(store: PostgresStore, batch: Batch) -> None:
    await store.writer.begin()
    await store.writer.write(batch)
    await store.writer.commit()


@pytest.mark.parametrize(
    ("classes", "runs"),
    [(set(), {2**53}), ({-(2**62)}, set()), ({1, 2}, {3}), (set(range(500)), set()), (set(), set())],
)
def test_a_notice_says_what_it_names_and_whether_there_is_more(classes: set[int], runs: set[int]) -> None:
    hint = understood(written(classes, runs))
    assert set(hint.classes) <= classes
    assert set(hint.runs) <= runs
    assert hint.all == (set(hint.classes) != classes or set(hint.runs) != runs)
    assert len(written(set(range(-(2**62), -(2**62) + 500)), set(range(2**53, 2**53 + 500)))) < 8000
    assert understood("what somebody else notified") == Hint(all=True)


def test_who_lost_his_line_looks_at_everything_when_he_listens_again(postgres_dsn: str) -> None:
    async def main() -> None:
        heard: asyncio.Queue[Hint] = asyncio.Queue()
        store = await open_store(postgres_dsn)
        store.hear(heard.put_nowait)
        async with asyncio.timeout(30):
            await heard.get()
            with psycopg.connect(postgres_dsn, autocommit=True) as admin:
                admin.execute(
                    "select pg_terminate_backend(pid) from pg_stat_activity "
                    "where datname = current_database() and query = 'listen headrace'"
                )
            assert await heard.get() == Hint(all=True)
        await store.close()

    asyncio.run(main())


def test_the_ledgers_connection_waits_for_nothing_for_ever(postgres_dsn: str) -> None:
    """Read back from the connection that writes, not from any other."""

    async def main() -> None:
        store = await open_store(postgres_dsn)
        await store.writer.begin()
        await store.writer.lock_runs([1], wait=True)
        rows = await store.writer._rows("settings", [])
        said = dict(rows)
        await store.writer.rollback()
        assert store.identity.settings == {**store.writer.settings}
        for name in PATIENT:
            assert 0 < int(said[name]) <= 15_000
            assert store.identity.settings[name] == said[name]
        await store.close()

    asyncio.run(main())


@pytest.mark.parametrize("name", PATIENT)
def test_a_setting_that_the_connection_forgets_is_refused(name: str) -> None:
    settings = dict.fromkeys(PATIENT, "1000")
    check_patience(settings)
    with pytest.raises(StoreError, match=name):
        check_patience({**settings, name: "0"})


def asked(text: bytes) -> bytes:
    """A statement as it can be prepared: of a copy what it reads, or the columns that it fills."""
    if told := re.search(rb"^copy \((.*)\) to stdout", text, re.DOTALL | re.MULTILINE):
        return told[1]
    if filled := re.search(rb"^copy (\w+) \((.*?)\)\s+from stdin", text, re.DOTALL | re.MULTILINE):
        return b"select " + filled[2] + b" from " + filled[1]
    return text


def test_every_statement_can_be_prepared(postgres_dsn: str) -> None:
    """A statement with a misspelt column must not wait for its first use."""
    alone = {
        "begin",
        "commit",
        "rollback",
        "listen",
        "create_schema",
        "schema_table",
        "snapshot",
        "set_aside",
        "analyze",
    }
    with psycopg.connect(postgres_dsn, cursor_factory=psycopg.RawCursor) as conn:
        conn.execute("set search_path to headrace")
        for name, text in queries().items():
            if name not in alone:
                conn.execute(b"prepare " + f"p_{name}".encode() + b" as " + asked(text))
