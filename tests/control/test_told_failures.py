"""Failure is in control's own log: a line per failed attempt, task and run, after the commit, and a bound for floods."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_world import World, run_async

from headrace.control import failures
from headrace.model.changes import OutcomeKind

ONE = {"name": "one", "tasks": [{"name": "say", "command": ["x"], "retries": {"max": 1, "delay": "0s"}}]}
TWO = {
    "name": "two",
    "tasks": [{"name": "a", "command": ["x"]}, {"name": "b", "command": ["x"], "needs": ["a"]}],
}


async def submitted(world: World, job: dict[str, Any]) -> int:
    await world.put(f"/jobs/{job['name']}", job)
    run: int = (await world.post(f"/jobs/{job['name']}/runs", {})).json["id"]
    return run


@run_async
async def test_each_failed_attempt_task_and_run_is_a_line_of_its_own(tmp_path: Path, caplog: Any) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        one = await submitted(world, ONE)
        await world.settle(one, kind=OutcomeKind.failed, exit_status="3")
        await world.settle(one, kind=OutcomeKind.failed, exit_status="4")
        two = await submitted(world, TWO)
        await world.settle(two, kind=OutcomeKind.failed, exit_status="5")
    lines = [r.getMessage() for r in caplog.records if r.name == "headrace.control.failures"]
    assert lines == [
        f"run {one} (one), task say: attempt 1 of 2 failed: exit status 3, and is tried again",
        f"run {one} (one), task say: attempt 2 of 2 failed: exit status 4",
        f"run {one} (one) failed: exit status 4",
        f"run {two} (two), task a: attempt 1 of 1 failed: exit status 5",
        f"run {two} (two) failed: exit status 5",
    ]


@run_async
async def test_what_succeeds_is_no_line(tmp_path: Path, caplog: Any) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        for job in (ONE, TWO):
            run = await submitted(world, job)
            for no in range(len(job["tasks"])):
                await world.settle(run, no)
    assert [r for r in caplog.records if r.name == "headrace.control.failures"] == []


@run_async
async def test_a_flood_is_counted(tmp_path: Path, caplog: Any) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(failures, "LINES_MAX", 3)
        async with World(tmp_path) as world:
            await world.put("/jobs/one", ONE)
            for _ in range(4):
                run = (await world.post("/jobs/one/runs", {})).json["id"]
                await world.post(f"/runs/{run}/cancel", {"reason": "enough"})
            world.node.ledger._failures._over()  # the span ends
        lines = [r.getMessage() for r in caplog.records if r.name == "headrace.control.failures"]
    assert len(lines) == 4
    assert "canceled" in lines[0]
    assert lines[-1] == "5 more attempts, tasks and runs ended badly in 10 s"
