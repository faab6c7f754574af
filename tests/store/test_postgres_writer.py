"""The writer on PostgreSQL: locks between nodes, what a commit means, what is refused."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import psycopg
import pytest
from msgspec.structs import replace

from headrace.model.cells import RunCell, RunInput, TaskCell
from headrace.model.errors import Busy, StoreAway, StoreError
from headrace.store.postgres.store import PostgresStore, open_store
from headrace.store.rows import Answer, Batch, Document, Entity, NewRun

WEEK = 7 * 86_400_000_000


@asynccontextmanager
async def nodes(dsn: str, count: int) -> AsyncIterator[list[PostgresStore]]:
    stores = [await open_store(dsn) for _ in range(count)]
    try:
        yield stores
    finally:
        for store in stores:
            await store.close()


def go(dsn: str, count: int, body: Callable[..., Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), nodes(dsn, count) as stores:
            await body(*stores)

    asyncio.run(main())


def made(*runs: int) -> Batch:
    return Batch(
        at=1,
        new_runs=[NewRun(RunInput(run, 1, "job", 1, run), RunCell(run, 1, created_at=run)) for run in runs],
        new_tasks=[TaskCell(run, 0) for run in runs],
    )


async def commit(store: PostgresStore, batch: Batch) -> None:
    await store.writer.begin()
    await store.writer.write(batch)
    await store.writer.commit()


def test_runs_that_another_node_holds_are_named_and_not_waited_for(postgres_dsn: str) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, made(1, 2, 3))
        await a.writer.begin()
        await a.writer.lock_runs([2])
        await b.writer.begin()
        found, held = await b.writer.lock_runs([3, 2, 1, 99])
        assert (set(found), held) == ({1, 3}, {2})
        await b.writer.rollback()
        await a.writer.rollback()
        await b.writer.begin()
        found, held = await b.writer.lock_runs([2])
        assert (set(found), held) == ({2}, set())

    go(postgres_dsn, 2, body)


def test_waiting_for_a_held_run_ends_in_busy_and_the_next_transaction_works(postgres_dsn: str) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, made(1))
        await a.writer.begin()
        await a.writer.lock_runs([1])
        await b.writer.begin()
        with pytest.raises(Busy) as caught:
            await b.writer.lock_runs([1], wait=True)
        assert not isinstance(caught.value, StoreError)
        await b.writer.rollback()
        await a.writer.rollback()
        await b.writer.begin()
        assert set((await b.writer.lock_runs([1], wait=True))[0]) == {1}
        await b.writer.rollback()

    go(postgres_dsn, 2, body)


def test_who_waited_for_a_lock_sees_what_the_holder_committed(postgres_dsn: str) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, made(1))
        await a.writer.begin()
        (cell,) = (await a.writer.lock_runs([1]))[0].values()
        await b.writer.begin()
        waiting = asyncio.create_task(b.writer.lock_runs([1], wait=True))
        await a.writer.write(Batch(at=2, runs=[replace(cell, version=7)]))
        await a.writer.commit()
        assert (await waiting)[0][1].version == 7
        await b.writer.rollback()

    go(postgres_dsn, 2, body)


def test_what_was_rolled_back_was_never_there(postgres_dsn: str) -> None:
    async def body(a: PostgresStore) -> None:
        await a.writer.begin()
        await a.writer.write(made(1))
        await a.writer.rollback()
        assert await a.reader.run(1) is None

    go(postgres_dsn, 1, body)


def test_an_update_of_a_row_that_is_not_there_is_refused(postgres_dsn: str) -> None:
    async def body(a: PostgresStore) -> None:
        await a.writer.begin()
        with pytest.raises(StoreError, match="end_tasks touched 0 rows"):
            await a.writer.write(Batch(at=1, tasks=[TaskCell(5, 0)]))
        await a.writer.rollback()

    go(postgres_dsn, 1, body)


def test_of_two_nodes_with_one_idempotency_key_the_second_is_told_to_try_again(postgres_dsn: str) -> None:
    def answer(at: int, body: bytes) -> Answer:
        return Answer("me", "key", b"digest", 201, "/runs/1", body, at)

    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await a.writer.begin()
        await b.writer.begin()
        await a.writer.write(Batch(at=1, answers=[answer(1, b"first")]))
        late = asyncio.create_task(b.writer.write(Batch(at=1, answers=[answer(1, b"second")])))
        await a.writer.commit()
        with pytest.raises(Busy):
            await late
        await b.writer.rollback()
        await b.writer.begin()
        assert (await b.writer.load_answers([("me", "key")]))[("me", "key")].body == b"first"
        await b.writer.write(Batch(at=1, answers=[answer(2 + WEEK, b"a week later")]))
        await b.writer.commit()

    go(postgres_dsn, 2, body)


def test_two_nodes_cannot_both_make_the_same_version_of_an_entity(postgres_dsn: str) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        for store in (a, b):
            await store.writer.begin()
            assert await store.writer.lock_entities([("job", "x")]) == {}
        await a.writer.write(Batch(at=1, entities=[Entity("job", "x", 1, 1, 1, b"a", facts=b"made")]))
        late = asyncio.create_task(
            b.writer.write(Batch(at=1, entities=[Entity("job", "x", 1, 1, 1, b"b", facts=b"made")]))
        )
        await a.writer.commit()
        with pytest.raises(Busy):
            await late
        await b.writer.rollback()
        kept = await b.reader.entity(("job", "x"))
        assert kept is not None
        assert kept.image == b"a"

    go(postgres_dsn, 2, body)


def test_a_row_without_facts_may_be_written_again_under_its_version(postgres_dsn: str) -> None:
    """An agent's cursor moves without history."""

    async def body(a: PostgresStore) -> None:
        await commit(a, Batch(at=1, entities=[Entity("agent", "m", 1, 1, 1, b"0", facts=b"joined")]))
        await commit(a, Batch(at=1, entities=[Entity("agent", "m", 1, 1, 2, b"1")]))
        kept = await a.reader.entity(("agent", "m"))
        assert kept is not None
        assert (kept.image, len(await a.reader.entity_versions(("agent", "m")))) == (b"1", 1)

    go(postgres_dsn, 1, body)


