"""Runs of more tasks than are shown at once: what failed stands there first, and what is left out is counted."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_world import World, run_async

from headrace.model.changes import SYSTEM, Claim, OutcomeKind, Settle

TASKS = 600
LARGE: dict[str, Any] = {"name": "large", "tasks": [{"name": f"t{n}", "command": ["x"]} for n in range(TASKS)]}


async def ended(world: World, bad: set[int]) -> int:
    """A run of all these tasks, of which these failed."""
    await world.put("/jobs/large", LARGE)
    run: int = (await world.post("/jobs/large/runs", {})).json["id"]
    await world.node.ledger.ask_many([Claim(run, no, -1) for no in range(TASKS)], SYSTEM)
    now = world.node.clock.now()
    said = []
    for no in range(TASKS):
        kind = OutcomeKind.failed if no in bad else OutcomeKind.succeeded
        cell = await world.node.store.reader.task((run, no, -1))
        assert cell is not None
        said.append(Settle(run, no, -1, cell.epoch, kind, now, now, digest=b"x", exit_status="1" if no in bad else "0"))
    await world.node.ledger.ask_many(said, SYSTEM)
    return run


@run_async
async def test_a_failed_task_far_behind_is_shown_everywhere_and_the_rest_is_counted(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=TASKS)
        run = await ended(world, {550})
        view = (await world.get(f"/runs/{run}")).json
        assert view["state"] == "failed"
        assert [t["name"] for t in view["tasks"] if t["state"] == "failed"] == ["t550"]
        assert (len(view["tasks"]), view["tasks_omitted"]) == (500, 100)
        assert [t["name"] for t in view["tasks"]] == [f"t{n}" for n in (*range(499), 550)]
        told = (await world.get(f"/runs/{run}/explain")).json
        assert [r["refers_to"] for r in told["reasons"]] == [str(run), "t550"]
        assert told["tasks_omitted"] == 100
        log = (await world.get(f"/runs/{run}/logs", headers={"accept": "text/plain"})).body.decode()
        assert f"run {run} failed\nfailed: t550\n" in log
        then = (await world.get(f"/runs/{run}?as_of=2999-01-01T00:00:00Z")).json
        assert [t["name"] for t in then["tasks"] if t["state"] == "failed"] == ["t550"]


@run_async
async def test_a_task_under_way_far_behind_explains_a_large_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/large", {"name": "large", "tasks": [
            {"name": "first", "command": ["x"]},
            *({"name": f"t{n}", "command": ["x"], "needs": ["last"]} for n in range(TASKS)),
            {"name": "last", "command": ["x"]},
        ]})  # fmt: skip
        run = (await world.post("/jobs/large/runs", {})).json["id"]
        view = (await world.get(f"/runs/{run}")).json
        assert {t["name"] for t in view["tasks"] if t["state"] == "ready"} == {"first", "last"}
        told = (await world.get(f"/runs/{run}/explain")).json
        assert told["tasks_omitted"] == 102


@run_async
async def test_a_small_run_leaves_nothing_out(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", {"name": "small", "tasks": LARGE["tasks"][:3]})
        run = (await world.post("/jobs/small/runs", {})).json["id"]
        view = (await world.get(f"/runs/{run}")).json
        assert (len(view["tasks"]), view["tasks_omitted"]) == (3, 0)
