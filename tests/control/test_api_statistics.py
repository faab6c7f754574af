"""How the runs of a job went: states, success rate and times, of a bounded number of them."""

from __future__ import annotations

from pathlib import Path

from api_world import World, run_async

from headrace.control.api.statistics import TASK_RUNS
from headrace.model.changes import OutcomeKind

JOB = {
    "name": "j",
    "tasks": [{"name": "a", "command": ["a"]}, {"name": "g", "needs": ["a"], "each": [1, 2, 3], "command": ["g"]}],
}


@run_async
async def test_runs_and_tasks_are_counted_and_timed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=1_000)
        await world.put("/jobs/j", JOB)
        for fails in (False, False, True):
            run = (await world.post("/jobs/j/runs", {})).json["id"]
            await world.settle(run, 0, kind=OutcomeKind.failed if fails else OutcomeKind.succeeded)
            for index in () if fails else range(3):
                await world.settle(run, 1, index)
        await world.post("/jobs/j/runs", {})
        got = (await world.get("/jobs/j/statistics")).json
        assert (got["runs"], got["states"]) == (3, {"failed": 1, "succeeded": 2})
        assert round(got["success_rate"], 3) == 0.667
        assert (got["last"], got["ended_at"] is not None) == (run, True)
        assert got["elapsed"]["least"] <= got["elapsed"]["average"] <= got["elapsed"]["most"]
        tasks = {task["name"]: task for task in got["tasks"]}
        assert (tasks["a"]["states"], tasks["a"]["attempts"]) == ({"failed": 1, "succeeded": 2}, 1.0)
        assert tasks["g"]["states"] == {"succeeded": 6, "skipped": 1}
        assert (await world.get("/jobs/j/statistics?runs=1")).json["states"] == {"failed": 1}


@run_async
async def test_no_run_or_no_job(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/j", JOB)
        got = (await world.get("/jobs/j/statistics")).json
        assert (got["runs"], got["success_rate"], got["tasks"], got["last"]) == (0, None, [], None)
        assert (await world.get("/jobs/k/statistics")).status == 404
        assert (await world.get("/jobs/j/statistics?runs=501")).status == 400


@run_async
async def test_the_reads_are_bounded_however_many_runs_there_are(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=1_000)
        await world.put("/jobs/one", {"name": "one", "tasks": [{"name": "a", "command": ["a"]}]})
        runs = (await world.post("/runs/batch", {"runs": [{"job": "one"}] * (TASK_RUNS + 20)})).json["ids"]
        for run in runs:
            await world.settle(run)
        asked: list[int] = []
        read = world.node.store.reader.tasks

        async def counted(run: int, **more: object) -> object:
            asked.append(run)
            return await read(run, **more)  # type: ignore[arg-type]  # handed on as it came

        world.node.store.reader.tasks = counted  # type: ignore[method-assign,assignment]
        got = (await world.get("/jobs/one/statistics")).json
        assert (got["runs"], len(asked), got["tasks"][0]["states"]) == (
            TASK_RUNS + 20,
            TASK_RUNS,
            {"succeeded": TASK_RUNS},
        )


@run_async
async def test_statistics_and_diffs_are_told_of_an_instant(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=1_000)
        await world.put("/jobs/j", JOB)
        run = (await world.post("/jobs/j/runs", {})).json["id"]
        await world.settle(run, 0, kind=OutcomeKind.failed)
        await world.put("/jobs/j", {**JOB, "description": "second"})
        then = (await world.get("/jobs/j")).json["updated_at"]
        statistics, diff = (await world.get("/jobs/j/statistics")).json, (await world.get("/jobs/j/diff")).json
        assert (statistics["runs"], diff["after"]) == (1, 2)
        again = (await world.post("/jobs/j/runs", {})).json["id"]
        await world.settle(again, 0, kind=OutcomeKind.failed)
        await world.put("/jobs/j", {**JOB, "description": "third"})
        assert (await world.get("/jobs/j/statistics")).json["runs"] == 2
        assert (await world.get(f"/jobs/j/statistics?as_of={then}")).json == statistics
        assert (await world.get(f"/jobs/j/diff?as_of={then}")).json == diff
        early = "2001-01-01T00:00:00Z"
        assert (await world.get(f"/jobs/j/statistics?as_of={early}")).status == 404
        assert (await world.get(f"/jobs/j/diff?as_of={early}")).status == 404
