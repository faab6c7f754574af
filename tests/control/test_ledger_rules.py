"""The ledger's rules: what fails alone, what is told once, what stands in one commit. On a real SQLite store."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from ledger_world import ALICE, World, job, settle, world
from msgspec import structs

from headrace.control import graphs, group, ledger
from headrace.control.changes.agents import AGENT, read_agent
from headrace.control.changes.jobs import PutJob
from headrace.control.changes.result import AnswerKey, Reply, Result
from headrace.control.delivery import Delivery
from headrace.control.group import Bounds
from headrace.core import stepping
from headrace.core.graph import Graph
from headrace.core.graph import compile as compile_job
from headrace.core.work import Dispatch, Ended, Step, StopAttempt, Working
from headrace.model.cells import Value
from headrace.model.changes import Cancel, Change, Claim, OutcomeKind, Settle, Started
from headrace.model.definition import JobDefinition, Retries, Task, Wait
from headrace.model.errors import (
    Busy,
    Conflict,
    HeadraceError,
    NotFound,
    Refused,
    StoreAway,
    StoreError,
    UnknownOutcome,
)
from headrace.model.facts import OutcomeRejected
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState, TaskState
from headrace.store.rows import ArtifactRow


def go(folder: Path, body: Callable[[World], Awaitable[None]], **options: Any) -> None:
    async def main() -> None:
        async with asyncio.timeout(60), world(folder, **options) as w:
            await body(w)

    asyncio.run(main())


def delivery(*settles: Settle, after: int, boot: str = "b1", **more: Any) -> Delivery:
    return Delivery(1, "a", 1, boot, after, list(settles), more.get("started", []), more.get("artifacts", {}))


def left(*files: tuple[Settle, str, str]) -> dict[tuple[int, int, int, int], list[ArtifactRow]]:
    """What attempts have left: (outcome, path, digest)."""
    found: dict[tuple[int, int, int, int], list[ArtifactRow]] = {}
    for s, path, digest in files:
        found.setdefault((s.run, s.no, s.index, s.epoch), []).append(ArtifactRow(s.run, s.no, s.index, path, digest, 1))
    return found


async def cursor(w: World) -> int:
    entity = await w.store.reader.entity((AGENT, "a"))
    assert entity is not None
    return read_agent(entity.image).after


def test_a_run_is_submitted_claimed_settled_and_read_back(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        d = await w.submitted(await w.one_task())
        result = await w.ledger.ask(settle(d, result=b"42"), ALICE)
        assert result.cell is not None
        assert result.cell.state == RunState.succeeded
        row = await w.store.reader.run(d.key[0])
        assert row is not None
        assert row.cell == result.cell
        assert [h.version for h in await w.store.reader.history(d.key[0])] == [1, 2]
        assert any(isinstance(c, Ended) and c.run == d.key[0] for c in w.commands)

    go(tmp_path, body)


def test_a_refused_change_fails_alone(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        good, other = await w.submit(graph), await w.submit(graph)
        found = await asyncio.gather(
            w.ledger.ask(good, ALICE),
            w.ledger.ask(Cancel(999_999), ALICE),
            w.ledger.ask(structs.replace(good), ALICE),
            w.ledger.ask(other, ALICE),
            return_exceptions=True,
        )
        assert [type(f) for f in found] == [Result, Refused, Refused, Result]
        assert w.ledger.counters.groups == 2
        assert await w.store.reader.run(other.run) is not None

    go(tmp_path, body)


def test_a_change_that_cannot_be_loaded_or_raises_fails_alone(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        good = await w.submit(graph)
        unknown_graph = await w.submit(777)
        nonsense = await w.submit(graph)
        nonsense = structs.replace(nonsense, input=structs.replace(nonsense.input, priority=None))
        found = await w.ledger.ask_many([good, unknown_graph, nonsense], ALICE)
        assert isinstance(found[0], Result)
        assert isinstance(found[1], NotFound)
        assert isinstance(found[2], HeadraceError)
        assert await w.store.reader.run(good.run) is not None
        assert await w.store.reader.run(nonsense.run) is None

    go(tmp_path, body)


def test_a_batch_is_all_or_nothing_and_gives_room_back(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        w.room.free = 2
        graph = await w.one_task()
        first, second, last = [await w.submit(graph) for _ in range(3)]
        both = asyncio.gather(
            w.ledger.ask_all([first, second, structs.replace(first)], ALICE),
            w.ledger.ask(last, ALICE),
            return_exceptions=True,
        )
        bad, good = await both
        assert isinstance(bad, Refused)
        assert isinstance(good, Result)
        assert [c.key[0] for c in w.commands if isinstance(c, Dispatch)] == [last.run]
        assert await w.store.reader.run(first.run) is None
        assert await w.store.reader.history(first.run) == []
        assert await w.store.reader.counts() == {"ready": 0, "leased": 1, "due": 0, "runs": 1}
        assert len(await w.ledger.ask_all([first, second], ALICE)) == 2

    go(tmp_path, body)


def test_the_same_key_gets_the_first_answer_and_another_body_is_a_conflict(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()

        def key(request: bytes) -> AnswerKey:
            return AnswerKey("alice", "k", request, lambda r: Reply(201, f"/runs/{r[0].run}", b"body %d" % r[0].run))

        one, two, three = [await w.submit(graph) for _ in range(3)]
        first, again = await asyncio.gather(
            w.ledger.ask(one, ALICE, answer=key(b"x")), w.ledger.ask(two, ALICE, answer=key(b"x"))
        )
        assert first.answer is None
        assert again.answer is not None
        assert (again.answer.location, again.answer.body) == (f"/runs/{one.run}", b"body %d" % one.run)
        later = await w.ledger.ask(two, ALICE, answer=key(b"x"))
        assert later.answer == again.answer
        with pytest.raises(Conflict):
            await w.ledger.ask(three, ALICE, answer=key(b"y"))
        assert await w.store.reader.run(two.run) is None
        assert await w.store.reader.run(three.run) is None

    go(tmp_path, body)


def test_a_refused_change_leaves_its_key_free(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        key = AnswerKey("alice", "k", b"x", lambda r: Reply(202, "", b""))
        with pytest.raises(Refused):
            await w.ledger.ask(Cancel(12345), ALICE, answer=key)
        result = await w.ledger.ask(await w.submit(graph), ALICE, answer=key)
        assert result.answer is None

    go(tmp_path, body)


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


def test_nobody_is_told_of_success_when_the_commit_is_unknown(tmp_path: Path) -> None:
    armed = False

    def fault(name: str, /) -> None:
        if armed and name == "store.before_commit":
            raise UnknownOutcome("who knows")

    async def body(w: World) -> None:
        nonlocal armed
        graph = await w.one_task()
        one, two = await w.submit(graph), await w.submit(graph)
        armed = True
        found = await asyncio.gather(w.ledger.ask(one, ALICE), w.ledger.ask(two, ALICE), return_exceptions=True)
        armed = False
        assert [type(f) for f in found] == [UnknownOutcome, UnknownOutcome]
        assert w.dispatches(one.run) == []
        assert isinstance(await w.ledger.ask(await w.submit(graph), ALICE), Result)

    go(tmp_path, body, fault=fault)


def test_a_line_that_was_cut_is_no_asker_s_trouble(tmp_path: Path) -> None:
    cuts = 1

    def fault(name: str, /) -> None:
        nonlocal cuts
        if armed and name == "store.before_write" and cuts:
            cuts -= 1
            raise StoreAway("the line was cut")

    armed = False

    async def body(w: World) -> None:
        nonlocal armed
        graph = await w.one_task()
        one, two = await w.submit(graph), await w.submit(graph)
        armed = True
        found = await asyncio.gather(w.ledger.ask(one, ALICE), w.ledger.ask(two, ALICE))
        assert [f.run for f in found] == [one.run, two.run]
        assert (cuts, w.ledger.counters.away) == (0, 1)
        assert [len(w.dispatches(run)) for run in (one.run, two.run)] == [1, 1]

    go(tmp_path, body, fault=fault)


def test_while_the_store_is_away_askers_are_told_and_a_feed_waits(tmp_path: Path) -> None:
    armed = False

    def fault(name: str, /) -> None:
        if armed and name == "store.before_write":
            raise StoreAway("nobody answers")

    async def body(w: World) -> None:
        nonlocal armed
        await w.hello()
        d = await w.submitted(await w.one_task())
        armed = True
        fed = asyncio.ensure_future(w.ledger.deliver(delivery(settle(d), after=1)))
        asked = await w.submit(d.graph)
        with pytest.raises(StoreAway):
            await w.ledger.ask(asked, ALICE)
        assert not fed.done()
        armed = False
        await fed
        assert await cursor(w) == 1

    go(tmp_path, body, fault=fault)


def test_a_group_that_the_store_refuses_is_decided_again_one_by_one(tmp_path: Path) -> None:
    calls = 0

    def fault(name: str, /) -> None:
        nonlocal calls
        if name == "store.after_write":
            calls += 1
            if calls == 2:
                raise StoreError("a row that it does not like")

    async def body(w: World) -> None:
        graph = await w.one_task()
        one, two = await w.submit(graph), await w.submit(graph)
        found = await asyncio.gather(w.ledger.ask(one, ALICE), w.ledger.ask(two, ALICE))
        assert [f.run for f in found] == [one.run, two.run]
        for run in (one.run, two.run):
            assert len(await w.store.reader.history(run)) == 1
            assert len(w.dispatches(run)) == 1

    go(tmp_path, body, fault=fault)


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


def test_results_stand_where_their_size_says(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        for size, place in ((10, "inline"), (5_000, "aside"), (300_000, "blob")):
            d = await w.submitted(graph)
            text = b'"' + b"x" * (size - 2) + b'"'
            await w.ledger.ask_many([settle(d, result=text)], ALICE)
            cell = await w.store.reader.task(d.key)
            assert cell is not None
            assert cell.result is not None
            assert cell.result.place == place
            value = await w.store.reader.value(d.key)
            assert value is not None
            assert value.data == text

    go(tmp_path, body)


def test_an_attempt_that_is_followed_keeps_what_it_said(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        task = Task(name="t", command=["false"], retries=Retries(max=2, delay="0s", jitter=0))
        graph = await w.ledger.keep(JobDefinition(name="again", tasks=[task]))
        d = await w.submitted(graph)
        texts = [b'{"n":%d,"x":"' % n + b"y" * 3000 + b'"}' for n in (1, 2, 3)]
        for text in texts:
            given = w.dispatches(d.key[0])[-1]
            failed = settle(given, OutcomeKind.failed)
            await w.ledger.ask_many([structs.replace(failed, error=Value(len(text), "aside", text))], ALICE)
        attempts = await w.store.reader.attempts(d.key)
        assert [(a.attempt, a.cell.state, a.cell.error and a.cell.error.data) for a in attempts] == [
            (1, TaskState.failed, texts[0]), (2, TaskState.failed, texts[1]),
        ]  # fmt: skip
        last = await w.store.reader.error(d.key)
        assert last is not None
        assert last.data == texts[2]

    go(tmp_path, body)


def test_a_definition_is_compiled_once_however_often_it_is_kept(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    compiled: list[str] = []

    def spied(definition: JobDefinition) -> Graph:
        compiled.append(definition.name)
        return compile_job(definition)

    for module in (ledger, graphs):
        monkeypatch.setattr(module, "compile_job", spied)

    async def body(w: World) -> None:
        numbers = {await w.ledger.keep(job("one", ["true"])) for _ in range(3)}
        assert (len(numbers), compiled) == (1, ["one"])
        assert await w.ledger.keep(job("two", ["true"])) not in numbers

    go(tmp_path, body)


def test_saving_a_job_is_new_unchanged_changed_or_a_conflict(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        async def put(definition: JobDefinition, *, create: bool = False) -> Any:
            document = await w.ledger.document(definition)
            return (await w.ledger.change(PutJob(definition, document, create), ALICE)).value

        one, two = job("j", ["true"]), job("j", ["false"])
        first = await put(one, create=True)
        assert (first.outcome, first.version) == ("new", 1)
        assert (await put(one, create=True)).outcome == "unchanged"
        with pytest.raises(Conflict):
            await put(two, create=True)
        second = await put(two)
        assert (second.outcome, second.version) == ("changed", 2)
        third = await put(one)
        assert (third.version, third.graph) == (3, first.graph)
        assert [e.version for e in await w.store.reader.entity_versions(("job", "j"))] == [3, 2, 1]
        assert await w.ledger.keep(two) == second.graph

    go(tmp_path, body)


def test_history_is_dense_for_every_entity(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.ledger.keep(job("chain", ["a"], ["b"], ["c"]))
        single = await w.one_task()
        for chosen, steps in ((graph, 3), (single, 1)):
            change = await w.submit(chosen)
            await w.ledger.ask(change, ALICE)
            for step in range(steps):
                d = w.dispatches(change.run)[step]
                await w.ledger.ask(Started(*d.key, d.epoch, 5), ALICE)
                await w.ledger.ask(settle(d), ALICE)
            rows = await w.store.reader.history(change.run)
            versions: dict[tuple[int, int], list[int]] = {}
            for row in sorted(rows, key=lambda r: r.version):
                versions.setdefault((row.no, row.index), []).append(row.version)
            assert all(v == list(range(1, len(v) + 1)) for v in versions.values()), versions
            if chosen == single:
                assert list(versions) == [(RUN_ITSELF, WHOLE)]
            row = await w.store.reader.run(change.run)
            assert row is not None
            assert row.cell.version == versions[RUN_ITSELF, WHOLE][-1]

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


def test_an_asker_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        gone = asyncio.ensure_future(w.ledger.ask(await w.submit(graph), ALICE))
        stays = await w.submit(graph)
        await asyncio.sleep(0)
        gone.cancel()
        assert (await w.ledger.ask(stays, ALICE)).run == stays.run

    go(tmp_path, body)
