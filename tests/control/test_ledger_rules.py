"""The ledger's rules: what fails alone, what is told once, what is kept where. On a real SQLite store."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from ledger_world import ALICE, World, cursor, delivery, go, job, settle
from msgspec import structs

from headrace.control import graphs, ledger
from headrace.control.changes.jobs import PutJob
from headrace.control.changes.result import AnswerKey, Reply, Result
from headrace.core.graph import Graph
from headrace.core.graph import compile as compile_job
from headrace.core.work import Dispatch, Ended
from headrace.model.cells import Value
from headrace.model.changes import Cancel, OutcomeKind, Started
from headrace.model.definition import JobDefinition, Retries, Task
from headrace.model.errors import (
    Conflict,
    HeadraceError,
    NotFound,
    Refused,
    StoreAway,
    StoreError,
    UnknownOutcome,
)
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RunState, TaskState


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


def test_an_asker_that_is_gone_harms_nobody(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        graph = await w.one_task()
        gone = asyncio.ensure_future(w.ledger.ask(await w.submit(graph), ALICE))
        stays = await w.submit(graph)
        await asyncio.sleep(0)
        gone.cancel()
        assert (await w.ledger.ask(stays, ALICE)).run == stays.run

    go(tmp_path, body)


def test_a_feed_that_is_given_up_while_its_group_is_under_way_is_heard_whole(tmp_path: Path) -> None:
    """The link ends in the middle of a commit: who was told of the end before it would read the cursor of before."""
    asking: list[asyncio.Future[object]] = []
    over: list[bool] = []

    def fault(point: str) -> None:
        if asking and point == "ledger.before_commit":
            asking[0].cancel()
        elif asking and point == "ledger.after_commit":
            over.append(asking[0].done())

    async def body(w: World) -> None:
        await w.hello()
        told = delivery(settle(await w.submitted(await w.one_task())), after=1)
        asking.append(asyncio.ensure_future(w.ledger.deliver(told)))
        await asyncio.wait(asking)
        assert asking.pop().cancelled()
        assert over == [False]
        assert await cursor(w) == 1

    go(tmp_path, body, fault=fault)


def test_a_feed_that_is_given_up_before_any_group_has_it_is_not_heard_at_all(tmp_path: Path) -> None:
    async def body(w: World) -> None:
        await w.hello()
        told = delivery(settle(await w.submitted(await w.one_task())), after=1)
        asking = asyncio.ensure_future(w.ledger.deliver(told))
        await asyncio.sleep(0)
        asking.cancel()
        await asyncio.wait([asking])
        assert asking.cancelled()
        await w.ledger.ask(await w.submit(await w.one_task()), ALICE)
        assert await cursor(w) == 0
        await w.ledger.deliver(told)
        assert await cursor(w) == 1

    go(tmp_path, body)
