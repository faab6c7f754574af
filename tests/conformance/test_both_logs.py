"""What both stores promise of history in commit order. Each test runs on SQLite and on PostgreSQL."""

from __future__ import annotations

import asyncio
import random

import pytest
from both_stores import Fresh

from headrace.model.cells import RunCell, RunInput
from headrace.model.facts import RunSubmitted, TaskReadied
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.store.port import Store
from headrace.store.rows import Batch, CommitRow, Entity, HistoryRow, LogPage, NewRun, Place, Touched
from headrace.store.touched import pack, unpack

AT = 1_700_000_000_000_000


def run(number: int) -> NewRun:
    return NewRun(RunInput(number, 1, "j", 1, AT), RunCell(number, 1, created_at=AT))


def row(number: int, version: int, commit: int, no: int = RUN_ITSELF, index: int = WHOLE) -> HistoryRow:
    fact = RunSubmitted() if no == RUN_ITSELF else TaskReadied(no, index)
    return HistoryRow(number, no, index, version, AT, commit, (fact,), RunCell(number, 1, version=version))


def thing(name: str, version: int, commit: int, facts: bytes = b"saved") -> Entity:
    return Entity("job", name, version, AT, AT, b"image", facts=facts, commit=commit)


async def write(store: Store, commit: int, **parts: object) -> None:
    await store.writer.begin()
    await store.writer.write(
        Batch(AT, commits=[CommitRow(commit, AT, 1, "a", "test"), CommitRow(commit + 1, AT, 1, "b", "t")], **parts)
    )  # type: ignore[arg-type]  # test data
    await store.writer.commit()


def test_a_commit_says_what_of_the_history_it_wrote(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        assert (await store.reader.log(Place(), 10)).entries == []
        assert await store.reader.log_end() == Place()
        await write(store, 1, new_runs=[run(9), run(7)], history=[row(9, 1, 1), row(7, 1, 1), row(7, 3, 1, 2, 5)])
        await write(store, 5, entities=[thing("n", 1, 5), thing("m", 4, 5, b"")])
        await write(store, 8, runs=[RunCell(9, 1)], history=[row(9, 2, 8)])
        first, second, third = (await store.reader.log(Place(), 10)).entries
        assert (first.commit, second.commit, third.commit) == (1, 5, 8)
        assert first.touched.history == ((9, -1, -1, 1), (7, -1, -1, 1), (7, 2, 5, 3))
        assert second.touched == Touched(entities=(("job", "n", 1),))
        assert third.touched == Touched(history=((9, -1, -1, 2),))
        assert await store.reader.log(first.place, 1) == LogPage([second], more=True)
        assert await store.reader.log(third.place, 1) == LogPage([])
        assert await store.reader.log_end() == third.place

        rows = await store.reader.history_at([*first.touched.history, (7, 2, 5, 99), (1234, -1, -1, 1)])
        assert sorted((h.run, h.no, h.index, h.version) for h, _, _ in rows) == sorted(first.touched.history)
        assert {h.facts for h, graph, actor in rows if (graph, actor) == (1, "a")} == {
            (RunSubmitted(),),
            (TaskReadied(2, 5),),
        }
        named = await store.reader.entities_at([("job", "n", 1), ("job", "n", 2), ("job", "m", 4)])
        assert [(e.name, e.version, e.commit, actor) for e, actor in named] == [("n", 1, 5, "a")]

    fresh.run(body)


def test_commits_without_history_have_no_place(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        await write(store, 1, entities=[thing("cursor", 1, 1, b"")])
        assert (await store.reader.log(Place(), 10)).entries == []

    fresh.run(body)


def test_the_order_of_commits_holds_after_reopening(fresh: Fresh) -> None:
    async def main() -> None:
        seen = []
        for life in range(3):
            async with fresh.open() as store:
                await write(store, 10 * life + 1, entities=[thing("n", life + 1, 10 * life + 1)])
                seen.append(await store.reader.log_end())
        assert seen == sorted(set(seen))

    asyncio.run(main())


def test_nothing_appears_behind_a_place_that_was_shown_and_what_was_read_comes_first(postgres_dsn: str) -> None:
    """Writers on one PostgreSQL, whose transactions begin, wait for each other and end in any order."""
    from headrace.store.postgres.store import open_store

    writers, each = 5, 40
    told: list[tuple[str, int]] = []

    async def write_on(store: Store, no: int, dice: random.Random) -> None:
        for turn in range(each):
            names = dice.sample("abcdefgh", 2)
            await store.writer.begin()
            # a row of its own is locked first, so that it has its number long before it reads what others wrote
            await store.writer.lock_entities([("job", f"own{no}")])
            await asyncio.sleep(dice.random() * 0.004)  # the work itself takes its time
            held = await store.writer.lock_entities([("job", name) for name in sorted(names)])
            commit = 1000 * (no + 1) + 2 * turn
            things = [thing(name, held[("job", name)].version + 1, commit) for name in names]
            await store.writer.write(Batch(AT, commits=[CommitRow(commit, AT, no, "a", "t")], entities=things))
            await asyncio.sleep(dice.random() * 0.004)  # the work itself takes its time
            await store.writer.commit()

    async def watch(store: Store, done: asyncio.Event) -> None:
        after = Place()
        while not done.is_set() or await store.reader.log_end() != after:
            for entry in (await store.reader.log(after, 3)).entries:
                assert entry.place > after
                after = entry.place
                told.extend((name, version) for _, name, version in entry.touched.entities)

    async def main() -> None:
        stores = [await open_store(postgres_dsn) for _ in range(writers + 1)]
        try:
            owns = [thing(f"own{no}", 1, 1) for no in range(writers)]
            await write(stores[0], 1, entities=[*(thing(name, 1, 1) for name in "abcdefgh"), *owns])
            done = asyncio.Event()
            watching = asyncio.ensure_future(watch(stores[-1], done))
            await asyncio.gather(*(write_on(stores[no], no, random.Random(no)) for no in range(writers)))
            done.set()
            await watching
        finally:
            for store in stores:
                await store.close()

    asyncio.run(asyncio.wait_for(main(), 60))
    for name in "abcdefgh":
        versions = [version for other, version in told if other == name]
        assert versions == list(range(1, len(versions) + 1)), "missed, twice, or before what it was made from"
    assert len(told) == 8 + writers + 2 * writers * each


@pytest.mark.parametrize("seed", range(20))
def test_what_is_packed_is_unpacked(seed: int) -> None:
    dice = random.Random(seed)
    rows = [
        row(dice.choice([1, 2**52]), dice.randrange(9), 1, *dice.choice([(-1, -1), (0, -1), (3, 10**6)]))
        for _ in range(dice.randrange(1, 50))
    ]
    batch = Batch(AT, history=rows, entities=[thing("n", 1, 1), thing("m", 1, 1, b"")])
    packed = pack(batch)
    assert packed is not None
    assert unpack(packed).history == tuple((h.run, h.no, h.index, h.version) for h in rows)
    assert unpack(packed).entities == (("job", "n", 1),)
