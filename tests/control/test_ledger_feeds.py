"""What an agent's feed tells the ledger: recorded once, in one commit with its cursor and its files. On a real SQLite store."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from ledger_world import ALICE, World, cursor, delivery, go, settle
from msgspec import structs

from headrace.control import group as group_room
from headrace.control.changes.result import Result
from headrace.control.group import Bounds
from headrace.core.work import Dispatch, Ended, StopAttempt
from headrace.model.changes import Settle, Started
from headrace.model.definition import JobDefinition, Task
from headrace.model.errors import (
    Conflict,
    StoreError,
)
from headrace.model.facts import OutcomeRejected, TaskEnded
from headrace.model.ids import WHOLE
from headrace.model.states import RunState, TaskState
from headrace.store.rows import ArtifactRow


def left(*files: tuple[Settle, str, str]) -> dict[tuple[int, int, int, int], list[ArtifactRow]]:
    """What attempts have left: (outcome, path, digest)."""
    found: dict[tuple[int, int, int, int], list[ArtifactRow]] = {}
    for s, path, digest in files:
        found.setdefault((s.run, s.no, s.index, s.epoch), []).append(ArtifactRow(s.run, s.no, s.index, path, digest, 1))
    return found


def test_a_poison_outcome_is_recorded_and_the_feed_moves_on(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        await w.hello()
        graph = await w.one_task()
        d1, d2 = await w.submitted(graph), await w.submitted(graph)
        stale = structs.replace(settle(d1), epoch=d1.epoch - 1)
        nobody = structs.replace(settle(d1), run=424242)
        files = left((stale, "no", "aa"), (settle(d2), "yes", "bb"))
        found = await w.ledger.deliver(delivery(stale, nobody, settle(d2), after=3, artifacts=files))
        assert [isinstance(f, Result) for f in found] == [False, False, True]
        assert await cursor(w) == 3
        assert (w.ledger.counters.refused, w.ledger.counters.stale) == (2, 1)
        history = await w.store.reader.history(d1.key[0])
        assert isinstance(history[-1].facts[0], OutcomeRejected)
        assert [h.version for h in history] == [1, 2]
        assert [a.path for run in (d1, d2) for a in await w.store.reader.artifacts(run.key[0])] == ["yes"]
        row = await w.store.reader.run(d2.key[0])
        assert row is not None
        assert row.cell.state == RunState.succeeded

    go(tmp_path, body)


@pytest.mark.parametrize("changes", [1, 500])
def test_files_of_a_refused_outcome_are_not_kept_and_the_accepted_ones_are(tmp_path: Path, changes: int) -> None:
    """Two lives of one attempt in one feed, decided in one commit and in several."""

    async def body(w: World) -> None:
        await w.hello()
        graph = await w.one_task()
        d, other = await w.submitted(graph), await w.submitted(graph)
        stale, good, last = structs.replace(settle(d), epoch=d.epoch - 1), settle(d), settle(other)
        files = left((good, "out", "new"), (stale, "out", "old"), (stale, "more", "old"), (last, "out", "other"))
        await w.ledger.deliver(delivery(stale, good, stale, last, after=4, artifacts=files))
        found = [(a.path, a.digest) for a in await w.store.reader.artifacts(d.key[0])]
        assert found == [("out", "new")]
        assert [a.digest for a in await w.store.reader.artifacts(other.key[0])] == ["other"]

    go(tmp_path, body, bounds=Bounds(changes=changes))


def test_an_outcome_and_its_files_are_one_commit(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        await w.hello()
        graph = await w.one_task()
        d, other = await w.submitted(graph), await w.submitted(graph)
        told, ended = settle(d), list[int]()
        w.ledger._on_commands = lambda commands: ended.extend(c.run for c in commands if isinstance(c, Ended))
        files = left((told, "out", "aa"))
        delivering = asyncio.ensure_future(w.ledger.deliver(delivery(told, settle(other), after=2, artifacts=files)))
        while not ended:
            await asyncio.sleep(0)
        assert [len(await w.store.reader.artifacts(run)) for run in ended] == [1]
        await delivering

    go(tmp_path, body, bounds=Bounds(changes=1))


async def wide(w: World, count: int = 8) -> list[Dispatch]:
    """The attempts of a group, all given out; the first of them has begun."""
    await w.hello()
    tasks = [Task(name="many", command=["true"], each=list(range(count))), Task(name="end", command=["true"])]
    change = await w.submit(await w.ledger.keep(JobDefinition(name="wide", tasks=tasks)))
    await w.ledger.ask(change, ALICE)
    while not w.ledger.idle:
        await asyncio.sleep(0)
    given = [d for d in w.dispatches(change.run) if d.key[2] >= 0]
    await w.ledger.ask(Started(*given[0].key, given[0].epoch, w.clock.now()), ALICE)
    return given


@pytest.mark.parametrize("rows", [2_000, 1])
def test_outcomes_of_one_group_in_one_feed_count_once_and_each_keeps_its_files(tmp_path: Path, rows: int) -> None:
    async def body(w: World) -> None:
        given = await wide(w)
        run = given[0].key[0]
        told = [settle(d) for d in given]
        stale = structs.replace(told[1], epoch=told[1].epoch - 1)
        feed = [*told[:5], stale, *told[5:]]
        files = left((told[2], "out", "cc"), (told[7], "out", "hh"), (stale, "out", "no"))
        before = len(await w.store.reader.history(run, no=0, index=WHOLE))
        found = await w.ledger.deliver(delivery(*feed, after=9, artifacts=files))
        assert [isinstance(f, Result) for f in found] == [True] * 5 + [False] + [True] * 3
        assert await cursor(w) == 9
        assert [(a.index, a.digest) for a in await w.store.reader.artifacts(run)] == [(2, "cc"), (7, "hh")]
        group, *instances = await w.store.reader.tasks(run, no=0)
        assert group.counts is not None
        assert (group.state, group.counts.succeeded) == (TaskState.succeeded, 8)
        told_of_group = (await w.store.reader.history(run, no=0, index=WHOLE))[before:]
        assert [h.version for h in told_of_group] == list(range(before + 1, before + 1 + len(told_of_group)))
        # Five together, two together, and the last one, which closes the group; one by one where a commit takes one.
        assert len(told_of_group) == (3 if rows > 1 else 8)
        for d in given:
            (fact,) = [
                f
                for h in await w.store.reader.history(run, no=0, index=d.key[2])
                for f in h.facts
                if isinstance(f, TaskEnded)
            ]
            assert (fact.index, fact.state) == (d.key[2], TaskState.succeeded)
        assert all(cell.state is TaskState.succeeded for cell in instances)

    go(tmp_path, body, bounds=Bounds(rows=rows))


def test_what_raises_in_a_page_of_outcomes_is_decided_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def body(w: World) -> None:
        given = await wide(w)
        found = await w.ledger.deliver(delivery(*[settle(d) for d in given], after=8))
        assert [isinstance(f, Result) for f in found] == [True] * 8
        (group, *_) = await w.store.reader.tasks(given[0].key[0], no=0)
        assert group.state is TaskState.succeeded

    monkeypatch.setattr(group_room, "settle_page", broken)
    go(tmp_path, body)


def test_the_same_outcome_told_twice_is_already_done(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        await w.hello()
        d = await w.submitted(await w.one_task())
        await w.ledger.deliver(delivery(settle(d), after=1))
        before = await w.store.reader.history(d.key[0])
        found = await w.ledger.deliver(delivery(settle(d), after=1))
        assert isinstance(found[0], Result)
        assert await w.store.reader.history(d.key[0]) == before
        assert w.ledger.counters.refused == 0

    go(tmp_path, body)


def test_the_cursor_and_what_it_covers_are_one_commit(tmp_path: Path) -> None:
    armed = False

    def fault(name: str, /) -> None:
        if armed and name == "store.before_commit":
            raise StoreError("disk gone")

    async def body(w: World) -> None:
        nonlocal armed
        await w.hello()
        d = await w.submitted(await w.one_task())
        armed = True
        with pytest.raises(StoreError):
            await w.ledger.deliver(delivery(settle(d), after=1))
        armed = False
        assert await cursor(w) == 0
        row = await w.store.reader.run(d.key[0])
        assert row is not None
        assert row.cell.state == RunState.queued
        await w.ledger.deliver(delivery(settle(d), after=1))
        assert await cursor(w) == 1

    go(tmp_path, body, fault=fault)


def test_a_feed_of_an_older_life_is_refused(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        await w.hello(boot="b1")
        d = await w.submitted(await w.one_task())
        await w.ledger.deliver(delivery(after=5))
        await w.hello(boot="b2")
        assert await cursor(w) == 0
        with pytest.raises(Conflict):
            await w.ledger.deliver(delivery(settle(d), after=6, boot="b1"))
        assert await cursor(w) == 0
        row = await w.store.reader.run(d.key[0])
        assert row is not None
        assert row.cell.state == RunState.queued

    go(tmp_path, body)


def test_a_stale_start_is_killed(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        await w.hello()
        d = await w.submitted(await w.one_task())
        note = Started(*d.key, d.epoch - 1, 1)
        await w.ledger.deliver(delivery(after=0, started=[note]))
        assert [c.epoch for c in w.commands if isinstance(c, StopAttempt)] == [d.epoch - 1]

    go(tmp_path, body)
