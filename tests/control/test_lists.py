"""Lists whose items become tasks: read and decoded once for all their pages, within a bound."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from tests.control.ledger_world import ALICE, settle, world

from headrace.control.lists import ListKey, Lists
from headrace.model.definition import JobDefinition
from headrace.model.ids import WHOLE
from headrace.model.states import RunState


def key(run: int, version: int = 1) -> Any:
    return (run, 0, WHOLE), version


def test_the_lists_together_stay_within_the_bound_and_the_oldest_leaves() -> None:
    lists = Lists(size=100)
    for run in range(3):
        lists.put(key(run), [run], 40)
    assert lists.size == 80
    assert [lists.get(key(run)) for run in range(3)] == [None, [1], [2]]
    lists.get(key(1))
    lists.put(key(3), [3], 40)
    assert [lists.get(key(run)) for run in range(4)] == [None, [1], None, [3]]
    lists.put(key(4), [4], 101)
    assert lists.get(key(4)) is None
    lists.put(key(3), [3, 3], 60)
    assert (lists.size, lists.get(key(3))) == (100, [3, 3])
    lists.drop(key(1))
    lists.drop(key(1))
    lists.drop(key(3))
    assert lists.size == 0


def test_another_version_of_the_task_is_another_list() -> None:
    lists = Lists()
    lists.put(key(1, 4), ["old"], 5)
    assert lists.get(key(1, 5)) is None


@pytest.mark.parametrize("count", [5_500, -1])  # the second: as of a result that is one JSON text
def test_a_list_is_read_from_the_store_once_for_all_its_pages_and_let_go(tmp_path: Path, count: int) -> None:
    async def body() -> None:
        async with world(tmp_path) as w:
            tasks = [
                {"name": "list", "command": ["true"]},
                {"name": "many", "command": ["true"], "each": "${tasks.list.result}"},
            ]
            graph = await w.ledger.keep(msgspec.convert({"name": "wide", "tasks": tasks}, JobDefinition))
            read: list[Any] = []
            real = w.store.writer.load_values

            async def counted(keys: Any) -> Any:
                read.extend(keys)
                return await real(keys)

            w.store.writer.load_values = counted  # type: ignore[method-assign]  # it only counts
            first = await w.submitted(graph)
            text = msgspec.json.encode(list(range(5_500)))
            said = settle(first, result=text)
            assert said.result is not None
            said = msgspec.structs.replace(said, result=msgspec.structs.replace(said.result, count=count))
            await w.ledger.ask_many([said], ALICE)
            done = 1
            while True:
                while not w.ledger.idle:
                    await asyncio.sleep(0)
                given = w.dispatches(first.key[0])[done:]
                if not given:
                    break
                done += len(given)
                await w.ledger.ask_many([settle(d) for d in given], ALICE)
            row = await w.store.reader.run(first.key[0])
            assert row is not None
            assert row.cell.state == RunState.succeeded
            assert done == 5_501
            assert read.count(first.key) == 1  # the group in which it was settled has it at hand
            assert w.ledger._lists.size == 0

    asyncio.run(body())


def test_large_parameters_are_decoded_once_for_all_groups_of_changes_and_let_go_with_the_run(tmp_path: Path) -> None:
    class Counted(Lists):
        put_: ClassVar[list[int]] = []

        def put(self, key: ListKey, items: Any, size: int) -> None:
            self.put_.append(size)
            super().put(key, items, size)

    async def body() -> None:
        async with world(tmp_path) as w:
            tasks = [{"name": "many", "command": ["echo", "${params.word}"], "each": "${params.all}"}]
            graph = await w.ledger.keep(msgspec.convert({"name": "wide", "tasks": tasks}, JobDefinition))
            params = msgspec.json.encode({"all": list(range(2_500)), "word": "x"})
            submit = await w.submit(graph)
            submit = msgspec.structs.replace(submit, input=msgspec.structs.replace(submit.input, params=params))
            w.ledger._lists = Counted()
            await w.ledger.ask(submit, ALICE)
            done = 0
            while True:
                while not w.ledger.idle:
                    await asyncio.sleep(0)
                given = w.dispatches(submit.run)[done:]
                if not given:
                    break
                assert {d.spec.argv[1] for d in given} == {"x"}
                done += len(given)
                await w.ledger.ask_many([settle(d) for d in given], ALICE)
            row = await w.store.reader.run(submit.run)
            assert row is not None
            assert row.cell.state == RunState.succeeded
            assert done == 2_500
            assert Counted.put_ == [len(params)]
            assert w.ledger._lists.size == 0

    asyncio.run(body())