def test_the_same_document_from_two_nodes_is_kept_once(postgres_dsn: str) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, Batch(at=1, documents=[Document(1, b"d", b"body")]))
        await b.writer.begin()
        with pytest.raises(Busy):
            await b.writer.write(Batch(at=1, documents=[Document(2, b"d", b"body")]))
        await b.writer.rollback()
        await b.writer.begin()
        assert await b.writer.load_documents([b"d", b"e"]) == {b"d": 1}
        await b.writer.rollback()

    go(postgres_dsn, 2, body)


def test_a_lost_connection_before_commit_is_said_and_the_next_begin_connects_anew(postgres_dsn: str) -> None:
    async def body(a: PostgresStore) -> None:
        await commit(a, made(1))
        await a.writer.begin()
        await a.writer.lock_runs([1])
        with psycopg.connect(postgres_dsn, autocommit=True) as admin:
            admin.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity "
                "where datname = current_database() and pid <> pg_backend_pid()"
            )
        with pytest.raises(StoreAway):
            await a.writer.write(made(2))
        await a.writer.rollback()
        assert await a.reader.run(2) is None
        await commit(a, made(3))
        assert await a.reader.run(3) is not None

    go(postgres_dsn, 1, body)


def test_three_nodes_over_the_same_runs_never_deadlock(postgres_dsn: str) -> None:
    """Groups of 40 out of 400, each locking what it can and raising each version by one."""

    async def ledger(store: PostgresStore, seed: int, groups: int) -> int:
        changed = 0
        for group in range(groups):
            wanted = [1 + (seed * 7919 + group * 131 + n * 97) % 400 for n in range(40)]
            await store.writer.begin()
            runs, _ = await store.writer.lock_runs(wanted)
            await store.writer.load_tasks([(run, 0, -1) for run in runs])
            await store.writer.write(Batch(at=1, runs=[replace(c, version=c.version + 1) for c in runs.values()]))
            await store.writer.commit()
            changed += len(runs)
        return changed

    async def body(*stores: PostgresStore) -> None:
        await commit(stores[0], made(*range(1, 401)))
        changed = await asyncio.gather(*(ledger(store, seed, 40) for seed, store in enumerate(stores)))
        await stores[0].writer.begin()
        runs, held = await stores[0].writer.lock_runs(range(1, 401))
        assert not held
        assert sum(cell.version for cell in runs.values()) == sum(changed)
        with psycopg.connect(postgres_dsn) as admin:
            row = admin.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
        assert row == (0,)

    go(postgres_dsn, 3, body)


def test_begin_inside_a_transaction_is_a_mistake(postgres_dsn: str) -> None:
    async def body(a: PostgresStore) -> None:
        await a.writer.begin()
        await a.writer.lock_runs([1])
        with pytest.raises(StoreError):
            await a.writer.begin()

    go(postgres_dsn, 1, body)


def test_what_changes_with_every_step_of_a_run_is_in_no_index(postgres_dsn: str) -> None:
    """So PostgreSQL writes the new image beside the old one and touches no index (HOT)."""
    with psycopg.connect(postgres_dsn) as admin:
        rows = admin.execute(
            "select pg_get_indexdef(indexrelid) from pg_index "
            "where indrelid in ('headrace.run'::regclass, 'headrace.task'::regclass)"
        ).fetchall()
    for (text,) in rows:
        columns = text[text.index("(") :]
        assert not {"state", "image", "at", "input"} & set(re.findall(r"\w+", columns)), text
