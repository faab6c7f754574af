"""Round trips to PostgreSQL: how many a group takes, and that what travels together means what it meant alone."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from msgspec.structs import replace

from headrace.control.clock import SystemClock
from headrace.control.graphs import Graphs
from headrace.control.ledger import Ledger
from headrace.core.work import Command, Dispatch, Offer
from headrace.model.cells import RunCell, RunInput, TaskCell
from headrace.model.changes import Origin, OutcomeKind, Settle, Submit
from headrace.model.definition import JobDefinition, Task
from headrace.model.errors import Busy, StoreError
from headrace.store.port import Ahead
from headrace.store.postgres.store import PostgresStore, open_store
from headrace.store.postgres.wire import Wire
from headrace.store.rows import Answer, Batch, CommitRow, Entity, NewRun

ALICE = Origin("alice", "test")


class Room:
    """An agent that can take anything."""

    waiting: frozenset[int] = frozenset()

    def offers(self) -> list[Offer]:
        return [Offer(agent=1, boot=1, free=1_000, slots=8)]


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
        commits=[CommitRow(runs[0], 1, 1, "me", "test")],
        new_runs=[NewRun(RunInput(run, 1, "job", 1, run), RunCell(run, 1, created_at=run)) for run in runs],
        new_tasks=[TaskCell(run, 0) for run in runs],
    )


async def commit(store: PostgresStore, batch: Batch) -> None:
    await store.writer.begin()
    await store.writer.write(batch, wait=False)
    await store.writer.commit()


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Each round trip: how many statements travelled."""
    seen: list[int] = []
    whole = Wire.answers

    async def answers(wire: Wire) -> list[object]:
        seen.append(wire.waits)
        return await whole(wire)  # type: ignore[return-value]  # reason: counted only

    monkeypatch.setattr(Wire, "answers", answers)
    return seen


def test_a_group_of_submits_is_one_round_trip_and_a_group_of_outcomes_two(postgres_dsn: str, trips: list[int]) -> None:
    async def body(store: PostgresStore) -> None:
        commands: list[Command] = []
        ledger = Ledger(
            store, Graphs(store.reader), clock=SystemClock(), dice=random.Random(1), room=Room(),
            on_commands=commands.extend,
        )  # fmt: skip
        working = asyncio.ensure_future(ledger.run())
        graph = await ledger.keep(JobDefinition(name="one", tasks=[Task(name="t", command=["true"])]))
        trips.clear()
        await ledger.ask_many([Submit(RunInput(run, graph, None, None, 1)) for run in range(1, 41)], ALICE)
        assert len(trips) == 1
        trips.clear()
        given = [c for c in commands if isinstance(c, Dispatch)]
        ended = [Settle(*d.key, d.epoch, OutcomeKind.succeeded, 1, 2, "0", 0, digest=b"1") for d in given]
        answers = await ledger.ask_many(ended, ALICE)
        assert len(answers) == 40
        assert not any(isinstance(answer, Exception) for answer in answers)
        assert len(trips) == 2
        working.cancel()

    go(postgres_dsn, 1, body)


def test_what_is_fetched_ahead_is_what_asking_gives(postgres_dsn: str, trips: list[int]) -> None:
    async def body(store: PostgresStore) -> None:
        await commit(store, replace(made(1, 2, 3), entities=[Entity("agent", "m", 1, 1, 7, b"0", facts=b"joined")]))
        writer = store.writer
        keys = [(1, 0, -1), (3, 0, -1), (3, 9, -1), (99, 0, -1)]
        found = []
        for ahead in (None, Ahead([("agent", "m")], [b"d"], [("me", "key")], [], [1, 3, 99], keys[:3])):
            await writer.begin()
            trips.clear()
            if ahead is not None:
                writer.ahead(ahead)
            found.append(
                (
                    await writer.lock_entities([("agent", "m")]),
                    await writer.load_documents([b"d"]),
                    await writer.load_answers([("me", "key")]),
                    await writer.lock_runs([3, 1, 99]),
                    sorted(cell.key for cell in await writer.load_tasks(keys)),
                    writer.floor,
                )
            )
            await writer.rollback()
        assert found[0] == found[1]
        assert (set(found[0][3][0]), found[0][4], found[0][5]) == ({1, 3}, [(1, 0, -1), (3, 0, -1)], 7)
        # All in one, then 99: whether somebody holds it, and its task, which was not named; and the rollback.
        assert len(trips) == 4

    go(postgres_dsn, 1, body)


