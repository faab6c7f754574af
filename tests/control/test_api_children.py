"""Parents and children as the API shows them."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

from api_world import World, run_async
from test_api_jobs import CODE, package, put_package

from headrace.model.changes import OutcomeKind

CHILD = {"name": "child", "tasks": [{"name": "a", "command": ["true"]}]}
PARENT = {
    "name": "parent",
    "tasks": [
        {"name": "c", "job": "child", "retries": {"max": 1, "delay": "0s"}},
        {"name": "many", "each": [1, 2], "job": "child"},
        {"name": "w", "wait": {"for": "10m"}},
        {"name": "d", "delay": "20m", "command": ["true"]},
    ],
}


async def until(world: World, path: str, holds: Any) -> Any:
    """Ask until it holds: messages are delivered after the commit that wrote them."""
    while not holds(got := (await world.get(path)).json):
        await asyncio.sleep(0.005)  # a poll: nothing tells that a message was delivered
    return got


async def family(world: World) -> tuple[int, list[dict[str, Any]]]:
    """A parent with its three children."""
    await world.put("/jobs/child", CHILD)
    await world.put("/jobs/parent", PARENT)
    run: int = (await world.post("/jobs/parent/runs", {"priority": 5})).json["id"]
    found = await until(world, f"/runs?parent={run}", lambda got: len(got["items"]) == 3)
    return run, found["items"]


@run_async
async def test_a_task_names_its_child_and_the_child_its_parent(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run, children = await family(world)
        assert [(c["job"], c["version"], c["parent"], c["priority"]) for c in children] == [("child", 1, run, 5)] * 3
        view = (await world.get(f"/runs/{run}")).json
        assert view["parent"] is None
        task = view["tasks"][0]
        assert (task["name"], task["state"], task["agent"]) == ("c", "running", None)
        assert task["child"] in {c["id"] for c in children}
        assert task["attempts"][0]["child"] == task["child"]
        assert (await world.get(f"/runs/{task['child']}")).json["parent"] == run
        alone = (await world.get(f"/runs/{run}/tasks/many/1")).json
        page = (await world.get(f"/runs/{run}/tasks/many?limit=10")).json["items"]
        assert alone["child"] == page[1]["child"] != page[0]["child"]
        assert {task["child"], page[0]["child"], page[1]["child"]} == {c["id"] for c in children}


@run_async
async def test_each_attempt_names_its_own_child(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        run, _ = await family(world)
        first = (await world.get(f"/runs/{run}/tasks/c")).json["child"]
        await world.settle(first, kind=OutcomeKind.failed, exit_status="7")
        task = await until(world, f"/runs/{run}/tasks/c", lambda got: got["attempt"] == 2 and got["child"])
        assert [a["child"] for a in task["attempts"]] == [first, task["child"]]
        assert (task["attempts"][0]["exit_status"], task["attempts"][0]["reason"]) == ("7", "child")
        assert f"child run {first} (child) failed" in task["attempts"][0]["error"]["message"]
        second = task["child"]
        await world.settle(second, exit_status="fine")
        task = await until(world, f"/runs/{run}/tasks/c", lambda got: got["state"] == "succeeded")
        assert task["exit_status"] == "fine"


@run_async
async def test_explain_names_the_child_the_wait_and_the_delay_and_when_it_goes_on(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run, children = await family(world)
        told = (await world.get(f"/runs/{run}/explain")).json
        assert told["decision"] == "waits for a child run or for time"
        by_code = {reason["code"]: reason for reason in told["reasons"]}
        assert by_code["child"]["refers_to"] in {str(c["id"]) for c in children}
        assert by_code["waiting"]["message"].startswith("w waits for ")
        assert by_code["delayed"]["message"].startswith("d begins after its delay, in 1")
        begun = (await world.get(f"/runs/{run}")).json["started_at"]
        assert told["expected_at"] > begun


@run_async
async def test_the_children_of_a_run_are_paged_and_the_filter_stands_alone(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run, children = await family(world)
        first = (await world.get(f"/runs?parent={run}&limit=2")).json
        rest = (await world.get(f"/runs?parent={run}&limit=2&cursor={first['next_cursor']}")).json
        assert [r["id"] for r in first["items"] + rest["items"]] == [c["id"] for c in children]
        assert rest["next_cursor"] is None
        assert (await world.get("/runs?parent=999999")).json["items"] == []
        for bad in ("parent=x", f"parent={run}&job=child", f"parent={run}&state=queued"):
            assert (await world.get(f"/runs?{bad}")).status == 400


@run_async
async def test_cancel_over_the_api_reaches_the_children(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run, children = await family(world)
        assert (await world.post(f"/runs/{run}/cancel", {"reason": "enough"})).status == 202
        await until(world, f"/runs/{run}", lambda got: got["state"] == "canceled")
        for child in children:
            got = (await world.get(f"/runs/{child['id']}")).json
            assert (got["state"], got["reason"]) == ("canceled", f"run {run} that began it: enough")


@run_async
async def test_a_child_that_its_job_refuses_fails_the_attempt(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/child", {**CHILD, "exclusive": True})
        await world.post("/jobs/child/runs", {})
        await world.put("/jobs/parent", {"name": "parent", "tasks": [{"name": "c", "job": "child"}]})
        run = (await world.post("/jobs/parent/runs", {})).json["id"]
        got = await until(world, f"/runs/{run}", lambda got: got["state"] == "failed")
        assert got["tasks"][0]["reason"] == "no_child"
        assert "at most 1 at once" in got["tasks"][0]["error"]["message"]


@run_async
async def test_a_child_that_its_job_skips_leaves_its_task_canceled(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/child", {**CHILD, "concurrency": {"max": 1, "when_full": "skip"}})
        await world.post("/jobs/child/runs", {})
        await world.put("/jobs/parent", {"name": "parent", "tasks": [{"name": "c", "job": "child"}]})
        run = (await world.post("/jobs/parent/runs", {})).json["id"]
        got = await until(world, f"/runs/{run}", lambda got: got["state"] == "canceled")
        assert got["tasks"][0]["state"] == "canceled"


@run_async
async def test_explain_of_a_failed_run_names_the_child_that_failed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        await world.put("/jobs/child", CHILD)
        await world.put("/jobs/parent", {"name": "parent", "tasks": [{"name": "c", "job": "child"}]})
        run = (await world.post("/jobs/parent/runs", {})).json["id"]
        child = (await until(world, f"/runs/{run}/tasks/c", lambda got: got["child"]))["child"]
        await world.settle(child, kind=OutcomeKind.failed, exit_status="7")
        await until(world, f"/runs/{run}", lambda got: got["state"] == "failed")
        told = (await world.get(f"/runs/{run}/explain")).json["reasons"]
        assert told[1]["message"] == f"c failed at attempt 1 of 1: exit status 7; child; see run {child}"


@run_async
async def test_a_child_whose_tasks_are_not_registered_yet_is_not_begun(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        early = {"name": "child", "tasks": [{"name": "a", "python": "sales:clean", "package": "reports", "with": {}}]}
        assert (await world.put("/jobs/child?allow_missing=true", early)).status == 201
        await world.put("/jobs/parent", {"name": "parent", "tasks": [{"name": "c", "job": "child"}]})
        run = (await world.post("/jobs/parent/runs", {})).json["id"]
        view = await until(world, f"/runs/{run}", lambda got: got["state"] == "failed")
        assert "job child waits for: sales:clean" in view["tasks"][0]["error"]["message"]
        assert (await world.get(f"/runs?parent={run}")).json["items"] == []
        await put_package(world, "reports", package(sales=CODE))
        run = (await world.post("/jobs/parent/runs", {})).json["id"]
        found = await until(world, f"/runs?parent={run}", lambda got: len(got["items"]) == 1)
        kept = (await world.get(f"/runs/{found['items'][0]['id']}/definition")).json
        assert list(kept["packages"]) == ["reports"]


LONG = {
    "name": "long",
    "tasks": [
        {"name": "a", "command": ["a"]},
        {"name": "e", "each": [1, 2], "command": ["e"]},
        {"name": "b", "command": ["b"], "needs": ["a", "e"]},
    ],
}
OUTER = {
    "name": "outer",
    "tasks": [
        {"name": "c", "job": {"name": "long", "params": {"n": "${params.n}"}}},
        {"name": "d", "needs": ["c"], "command": ["d"]},
    ],
}


async def failed_child(world: World) -> tuple[int, int]:
    """A parent and its child, of which all had succeeded but the last task."""
    await world.agent(slots=20)
    await world.put("/jobs/long", LONG)
    await world.put("/jobs/outer", OUTER)
    run: int = (await world.post("/jobs/outer/runs", {"params": {"n": 1}})).json["id"]
    found = await until(world, f"/runs?parent={run}", lambda got: got["items"])
    child: int = found["items"][0]["id"]
    await world.settle(child, 0)
    await world.settle(child, 1, 0)
    await world.settle(child, 1, 1)
    await world.settle(child, 2, kind=OutcomeKind.failed)
    await until(world, f"/runs/{run}", lambda got: got["state"] == "failed")
    return run, child


async def restarted(world: World, run: int, **body: Any) -> tuple[int, dict[str, Any]]:
    again = (await world.post(f"/runs/{run}/restart", body)).json["id"]
    child = (await until(world, f"/runs?parent={again}", lambda got: got["items"]))["items"][0]
    begun = await until(
        world, f"/runs/{child['id']}", lambda got: any(t["state"] == "dispatched" for t in got["tasks"])
    )
    return again, begun


@run_async
async def test_the_child_of_a_restarted_run_repeats_nothing_that_had_succeeded(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run, child = await failed_child(world)
        again, view = await restarted(world, run)
        assert (view["parent"], view["restarted_from"]) == (again, child)
        taken = {t["name"]: (t["state"], t["taken_from"]) for t in view["tasks"]}
        assert taken["a"] == ("succeeded", child)
        assert taken["e"][0] == "succeeded"
        assert taken["b"] == ("dispatched", None)
        instance = (await world.get(f"/runs/{view['id']}/tasks/e/1")).json
        assert (instance["state"], instance["taken_from"]) == ("succeeded", child)
        await world.settle(view["id"], 2)
        await until(world, f"/runs/{again}", lambda got: got["tasks"][1]["state"] == "dispatched")
        await world.settle(again, 1)
        assert (await world.get(f"/runs/{again}")).json["state"] == "succeeded"


@run_async
async def test_a_child_begins_anew_where_its_task_is_named_or_its_parameters_changed(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        run, _ = await failed_child(world)
        for body in ({"from": "c"}, {"from": "start"}, {"params": {"n": 2}}):
            _, view = await restarted(world, run, **body)
            assert view["restarted_from"] is None
            assert view["tasks"][0]["state"] == "dispatched"
