"""What is asked of a run that exists: cancel, stop, pause, resume, abandon, restart."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_world import World, run_async

from headrace.control.auth import Role

CHAIN = {"name": "chain", "tasks": [{"name": "a", "command": ["a"]}, {"name": "b", "command": ["b"], "needs": ["a"]}]}


async def submitted(world: World) -> int:
    await world.put("/jobs/chain", CHAIN)
    run: int = (await world.post("/jobs/chain/runs", {})).json["id"]
    return run


@run_async
async def test_a_paused_run_says_why_and_goes_on_when_it_is_resumed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        answer = await world.post(f"/runs/{run}/pause", {"reason": "night"})
        assert (answer.status, answer.json) == (202, {"id": run, "state": "paused"})
        await world.settle(run)
        got = (await world.get(f"/runs/{run}")).json
        assert (got["state"], got["reason"]) == ("paused", "night")
        explained = (await world.get(f"/runs/{run}/explain")).json
        assert [reason["code"] for reason in explained["reasons"]] == ["run_paused"]
        assert explained["decision"] == "paused: waits for resume"
        assert (await world.post(f"/runs/{run}/resume", {})).json == {"id": run, "state": "running"}
        await world.settle(run, 1)
        assert (await world.get(f"/runs/{run}")).json["state"] == "succeeded"


@run_async
async def test_stop_and_abandon_end_a_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        stopped, abandoned = await submitted(world), await submitted(world)
        assert (await world.post(f"/runs/{stopped}/stop", {})).json["state"] == "stopping"
        await world.settle(stopped)
        assert (await world.get(f"/runs/{stopped}")).json["state"] == "canceled"
        assert (await world.post(f"/runs/{abandoned}/abandon", {})).json["state"] == "abandoned"
        got = (await world.get(f"/runs/{abandoned}")).json
        assert [task["state"] for task in got["tasks"]] == ["canceled", "canceled"]


@run_async
async def test_a_verb_that_makes_no_sense_is_a_conflict_that_names_the_state(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        answer = await world.post(f"/runs/{run}/resume", {})
        assert (answer.status, answer.json["detail"]) == (409, f"run {run} is queued: Resume refused")
        await world.post(f"/runs/{run}/abandon", {})
        for verb in ("cancel", "stop", "pause", "resume", "abandon"):
            answer = await world.post(f"/runs/{run}/{verb}", {})
            assert (answer.status, answer.json["detail"]) == (409, f"run {run} has ended: abandoned")
        assert (await world.post("/runs/999/pause", {})).status == 404


@run_async
async def test_a_repeated_request_under_one_key_is_answered_as_the_first(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run = await submitted(world)
        key = {"idempotency-key": "k"}
        first = await world.post(f"/runs/{run}/pause", {}, headers=key)
        await world.post(f"/runs/{run}/resume", {})
        again = await world.post(f"/runs/{run}/pause", {}, headers=key)
        assert (again.status, again.json) == (202, first.json)
        assert (await world.get(f"/runs/{run}")).json["state"] == "queued"


@pytest.mark.parametrize("verb", ["cancel", "stop", "pause", "resume", "abandon"])
def test_a_watcher_asks_nothing_of_a_run(tmp_path: Path, verb: str) -> None:
    @run_async
    async def story() -> None:
        async with World(tmp_path) as world:
            run = await submitted(world)
            assert (await world.post(f"/runs/{run}/{verb}", {}, role=Role.watcher)).status == 403

    story()