def test_another_question_than_was_said_gets_its_own_answer(postgres_dsn: str) -> None:
    async def body(store: PostgresStore) -> None:
        await commit(store, made(1, 2))
        await store.writer.begin()
        store.writer.ahead(Ahead(runs=[1], tasks=[(1, 0, -1)]))
        assert set((await store.writer.lock_runs([2]))[0]) == {2}
        assert [cell.run for cell in await store.writer.load_tasks([(2, 0, -1)])] == [2]
        await store.writer.rollback()

    go(postgres_dsn, 1, body)


def test_tasks_of_a_held_run_that_were_fetched_ahead_are_not_believed(postgres_dsn: str) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, made(1, 2))
        await a.writer.begin()
        await a.writer.lock_runs([1])
        await b.writer.begin()
        b.writer.ahead(Ahead(runs=[1, 2], tasks=[(1, 0, -1), (2, 0, -1)]))
        found, held = await b.writer.lock_runs([1, 2])
        assert (set(found), held) == ({2}, {1})
        await a.writer.write(Batch(at=2, tasks=[TaskCell(1, 0, version=5)]))
        await a.writer.commit()
        await b.writer.lock_runs([1], wait=True)
        cells = await b.writer.load_tasks([(1, 0, -1), (2, 0, -1)])
        assert {cell.run: cell.version for cell in cells} == {1: 5, 2: 0}
        await b.writer.rollback()

    go(postgres_dsn, 2, body)


def test_under_contention_who_holds_what_is_asked_along(postgres_dsn: str, trips: list[int]) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, made(1, 2))
        await a.writer.begin()
        await a.writer.lock_runs([1])
        told = []
        for _ in range(2):
            await b.writer.begin()
            b.writer.ahead(Ahead(runs=[1, 2]))
            trips.clear()
            found, held = await b.writer.lock_runs([1, 2])
            assert (set(found), held) == ({2}, {1})
            told.append(len(trips))
            await b.writer.rollback()
        assert told == [2, 1]
        await a.writer.rollback()

    go(postgres_dsn, 2, body)


@pytest.mark.parametrize(
    ("second", "error"),
    [
        (Batch(at=1, answers=[Answer("me", "key", b"other", 201, "/", b"", 1)]), Busy),
        (Batch(at=1, entities=[Entity("job", "x", 1, 1, 1, b"other", facts=b"made")]), Busy),
        (Batch(at=1, tasks=[TaskCell(77, 0)]), StoreError),
        (Batch(at=1, runs=[RunCell(77, 1)]), StoreError),
        (Batch(at=1, new_tasks=[TaskCell(1, 0)]), Busy),
    ],
    ids=["answer", "entity", "task", "run", "key"],
)
def test_what_the_store_refuses_is_not_committed_though_commit_was_on_its_way(
    postgres_dsn: str, second: Batch, error: type[Exception]
) -> None:
    async def body(store: PostgresStore) -> None:
        first = made(1)
        first.answers = [Answer("me", "key", b"digest", 201, "/runs/1", b"", 1)]
        first.entities = [Entity("job", "x", 1, 1, 1, b"a", facts=b"made")]
        await commit(store, first)
        second.commits = [CommitRow(2, 1, 1, "me", "test")]
        second.new_runs = made(2).new_runs
        with pytest.raises(error) as caught:
            await commit(store, second)
        assert type(caught.value) is error
        assert await store.reader.run(2) is None
        assert await store.reader.commits([2]) == []
        await commit(store, made(3))
        assert await store.reader.run(3) is not None

    go(postgres_dsn, 1, body)


def test_who_is_cancelled_in_a_question_leaves_a_line_that_nobody_uses_again(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def body(a: PostgresStore, b: PostgresStore) -> None:
        await commit(a, made(1))
        await a.writer.begin()
        await a.writer.lock_runs([1])

        async def transaction() -> None:
            await b.writer.begin()
            try:
                await b.writer.lock_runs([1], wait=True)
            finally:
                await b.writer.rollback()

        asked = asyncio.Event()
        ready = Wire._ready

        async def told(wire: Wire, *, write: bool = False) -> None:
            asked.set()
            await ready(wire, write=write)

        monkeypatch.setattr(Wire, "_ready", told)
        waiting = asyncio.create_task(transaction())
        await asked.wait()
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        await a.writer.rollback()
        await commit(b, made(2))
        assert await b.reader.run(2) is not None

    go(postgres_dsn, 2, body)
