"""What of a run may be changed while it is there: priority, labels, phase and message."""

from __future__ import annotations

from pathlib import Path

from api_world import HELLO, SECRET, World, run_async

from headrace.control.auth import Role
from headrace.control.credentials import mint_run_token
from headrace.model.changes import SYSTEM, Claim

JOB = {**HELLO, "name": "phased", "phases": ["validation", "digest"]}


async def patch(world: World, run: int, body: object, **more: object) -> object:
    return await world.call("PATCH", f"/api/v1/runs/{run}", body, **more)  # type: ignore[arg-type]  # as call takes it


@run_async
async def test_what_is_not_given_stays(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        run = (await world.post("/jobs/hello/runs", {"labels": {"a": "1"}, "priority": 3})).json["id"]
        answer = await patch(world, run, {"labels": {"b": "2"}})
        assert (answer.status, answer.json["labels"], answer.json["priority"]) == (200, {"a": "1", "b": "2"}, 3)
        answer = await patch(world, run, {"labels": {"a": None}})
        assert answer.json["labels"] == {"b": "2"}
        await patch(world, run, {"phase": "digest", "message": "half of it"})
        await patch(world, run, {"message": "most of it"})
        got = (await world.get(f"/runs/{run}")).json
        assert (got["labels"], got["phase"], got["message"]) == ({"b": "2"}, "digest", "most of it")
        await patch(world, run, {"phase": "load"})
        got = (await world.get(f"/runs/{run}")).json
        assert (got["phase"], got["message"]) == ("load", None), "a phase begins without a message"
        assert [i["id"] for i in (await world.get("/runs?label=b=2")).json["items"]] == [run]
        assert not (await world.get("/runs?label=a=1")).json["items"]
        kinds = [e["kind"] for e in (await world.get(f"/runs/{run}/events")).json["items"]]
        assert kinds.count("run.phase") == 3


@run_async
async def test_an_attempt_says_the_phase_of_its_own_run_and_nothing_else(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/phased", JOB)
        run, other = [(await world.post("/jobs/phased/runs", {})).json["id"] for _ in range(2)]
        await world.node.ledger.ask_many([Claim(run, 0, -1)], SYSTEM)
        cell = await world.node.store.reader.task((run, 0, -1))
        assert cell is not None
        own = mint_run_token(SECRET, run, 0, epoch=cell.epoch, expires_at=2**60)
        said = await patch(world, run, {"phase": "digest", "message": "half of it"}, token=own)
        assert (said.status, said.json["phase"], said.json["message"]) == (200, "digest", "half of it")
        assert (await patch(world, run, {"phase": "lunch"}, token=own)).status == 422
        for body in ({"priority": 100}, {"labels": {}}, {"phase": "validation", "priority": 1}):
            assert (await patch(world, run, body, token=own)).status == 403, body
        assert (await patch(world, other, {"phase": "digest"}, token=own)).status == 403
        assert (await world.post(f"/runs/{run}/cancel", {}, token=own)).status == 403
        stale = mint_run_token(SECRET, run, 0, epoch=cell.epoch - 1, expires_at=2**60)
        assert (await patch(world, run, {"phase": "validation"}, token=stale)).status == 409
        await world.settle(run)
        assert (await patch(world, run, {"phase": "validation"}, token=own)).status == 409
        got = (await world.get(f"/runs/{run}")).json
        assert (got["phase"], got["priority"]) == ("digest", 0)


@run_async
async def test_a_priority_moves_what_waits(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        runs = [(await world.post("/jobs/hello/runs", {})).json["id"] for _ in range(3)]
        await patch(world, runs[2], {"priority": 9})
        await patch(world, runs[0], {"priority": -9})
        cells = [await world.node.store.reader.task((run, 0, -1)) for run in runs]
        assert all(cell is not None for cell in cells)
        assert cells[2].rank < cells[1].rank < cells[0].rank
        for run, cell in zip(runs, cells, strict=True):
            assert [row.run for row in await world.node.store.reader.ready(cell.klass, 10)] == [run]


@run_async
async def test_an_ended_run_takes_labels_only(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/hello", HELLO)
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        await world.settle(run)
        assert (await patch(world, run, {"labels": {"good": "yes"}})).json["labels"] == {"good": "yes"}
        answer = await patch(world, run, {"priority": 1})
        assert (answer.status, "only its labels" in answer.json["detail"]) == (409, True)


@run_async
async def test_a_phase_that_the_job_does_not_name_is_told(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/phased", JOB)
        run = (await world.post("/jobs/phased/runs", {})).json["id"]
        assert (await patch(world, run, {"phase": "digest"})).status == 200
        wrong = await patch(world, run, {"phase": "digets", "priority": 500})
        assert wrong.paths == {"priority"}
        wrong = await patch(world, run, {"phase": "digets"})
        assert (wrong.status, wrong.paths) == (422, {"phase"})
        assert "digest" in wrong.json["problems"][0]["message"]


@run_async
async def test_only_who_may_submit_changes_a_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/hello", HELLO)
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        assert (await patch(world, run, {"phase": "x"}, role=Role.watcher)).status == 403
        assert (await patch(world, run, {"phase": "x"}, role=Role.operator)).status == 200
        assert (await patch(world, 999, {"phase": "x"})).status == 404
