"""Named limits through the whole of control: API, ledger, claim loop; the agent is a fake that takes everything."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

from tests.control.api_world import World, run_async
from tests.control.whole import until

from headrace.control.auth import Role
from headrace.model.changes import SYSTEM, Lose
from headrace.model.states import TaskState


def limited(name: str = "one", *, units: int = 1, limit: str = "crm", **more: Any) -> dict[str, Any]:
    return {"name": name, "tasks": [{"name": "call", "command": ["true"], "limits": {limit: units}, **more}]}


async def submitted(world: World, definition: dict[str, Any], count: int, **more: Any) -> list[int]:
    found = []
    for _ in range(count):
        answer = await world.post("/runs", {"job": definition, **more})
        assert answer.status == 201, answer.json
        found.append(answer.json["id"])
    return found


async def out(world: World, runs: list[int]) -> list[int]:
    """Those whose only task was given out and has not ended."""
    found = []
    for run in runs:
        cell = await world.node.store.reader.task((run, 0, -1))
        if cell is not None and cell.state in (TaskState.dispatched, TaskState.running):
            found.append(run)
    return found


async def becomes(world: World, runs: list[int], expected: list[int]) -> None:
    """Wait until exactly these are out, and see that it stays so over a pass of the claim loop."""

    async def holds() -> bool:
        return await out(world, runs) == expected

    await until(holds)
    world.node.claims.relearn()
    await world.node.claims.run_once()
    assert await out(world, runs) == expected


async def explained(world: World, run: int) -> list[dict[str, Any]]:
    reasons: list[dict[str, Any]] = (await world.get(f"/runs/{run}/explain")).json["reasons"]
    return reasons


@run_async
async def test_as_many_run_at_once_as_the_limit_has_slots_in_the_order_of_their_submit(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        assert (await world.put("/limits/crm", {"slots": 2})).status == 201
        runs = await submitted(world, limited(), 5)
        await becomes(world, runs, runs[:2])
        await world.settle(runs[0])
        await becomes(world, runs, runs[1:3])
        for run in runs[1:]:
            await until(lambda run=run: _is_out(world, run))
            await world.settle(run)
        assert (await world.get("/limits/crm")).json["in_use"] == 0


async def _is_out(world: World, run: int) -> bool:
    return bool(await out(world, [run]))


@run_async
async def test_explain_names_the_full_limit_and_who_holds_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 1})
        runs = await submitted(world, limited(), 2)
        await becomes(world, runs, runs[:1])
        (reason,) = await explained(world, runs[1])
        assert reason["code"] == "limit_full"
        assert reason["refers_to"] == "crm"
        assert f"run {runs[0]} call" in reason["message"]
        holders = (await world.get("/limits/crm")).json["holders"]
        assert [(h["run"], h["task"], h["units"]) for h in holders] == [(runs[0], "call", 1)]


@run_async
async def test_a_limit_that_nobody_made_holds_work_back_until_it_is_put(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        runs = await submitted(world, limited(), 1)
        assert [r["code"] for r in await explained(world, runs[0])] == ["limit_missing"]
        await world.put("/limits/crm", {"slots": 1})
        await becomes(world, runs, runs)


@run_async
async def test_a_change_of_the_limit_counts_at_once_for_what_has_not_begun(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 1})
        runs = await submitted(world, limited(), 5)
        await becomes(world, runs, runs[:1])
        assert (await world.call("PATCH", "/api/v1/limits/crm", {"slots": 3})).json["slots"] == 3
        await becomes(world, runs, runs[:3])
        await world.put("/limits/crm", {"slots": 1})
        await world.settle(runs[0])
        await becomes(world, runs, runs[1:3])
        await world.settle(runs[1])
        await world.settle(runs[2])
        await becomes(world, runs, runs[3:4])


@run_async
async def test_a_paused_limit_lets_nothing_begin_and_everything_run_on(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 2})
        first = await submitted(world, limited(), 1)
        await becomes(world, first, first)
        assert (await world.post("/limits/crm/pause", {"reason": "the CRM is down"})).status == 202
        late = await submitted(world, limited(), 1)
        await becomes(world, late, [])
        (reason,) = await explained(world, late[0])
        assert reason["code"] == "limit_paused"
        assert "the CRM is down" in reason["message"]
        await world.put("/limits/crm", {"slots": 3})
        assert (await world.get("/limits/crm")).json["paused"] is True, "a pause by hand survives a new definition"
        await world.settle(first[0])
        assert (await world.post("/limits/crm/resume", {})).json["paused"] is False
        await becomes(world, late, late)


@run_async
async def test_every_answer_about_a_limit_tells_what_is_in_use(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 2})
        runs = await submitted(world, limited(), 2)
        await becomes(world, runs, runs)
        answers = [
            await world.put("/limits/crm", {"slots": 3}),
            await world.call("PATCH", "/api/v1/limits/crm", {"slots": 4}),
            await world.post("/limits/crm/pause", {}),
            await world.post("/limits/crm/resume", {}),
        ]
        assert [a.json["in_use"] for a in answers] == [2, 2, 2, 2]


@run_async
async def test_units_and_several_limits_are_taken_together_or_not_at_all(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 3})
        await world.put("/limits/disk", {"slots": 1})
        both = limited("both", units=2)
        both["tasks"][0]["limits"]["disk"] = 1
        runs = await submitted(world, both, 2)
        await becomes(world, runs, runs[:1])
        assert [r["refers_to"] for r in await explained(world, runs[1])] == ["crm"]
        assert (await world.get("/limits/crm")).json["in_use"] == 2
        assert (await world.get("/limits/disk")).json["in_use"] == 1
        await world.settle(runs[0])
        await becomes(world, runs, runs[1:])


@run_async
async def test_a_lost_attempt_gives_back_what_it_held(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 1})
        runs = await submitted(world, limited(on_lost="fail"), 2)
        await becomes(world, runs, runs[:1])
        cell = await world.node.store.reader.task((runs[0], 0, -1))
        assert cell is not None
        await world.node.ledger.ask(Lose(runs[0], 0, -1, cell.epoch, "gone"), SYSTEM)
        await becomes(world, runs, runs[1:])


@run_async
async def test_instances_of_each_take_one_by_one(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 2})
        (run,) = await submitted(world, limited(each=[1, 2, 3, 4, 5]), 1)

        async def live() -> set[int]:
            cells = await world.node.store.reader.tasks(run, no=0, after=(0, -1))
            return {c.index for c in cells if c.state is TaskState.dispatched}

        for index in range(4):

            async def two(index: int = index) -> bool:
                return await live() == {index, index + 1}

            await until(two)
            await world.settle(run, 0, index)


@run_async
async def test_what_a_full_limit_holds_back_costs_a_pass_of_the_claim_loop_nothing(tmp_path: Path) -> None:
    """A class that a limit holds back is neither read nor looked at, however much of it waits."""
    async with World(tmp_path) as world:
        await world.agent(slots=1)
        await world.put("/limits/crm", {"slots": 0})
        held = await submitted(world, limited(), 30)
        await becomes(world, held, [])
        asked: list[str] = []
        reader, real = world.node.claims._reader, world.node.claims._reader.ready

        async def ready(klass: int, limit: int) -> Any:
            asked.append("ready")
            return await real(klass, limit)

        reader.ready = ready  # type: ignore[method-assign]  # counts what is read
        plain = {"name": "plain", "tasks": [{"name": "t", "command": ["true"]}]}
        for _ in range(5):
            (run,) = await submitted(world, plain, 1)
            await until(lambda run=run: _is_out(world, run))
            await world.settle(run)
            cell = await world.node.store.reader.task((run, 0, -1))
            assert cell is not None
            world.node.placement.done((run, 0, -1, cell.epoch))
            world.node.placement.room()
        assert asked == []
        reader.ready = real  # type: ignore[method-assign]  # as it was
        await world.put("/limits/crm", {"slots": 30})
        await until(lambda: _is_out(world, held[0]))


@run_async
async def test_the_api_of_limits(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        made = await world.put("/limits/crm", {"rate": "10/1s", "burst": 20, "key": "${params.customer}"})
        assert made.status == 201
        assert made.headers["location"] == "/api/v1/limits/crm"
        assert (
            await world.put("/limits/crm", {"rate": "10/1s", "burst": 20, "key": "${params.customer}"})
        ).status == 200
        assert made.json["version"] == 1
        assert (await world.put("/limits/crm", {"slots": 4})).json["version"] == 2
        listed = (await world.get("/limits")).json["items"]
        assert [(one["name"], one["slots"]) for one in listed] == [("crm", 4)]
        assert (await world.call("DELETE", "/api/v1/limits/crm")).status == 204
        assert (await world.get("/limits/crm")).status == 404
        assert (await world.get("/limits")).json["items"] == []
        assert (await world.post("/limits/crm/pause", {})).status == 404
        assert (await world.put("/limits/crm", {"slots": 1})).status == 201


@run_async
async def test_what_is_wrong_with_a_limit_is_said_all_at_once(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        wrong = await world.put("/limits/crm", {"rate": "often", "key": "${tasks.a.result}"})
        assert wrong.status == 422
        assert wrong.paths == {"rate", "key"}
        assert (await world.put("/limits/crm", {})).status == 422
        assert (await world.put("/limits/crm", {"burst": 2, "slots": 1})).paths == {"burst"}
        assert (await world.put("/limits/crm", {"slots": -1})).status in (400, 422)
        assert (await world.put("/limits/CRM", {"slots": 1})).status == 422
        await world.put("/limits/crm", {"slots": 1})
        assert (await world.call("PATCH", "/api/v1/limits/crm", {"slots": None})).status == 422
        assert (await world.call("PATCH", "/api/v1/limits/crm", {"nonsense": 1})).status == 422


@run_async
async def test_an_operator_pauses_a_limit_and_only_an_admin_changes_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/limits/crm", {"slots": 1})
        assert (await world.put("/limits/crm", {"slots": 2}, role=Role.operator)).status == 403
        assert (await world.post("/limits/crm/pause", {}, role=Role.operator)).status == 202
        assert (await world.post("/limits/crm/resume", {}, role=Role.watcher)).status == 403
        assert (await world.get("/limits/crm", role=Role.watcher)).status == 200


@run_async
async def test_a_keyed_limit_counts_apart_for_each_value(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 1, "key": "${params.customer}"})
        runs = []
        for customer in ("acme", "acme", "zeta", "acme"):
            runs += await submitted(world, limited(), 1, params={"customer": customer})
        await becomes(world, runs, [runs[0], runs[2]])
        (reason,) = await explained(world, runs[1])
        assert "acme" in reason["message"]
        holders = (await world.get("/limits/crm")).json["holders"]
        assert [(h["key"], h["run"]) for h in holders] == [("acme", runs[0]), ("zeta", runs[2])]
        await world.settle(runs[0])
        await becomes(world, runs, [runs[1], runs[2]])


@run_async
async def test_the_key_of_an_instance_may_be_its_item(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 1, "key": "${item}"})
        (run,) = await submitted(world, limited(each=["a", "b", "a", "c"]), 1)

        async def live() -> bool:
            cells = await world.node.store.reader.tasks(run, no=0, after=(0, -1))
            return {c.index for c in cells if c.state is TaskState.dispatched} == {0, 1, 3}

        await until(live)


@run_async
async def test_a_limit_that_gets_another_key_counts_by_it_what_has_not_begun(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"slots": 1})
        runs = []
        for customer in ("acme", "acme", "zeta"):
            runs += await submitted(world, limited(), 1, params={"customer": customer})
        await becomes(world, runs, runs[:1])
        await world.put("/limits/crm", {"slots": 1, "key": "${params.customer}"})
        # What the first holds it holds as it took it: under no key.
        await becomes(world, runs, runs)


@run_async
async def test_a_rate_lets_so_many_begin_in_its_time_and_explain_says_when_the_next_may(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"rate": "1/1h", "burst": 2})
        runs = await submitted(world, limited(), 4)
        await becomes(world, runs, runs[:2])
        seen = (await world.get(f"/runs/{runs[2]}/explain")).json
        assert [r["code"] for r in seen["reasons"]] == ["rate"]
        assert seen["expected_at"] is not None
        for run in runs[:2]:
            await world.settle(run)
        await becomes(world, runs, [])
        await world.put("/limits/crm", {"rate": "1000/1s", "burst": 2})
        await becomes(world, runs, runs[2:])


@run_async
async def test_the_next_begins_by_itself_when_the_rate_lets_it(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=100)
        await world.put("/limits/crm", {"rate": "20/1s"})
        runs = await submitted(world, limited(), 4)
        await until(lambda: _all_out(world, runs))
        begun = [(await world.node.store.reader.history(run, no=-1))[-1].at for run in runs]
        gaps = [b - a for a, b in pairwise(begun)]
        assert all(gap >= 50_000 for gap in gaps), gaps


async def _all_out(world: World, runs: list[int]) -> bool:
    return await out(world, runs) == runs


@run_async
async def test_limits_are_made_deleted_restored_and_sought(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        body = {"name": "crm", "slots": 2, "description": "the Customers"}
        made = await world.post("/limits", body)
        assert (made.status, made.headers["location"]) == (201, "/api/v1/limits/crm")
        assert (await world.post("/limits", body)).status == 200
        assert (await world.post("/limits", {**body, "slots": 3})).status == 409
        assert (await world.post("/limits", {**body, "name": "C R M"})).status == 422
        await world.post("/limits", {"name": "mail", "slots": 1})
        for sought, found in (("cust", ["crm"]), ("ai", ["mail"]), ("x", []), ("", ["crm", "mail"])):
            items = (await world.get(f"/limits?q={sought}")).json["items"]
            assert [item["name"] for item in items] == found
        first = (await world.get("/limits?limit=1&q=m")).json
        rest = (await world.get(f"/limits?limit=1&q=m&cursor={first['next_cursor']}")).json
        assert [i["name"] for i in first["items"] + rest["items"]] == ["crm", "mail"]
        await world.call("DELETE", "/api/v1/limits/crm")
        assert (await world.get("/limits/crm")).status == 404
        back = await world.post("/limits/crm/restore")
        assert (back.status, back.json["slots"], back.json["version"]) == (200, 2, 3)
        assert (await world.post("/limits/crm/restore")).json["version"] == 3
        assert (await world.post("/limits/nothing/restore")).status == 404
        assert (await world.post("/limits", body, role=Role.operator)).status == 403
