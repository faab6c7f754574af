"""So many runs of a job at once: queue, skip, replace, refuse, through API, ledger and admission loop."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.control.api_world import World, run_async
from tests.control.whole import until

from headrace.model.states import RunState


def job(when_full: str = "queue", *, most: int = 1, key: str | None = None, **more: Any) -> dict[str, Any]:
    rule: dict[str, Any] = {"max": most, "when_full": when_full} | ({"key": key} if key else {})
    return {"name": "close", "tasks": [{"name": "t", "command": ["true"]}], "concurrency": rule, **more}


async def saved(world: World, definition: dict[str, Any]) -> None:
    answer = await world.put(f"/jobs/{definition['name']}", definition)
    assert answer.status in (200, 201), answer.json


async def run(world: World, **params: Any) -> int:
    answer = await world.post("/jobs/close/runs", {"params": params})
    assert answer.status == 201, answer.json
    number: int = answer.json["id"]
    return number


async def state(world: World, number: int) -> str:
    row = await world.node.store.reader.run(number)
    assert row is not None
    return row.cell.state.name


async def begun(world: World, number: int) -> bool:
    cell = await world.node.store.reader.task((number, 0, -1))
    return cell is not None and cell.state.name == "dispatched"


@run_async
async def test_queued_runs_have_their_turn_in_the_order_of_their_submit(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job(most=2))
        runs = [await run(world) for _ in range(5)]
        assert [await begun(world, r) for r in runs] == [True, True, False, False, False]
        for at in range(3):
            await world.settle(runs[at])
            await until(lambda at=at: begun(world, runs[at + 2]))
            assert [await begun(world, r) for r in runs[at + 3 :]] == [False] * (2 - at)
        await world.settle(runs[3])
        await world.settle(runs[4])
        assert await world.node.store.reader.holders("job:close") == []


@run_async
async def test_runs_count_apart_for_each_value_of_the_key(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job(key="${params.day}"))
        monday, again, tuesday = await run(world, day="mon"), await run(world, day="mon"), await run(world, day="tue")
        assert [await begun(world, r) for r in (monday, again, tuesday)] == [True, False, True]
        (reason,) = (await world.get(f"/runs/{again}/explain")).json["reasons"]
        assert reason["code"] == "concurrency"
        assert reason["refers_to"] == str(monday)
        await world.settle(monday)
        await until(lambda: begun(world, again))


@run_async
async def test_an_exclusive_job_refuses_a_second_run_and_names_the_one_in_the_way(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        definition = job()
        del definition["concurrency"]
        await saved(world, {**definition, "exclusive": True})
        first = await run(world)
        second = await world.post("/jobs/close/runs", {})
        assert second.status == 409
        assert str(first) in second.json["detail"]
        await world.settle(first)
        assert (await world.post("/jobs/close/runs", {})).status == 201


@run_async
async def test_a_skipped_run_is_recorded_as_canceled_and_says_why(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job("skip"))
        first = await run(world)
        second = await world.post("/jobs/close/runs", {})
        assert second.status == 201
        assert second.json["state"] == "canceled"
        seen = (await world.get(f"/runs/{second.json['id']}")).json
        assert seen["state"] == "canceled"
        assert seen["reason"].startswith("skipped: ")
        assert str(first) in seen["reason"]
        assert [t["state"] for t in seen["tasks"]] == ["canceled"]
        await world.settle(first)
        assert await begun(world, await run(world))


@run_async
async def test_replace_cancels_the_older_run_and_begins_when_that_has_ended(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job("replace"))
        first = await run(world)
        second, third = await run(world), await run(world)
        assert await state(world, first) == "stopping"
        await until(lambda: _is(world, second, RunState.canceled))
        assert not await begun(world, third)
        await world.settle(first, kind=_canceled())
        await until(lambda: begun(world, third))
        assert await state(world, first) == "canceled"


def _canceled() -> Any:
    from headrace.model.changes import OutcomeKind

    return OutcomeKind.canceled


async def _is(world: World, number: int, wanted: RunState) -> bool:
    return await state(world, number) == wanted.name


@run_async
async def test_a_run_that_is_canceled_while_it_waits_ends_whole_and_leaves_the_queue(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        definition = job()
        definition["tasks"].append({"name": "tidy", "command": ["true"], "finally": True})
        await saved(world, definition)
        runs = [await run(world) for _ in range(3)]
        assert (await world.post(f"/runs/{runs[1]}/cancel", {})).status == 202
        await until(lambda: _is(world, runs[1], RunState.canceled))
        seen = (await world.get(f"/runs/{runs[1]}")).json
        assert [t["state"] for t in seen["tasks"]] == ["canceled", "canceled"], "what was never let in tidies nothing"
        await world.settle(runs[0])
        await until(lambda: _task(world, runs[0], 1))
        await world.settle(runs[0], 1)
        await until(lambda: begun(world, runs[2]))


async def _task(world: World, number: int, no: int) -> bool:
    cell = await world.node.store.reader.task((number, no, -1))
    return cell is not None and cell.state.name == "dispatched"


@run_async
async def test_a_paused_run_leaves_the_queue_and_has_its_old_place_again_when_resumed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job())
        runs = [await run(world) for _ in range(4)]
        await world.post(f"/runs/{runs[1]}/pause", {})
        await world.settle(runs[0])
        await until(lambda: begun(world, runs[2]))
        await world.post(f"/runs/{runs[1]}/resume", {})
        await world.settle(runs[2])
        await until(lambda: begun(world, runs[1]))
        assert not await begun(world, runs[3])


@run_async
async def test_who_waits_is_let_in_after_control_began_anew(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job())
        first, second = await run(world), await run(world)
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        assert not await begun(world, second)
        await world.settle(first)
        await until(lambda: begun(world, second))


@run_async
async def test_a_batch_of_which_one_is_refused_is_refused_whole_and_holds_nothing(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job("refuse"))
        batch = {"runs": [{"job": "close"}, {"job": "close"}]}
        assert (await world.post("/runs/batch", batch)).status == 409
        assert await world.node.store.reader.holders("job:close") == []
        assert await begun(world, await run(world))


@run_async
async def test_all_versions_of_a_job_count_together(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job())
        first = await run(world)
        await saved(world, job(description="the next version"))
        second = await run(world)
        assert [await begun(world, first), await begun(world, second)] == [True, False]


@run_async
async def test_a_run_that_begins_later_comes_to_the_gate_when_its_time_has_come(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await saved(world, job("skip"))
        late = await world.post("/jobs/close/runs", {"delay": "300ms"})
        first = await run(world)
        assert await begun(world, first)
        assert (await world.get(f"/runs/{late.json['id']}")).json["state"] == "queued"
        await until(lambda: _is(world, late.json["id"], RunState.canceled))
        assert str(first) in (await world.get(f"/runs/{late.json['id']}")).json["reason"]
        await world.settle(first)
        again = await world.post("/jobs/close/runs", {"delay": "10ms"})
        await until(lambda: begun(world, again.json["id"]))
