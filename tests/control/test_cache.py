"""A task whose work was done before, with the same inputs and lately enough, is not done again."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from tests.control.api_world import World, run_async
from tests.control.whole import until

from headrace.model.cells import Value
from headrace.model.states import TaskState


def job(*tasks: dict[str, Any], **more: Any) -> dict[str, Any]:
    return {"name": "cached", "tasks": list(tasks), **more}


def task(**more: Any) -> dict[str, Any]:
    return {"name": "t", "command": ["echo", "${params.day}"], "cache": {"for": "1h"}, **more}


async def submitted(world: World, definition: dict[str, Any], **params: Any) -> int:
    answer = await world.post("/runs", {"job": definition, "params": params})
    assert answer.status == 201, answer.json
    number: int = answer.json["id"]
    return number


async def state(world: World, run: int, no: int = 0, index: int = -1) -> TaskState:
    async def decided() -> bool:
        cell = await world.node.store.reader.task((run, no, index))
        return cell is not None and cell.state is not TaskState.blocked

    await until(decided)
    cell = await world.node.store.reader.task((run, no, index))
    assert cell is not None
    return cell.state


def value(text: bytes) -> Value:
    return Value(len(text), "inline", text)


@run_async
async def test_the_same_work_with_the_same_inputs_has_its_result_at_once_and_says_whose(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        first = await submitted(world, job(task()), day="mon")
        assert await state(world, first) is TaskState.dispatched
        await world.settle(first, result=value(b'{"sum": 7}'))
        again = await submitted(world, job(task()), day="mon")
        assert await state(world, again) is TaskState.succeeded
        seen = (await world.get(f"/runs/{again}")).json
        assert seen["state"] == "succeeded"
        assert seen["result"] == {"sum": 7}
        assert (seen["tasks"][0]["reason"], seen["tasks"][0]["attempt"]) == ("cached", 0)
        events = (await world.get(f"/runs/{again}/events")).json["items"]
        assert any(e["body"].get("origin") == first for e in events), events
        other = await submitted(world, job(task()), day="tue")
        assert await state(world, other) is TaskState.dispatched


@run_async
async def test_another_command_or_a_failed_attempt_is_no_hit(tmp_path: Path) -> None:
    from headrace.model.changes import OutcomeKind

    async with World(tmp_path) as world:
        await world.agent(slots=100)
        first = await submitted(world, job(task()), day="mon")
        await world.settle(first, kind=OutcomeKind.failed)
        assert await state(world, await submitted(world, job(task()), day="mon")) is TaskState.dispatched
        changed = job(task(command=["printf", "${params.day}"]))
        assert await state(world, await submitted(world, changed, day="mon")) is TaskState.dispatched


@run_async
async def test_a_result_that_is_too_old_is_made_anew(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        short = job(task(cache={"for": "1ms"}))
        first = await submitted(world, short, day="mon")
        await world.settle(first)
        before = world.node.clock.now()
        await until(lambda: world.node.clock.now() > before + 2_000)
        assert await state(world, await submitted(world, short, day="mon")) is TaskState.dispatched


@run_async
async def test_an_explicit_key_alone_says_what_is_the_same(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        keyed = task(cache={"for": "1h", "key": "${params.week}"})
        first = await submitted(world, job(keyed), day="mon", week=12)
        await world.settle(first)
        assert await state(world, await submitted(world, job(keyed), day="tue", week=12)) is TaskState.succeeded
        assert await state(world, await submitted(world, job(keyed), day="tue", week=13)) is TaskState.dispatched


@run_async
async def test_those_that_need_a_cached_task_read_its_result_and_instances_are_found_one_by_one(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        each = {"name": "each", "each": "${tasks.t.result}", "command": ["echo", "${item}"],
                "cache": {"for": "1h", "key": "${item}"}}  # fmt: skip
        first = await submitted(world, job(task(), each), day="mon")
        await world.settle(first, result=Value(6, "inline", b"[1, 2]", "", False, 2))
        for index in range(2):
            assert await state(world, first, 1, index) is TaskState.dispatched
        await world.settle(first, 1, 0, result=value(b'"one"'))
        again = await submitted(world, job(task(), each), day="mon")
        assert await state(world, again) is TaskState.succeeded

        async def there() -> bool:
            return len(await world.node.store.reader.tasks(again, no=1, after=(1, -1))) == 2

        await until(there)
        assert await state(world, again, 1, 0) is TaskState.succeeded
        assert await state(world, again, 1, 1) is TaskState.dispatched
        await world.settle(again, 1, 1, result=value(b'"two"'))
        assert (await world.get(f"/runs/{again}")).json["result"] == ["one", "two"]


@pytest.mark.parametrize("size", [2_000, 300_000])
def test_a_large_result_is_found_again_whole(tmp_path: Path, size: int) -> None:
    text = b'"' + b"x" * size + b'"'

    @run_async
    async def body() -> None:
        async with World(tmp_path) as world:
            await world.agent(slots=100)
            first = await submitted(world, job(task()), day="mon")
            await world.settle(first, result=value(text))
            again = await submitted(world, job(task()), day="mon")
            assert await state(world, again) is TaskState.succeeded
            seen = (await world.get(f"/runs/{again}")).json
            assert len(seen["result"]) == size

    body()
