"""Changes that share a commit: how many, with which follow-ups, and that it shows nowhere. On a real SQLite store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ledger_world import ALICE, World, go, job, settle

from headrace.control import group
from headrace.control.changes.result import Result
from headrace.control.group import Bounds
from headrace.core import stepping
from headrace.core.graph import Graph
from headrace.core.work import Offer, Step, Working
from headrace.model.changes import Cancel, Change, Claim, OutcomeKind, Settle, Started
from headrace.model.definition import JobDefinition, Retries, Task, Wait
from headrace.model.errors import (
    Busy,
)
from headrace.model.ids import WHOLE
from headrace.model.states import RunState, TaskState


def test_follow_ups_are_decided_in_the_same_commit(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.ledger.keep(job("chain", *[["true"]] * 20))
        w.room.free = 0
        change = await w.submit(graph)
        await w.ledger.ask(change, ALICE)
        groups = w.ledger.counters.groups
        await w.ledger.ask(Cancel(change.run), ALICE)
        assert w.ledger.counters.groups == groups + 1
        row = await w.store.reader.run(change.run)
        assert row is not None
        assert row.cell.state == RunState.canceled
        assert {t.state for t in await w.store.reader.tasks(change.run)} == {TaskState.canceled}

    go(tmp_path, body)


def test_follow_ups_beyond_the_bounds_come_in_later_commits(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        items = list(range(1200))
        tasks = [Task(name="many", command=["true"], each=items), Task(name="end", command=["true"], needs=["many"])]
        graph = await w.ledger.keep(JobDefinition(name="wide", tasks=tasks))
        change = await w.submit(graph)
        await w.ledger.ask(change, ALICE)
        done = 0
        while True:
            while not w.ledger.idle:
                await asyncio.sleep(0)
            given = w.dispatches(change.run)[done:]
            if not given:
                break
            done += len(given)
            await w.ledger.ask_many([settle(d) for d in given], ALICE)
        assert done == 1201
        row = await w.store.reader.run(change.run)
        assert row is not None
        assert row.cell.state == RunState.succeeded
        assert w.ledger.counters.groups > 5

    go(tmp_path, body, bounds=Bounds(rows=300, changes=100))


def test_follow_ups_that_are_committed_are_not_decided_again_when_the_rest_of_them_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits = 0

    def fault(name: str, /) -> None:
        nonlocal commits
        if name == "ledger.before_commit":
            commits += 1
            if commits > 2 and commits % 2:
                raise Busy("another node has it")

    async def body(w: World) -> None:
        tasks = [Task(name="many", wait=Wait(for_="1h"), each=list(range(64)))]
        graph = await w.ledger.keep(JobDefinition(name="waits", tasks=tasks))
        decided: dict[str, set[int]] = {}

        def spied(graph: Graph, working: Working, change: Change, now: int, dice: float) -> Step:
            decided.setdefault(repr(change), set()).add(w.ledger.counters.groups)
            return stepping.step(graph, working, change, now, dice)

        monkeypatch.setattr(group, "step", spied)
        change = await w.submit(graph)
        await w.ledger.ask(change, ALICE)
        while not w.ledger.idle:
            await asyncio.sleep(0)
        cells = await w.store.reader.tasks(change.run)
        assert {cell.state for cell in cells} == {TaskState.running}
        assert len(cells) == 65
        assert commits > 3
        assert [c for c, groups in decided.items() if len(groups) > 1] == []

    go(tmp_path, body, fault=fault, bounds=Bounds(rows=200))


@pytest.mark.parametrize("commands", [[["true"]], [["true"], ["true"]]])
def test_a_change_says_whether_it_moved_anything(tmp_path: Path, commands: list[list[str]]) -> None:
    async def body(w: World) -> None:
        w.room.free = 0
        change = await w.submit(await w.ledger.keep(job("j", *commands)))
        assert (await w.ledger.ask(change, ALICE)).moved
        claim = Claim(change.run, 0, WHOLE)
        assert not (await w.ledger.ask(claim, ALICE)).moved  # no room
        w.room.free = 1
        assert (await w.ledger.ask(claim, ALICE)).moved
        assert not (await w.ledger.ask(claim, ALICE)).moved  # too late

    go(tmp_path, body)


def test_many_changes_are_worked_off_in_bounded_commits(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        found = await w.ledger.ask_many([await w.submit(graph) for _ in range(250)], ALICE)
        assert [isinstance(f, Result) for f in found] == [True] * 250
        assert w.ledger.counters.groups >= 5
        assert w.ledger.counters.changes == 250
        assert (await w.store.reader.counts())["runs"] == 250

    go(tmp_path, body, bounds=Bounds(changes=50))


def test_groups_are_cut_by_the_cpu_that_deciding_takes_and_not_by_the_clock(tmp_path: Path) -> None:
    groups = []
    for seconds in (0.000_001, 1.0):
        spent = count(0.0, seconds)

        async def body(w: World) -> None:
            graph = await w.one_task()
            before = w.ledger.counters.groups
            await w.ledger.ask_many([await w.submit(graph) for _ in range(1000)], ALICE)
            groups.append(w.ledger.counters.groups - before)

        folder = tmp_path / f"{seconds}"
        folder.mkdir()
        go(folder, body, worked=partial(next, spent))
    assert groups[0] == 2
    assert groups[1] >= 5


def test_who_was_answered_goes_on_before_the_next_group(tmp_path: Path) -> None:
    told: list[str] = []

    def fault(name: str, /) -> None:
        if name == "ledger.before_load":
            told.append("group")

    async def body(w: World) -> None:
        graph = await w.one_task()
        first = [await w.submit(graph) for _ in range(40)]
        second = [await w.submit(graph) for _ in range(40)]
        told.clear()

        async def asked(one: Awaitable[object]) -> None:
            await one
            told.append("answered")

        await asyncio.gather(asked(w.ledger.ask_many(first, ALICE)), asked(w.ledger.ask_many(second, ALICE)))
        assert told == ["group", "answered", "group", "answered"]

    go(tmp_path, body, fault=fault, bounds=Bounds(changes=40))


def test_who_asks_little_while_a_long_group_is_decided_goes_with_its_commit(tmp_path: Path) -> None:
    asking: list[asyncio.Task[Result]] = []

    async def body(w: World) -> None:
        graph = await w.one_task()
        little = await w.submit(graph)
        many = [await w.submit(graph) for _ in range(40)]
        take = w.room.offers

        def offers() -> list[Offer]:
            # Asked once for each group, at its beginning.
            if not asking:
                asking.append(asyncio.ensure_future(w.ledger.ask(little, ALICE)))
            return take()

        w.room.offers = offers  # type: ignore[method-assign]  # reason: the moment at which somebody else asks
        groups = w.ledger.counters.groups
        await w.ledger.ask_many(many, ALICE)
        assert (await asking[0]).moved
        assert w.ledger.counters.groups == groups + 1

    go(tmp_path, body)


def test_a_submit_and_its_cancel_may_share_a_group(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        w.room.free = 0
        graph = await w.ledger.keep(job("chain", ["a"], ["b"], ["c"]))
        change = await w.submit(graph)
        await asyncio.gather(w.ledger.ask(change, ALICE), w.ledger.ask(Cancel(change.run), ALICE))
        row = await w.store.reader.run(change.run)
        assert row is not None
        assert row.cell.state == RunState.canceled
        assert {t.state for t in await w.store.reader.tasks(change.run)} == {TaskState.canceled}

    go(tmp_path, body)


@pytest.mark.parametrize("seed", range(6))
def test_groups_of_any_size_give_what_single_changes_give(tmp_path: Path, seed: int) -> None:
    """The same random changes, alone and in groups: the same cells, facts and versions."""
    results = []
    for name, most in (("single", 1), ("group", 40)):

        async def body(w: World, most: int = most) -> None:
            results.append(await _story(w, random.Random(seed), most))

        go(tmp_path / name, body)
    assert results[0] == results[1]


async def _story(w: World, dice: random.Random, most: int) -> list[Any]:
    w.clock.now = lambda: 1_700_000_000_000_000  # type: ignore[method-assign]  # time stands still: groups differ in it
    retrying = Task(name="t", command=["x"], retries=Retries(max=2, delay="0s", jitter=0))
    graphs = [
        await w.one_task(),
        await w.ledger.keep(job("chain", ["a"], ["b"], ["c"])),
        await w.ledger.keep(JobDefinition(name="again", tasks=[retrying])),
    ]
    w.room.free = 0
    runs: list[int] = []
    sized = random.Random(most)
    for _ in range(12):
        changes: list[Change] = []
        for _ in range(dice.randint(1, 12)):
            if dice.random() < 0.5 or not runs:
                change: Change = await w.submit(dice.choice(graphs))
                runs.append(change.run)
            else:
                change = _random_change(dice, dice.choice(runs))
            changes.append(change)
        while changes:
            count = sized.randint(1, most)
            await asyncio.gather(*(w.ledger.ask(c, ALICE) for c in changes[:count]), return_exceptions=True)
            del changes[:count]
    found: list[Any] = []
    for run in runs:
        row = await w.store.reader.run(run)
        history = await w.store.reader.history(run)
        found.append(
            (row, await w.store.reader.tasks(run), sorted((h.no, h.index, h.version, str(h.facts)) for h in history))
        )
    return found


def _random_change(dice: random.Random, run: int) -> Change:
    """Something that may or may not be allowed now."""
    no, epoch = dice.randrange(3), (1 << 40) + dice.randint(1, 3)
    kind = dice.choice([OutcomeKind.succeeded, OutcomeKind.failed, OutcomeKind.succeeded])
    return dice.choice([
        Cancel(run),
        Claim(run, no, WHOLE),
        Started(run, no, WHOLE, epoch, 7),
        Settle(run, no, WHOLE, epoch, kind, 1, 2, "0", 0, digest=b"%d" % dice.randrange(2)),
    ])  # fmt: skip
