"""Restarts through the API: both runs are linked, what had succeeded is not repeated, and code may be mended."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_world import HELLO, World, run_async
from test_api_jobs import CODE, package, put_package
from tests.control.whole import until

from headrace.control.auth import Role
from headrace.model.cells import Value
from headrace.model.changes import OutcomeKind

CHAIN: dict[str, Any] = {
    "name": "chain",
    "params": {"type": "object", "properties": {"day": {"type": "string"}, "n": {"type": "integer", "default": 3}}},
    "tasks": [{"name": "a", "command": ["a"]}, {"name": "b", "command": ["b"], "needs": ["a"]}],
}


async def failed(world: World, job: dict[str, Any] = CHAIN, **body: Any) -> int:
    """A run whose first task succeeded with a large result, and whose second failed."""
    await world.put(f"/jobs/{job['name']}", job)
    run: int = (await world.post(f"/jobs/{job['name']}/runs", body)).json["id"]
    await world.settle(run, 0, result=Value(4_002, "aside", b'"' + b"x" * 4_000 + b'"'), exit_status="fine")
    await world.settle(run, 1, kind=OutcomeKind.failed)
    return run


@run_async
async def test_a_restart_is_a_new_run_that_takes_over_what_had_succeeded(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        old = await failed(world, params={"day": "monday"}, labels={"team": "x"}, priority=7)
        answer = await world.post(f"/runs/{old}/restart", {"reason": "the disk is mended"})
        assert answer.status == 202
        new = answer.json["id"]
        assert answer.headers["location"] == f"/api/v1/runs/{new}"
        got = (await world.get(f"/runs/{new}")).json
        assert (got["restarted_from"], got["reason"], got["labels"]) == (old, "the disk is mended", {"team": "x"})
        assert (got["params"], got["priority"]) == ({"day": "monday", "n": 3}, 7)
        assert [(t["state"], t["taken_from"], t["exit_status"]) for t in got["tasks"]] == [
            ("succeeded", old, "fine"),
            ("dispatched", None, None),
        ]
        assert got["tasks"][0]["result"] == "x" * 4_000
        assert (await world.get(f"/runs/{old}")).json["restarted_as"] == [new]
        await world.settle(new, 1)
        assert (await world.get(f"/runs/{new}")).json["state"] == "succeeded"
        kinds = [e["kind"] for e in (await world.get(f"/runs/{old}/events")).json["items"]]
        assert kinds[-1] == "run.restarted"


@run_async
async def test_a_restart_has_the_labels_that_the_old_run_has_now(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        old = await failed(world, params={"day": "monday"}, labels={"team": "x", "gone": "y"})
        changes = {"labels": {"gone": None, "new": "z"}}
        assert (await world.call("PATCH", f"/api/v1/runs/{old}", changes)).status == 200
        answer = await world.post(f"/runs/{old}/restart", {"labels": {"more": "m"}})
        assert answer.json["labels"] == {"team": "x", "new": "z", "more": "m"}


@run_async
async def test_from_and_params_say_what_is_repeated_and_with_what(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        old = await failed(world, params={"day": "monday"})
        new = (await world.post(f"/runs/{old}/restart", {"from": "start", "params": {"day": "friday"}})).json["id"]
        got = (await world.get(f"/runs/{new}")).json
        assert (got["params"], [t["state"] for t in got["tasks"]]) == (
            {"day": "friday", "n": 3},
            ["dispatched", "blocked"],
        )
        wrong = await world.post(f"/runs/{old}/restart", {"from": "bb", "params": {"n": "x"}})
        assert (wrong.status, wrong.paths) == (422, {"from"})
        wrong = await world.post(f"/runs/{old}/restart", {"params": {"n": "x"}})
        assert (wrong.status, wrong.paths) == (422, {"params.n"})


@run_async
async def test_a_restart_may_have_another_version_of_its_job(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        old = await failed(world)
        mended = {**CHAIN, "tasks": [*CHAIN["tasks"], {"name": "c", "command": ["c"], "needs": ["b"]}]}
        await world.put("/jobs/chain", mended)
        same = (await world.post(f"/runs/{old}/restart", {})).json
        other = (await world.post(f"/runs/{old}/restart", {"version": 2})).json
        assert (same["version"], other["version"]) == (1, 2)
        names = [t["name"] for t in (await world.get(f"/runs/{other['id']}")).json["tasks"]]
        assert names == ["a", "b", "c"]
        assert (await world.post(f"/runs/{old}/restart", {"version": 9})).status == 404
        free = (await world.post("/runs", {"command": ["x"]})).json["id"]
        await world.settle(free, kind=OutcomeKind.failed)
        answer = await world.post(f"/runs/{free}/restart", {"version": 1})
        assert answer.status == 422, answer.json
        assert answer.paths == {"version"}
        assert (await world.post(f"/runs/{free}/restart", {})).status == 202


@run_async
async def test_what_has_not_ended_or_has_nothing_to_repeat_is_refused(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        await world.put("/jobs/chain", CHAIN)
        run = (await world.post("/jobs/chain/runs", {})).json["id"]
        answer = await world.post(f"/runs/{run}/restart", {})
        assert (answer.status, answer.json["detail"]) == (
            409,
            f"run {run} is queued: restart refused, it has not ended",
        )
        await world.settle(run, 0)
        await world.settle(run, 1)
        answer = await world.post(f"/runs/{run}/restart", {})
        assert answer.status == 409
        assert "nothing in it failed; to repeat it give from: start" in answer.json["detail"]
        assert (await world.post(f"/runs/{run}/restart", {"from": "b"})).status == 202
        assert (await world.post(f"/runs/{run}/restart", {}, role=Role.watcher)).status == 403
        assert (await world.post("/runs/999/restart", {})).status == 404


@run_async
async def test_the_same_restart_under_one_key_is_one_run(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        old = await failed(world)
        first = await world.post(f"/runs/{old}/restart", {}, headers={"idempotency-key": "k"})
        again = await world.post(f"/runs/{old}/restart", {}, headers={"idempotency-key": "k"})
        assert (first.status, again.status, again.json["id"]) == (202, 202, first.json["id"])
        assert (await world.get(f"/runs/{old}")).json["restarted_as"] == [first.json["id"]]


@run_async
async def test_instances_are_taken_over_through_the_store(tmp_path: Path) -> None:
    job = {
        "name": "many",
        "tasks": [
            {"name": "g", "each": list(range(450)), "command": ["g", "${item}"]},
            {"name": "sum", "needs": ["g"], "command": ["s"]},
        ],
        "result": "${tasks.g.result}",
    }
    async with World(tmp_path) as world:
        await world.agent(slots=1_000)
        await world.put("/jobs/many", job)
        old = (await world.post("/jobs/many/runs", {})).json["id"]
        for index in range(450):
            text = b'"' + b"y" * (2_000 if index == 7 else 1) + b'"'
            kind = OutcomeKind.failed if index in (0, 449) else OutcomeKind.succeeded
            await world.settle(old, 0, index, kind=kind, result=Value(len(text), "inline", text))
        assert (await world.get(f"/runs/{old}")).json["state"] == "failed"
        new = (await world.post(f"/runs/{old}/restart", {})).json["id"]

        async def taken() -> bool:
            counts = (await world.get(f"/runs/{new}/tasks/g")).json["counts"]
            return (counts["succeeded"], counts["live"]) == (448, 2)

        await until(taken)  # worked off in chunks
        for index in (0, 449):
            await world.settle(new, 0, index, result=Value(3, "inline", b'"z"'))
        await world.settle(new, 1)
        got = (await world.get(f"/runs/{new}")).json
        assert got["state"] == "succeeded"
        assert [got["result"][at] for at in (0, 1, 7, 449)] == ["z", "y", "y" * 2_000, "z"]
        assert (await world.get(f"/runs/{new}/tasks/g/7")).json["taken_from"] == old


@run_async
async def test_a_restart_goes_on_with_mended_code(tmp_path: Path) -> None:
    job = {
        "name": "sales",
        "tasks": [
            {"name": "a", "command": ["a"]},
            {"name": "b", "needs": ["a"], "python": "sales:clean", "with": {"day": "x"}, "package": "reports"},
        ],
    }
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        first = (await put_package(world, "reports", package(sales=CODE))).json["digest"]
        old = await failed(world, job)
        mended = (await put_package(world, "reports", package(sales=CODE + b"\n# mended\n"))).json["digest"]
        for code, digest in (("same", first), ("latest", mended)):
            new = (await world.post(f"/runs/{old}/restart", {"code": code})).json["id"]
            row = await world.node.store.reader.run(new)
            assert row is not None
            assert (await world.node.graphs.load(row.input.graph)).definition.packages == {"reports": digest}
            assert (await world.get(f"/runs/{new}")).json["tasks"][0]["taken_from"] == old


@run_async
async def test_a_restarted_run_that_waits_for_another_begins_where_it_goes_on_when_that_has_ended(
    tmp_path: Path,
) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=20)
        old = await failed(world, {**CHAIN, "concurrency": {"max": 1}})
        other = (await world.post("/jobs/chain/runs", {})).json["id"]
        new = (await world.post(f"/runs/{old}/restart", {})).json["id"]
        got = (await world.get(f"/runs/{new}")).json
        assert (got["state"], [t["state"] for t in got["tasks"]]) == ("queued", ["succeeded", "blocked"])
        await world.settle(other, 0)
        await world.settle(other, 1)
        while (await world.get(f"/runs/{new}/tasks/b")).json["state"] == "blocked":
            await world.get(f"/runs/{other}")
        await world.settle(new, 1)
        assert (await world.get(f"/runs/{new}")).json["state"] == "succeeded"


@run_async
async def test_a_version_beyond_all_numbers_is_a_mistake_of_the_asker(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/hello", HELLO)
        run = (await world.post("/jobs/hello/runs", {})).json["id"]
        await world.settle(run, kind=OutcomeKind.failed)
        huge = 43437579052457097444583268155392
        for path, body in ((f"/runs/{run}/restart", {"version": huge}), ("/jobs/hello/restore", {"version": huge})):
            assert (await world.post(path, body)).status in {400, 422}, path
        kid = {"name": "k", "tasks": [{"name": "a", "job": {"name": "hello", "version": huge}}]}
        assert (await world.put("/jobs/k", kid)).status in {400, 422}
