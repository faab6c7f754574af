"""Runs to which nothing will happen are found by the minutely look, and no other run is taken for one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from api_world import HELLO, World, run_async
from msgspec import structs

from headrace.control.loops.limbo import LimboCheck
from headrace.control.progress import Progress
from headrace.model.ports import Clock
from headrace.model.states import TaskState
from headrace.store.rows import Batch

CHAIN = {"name": "chain", "tasks": [{"name": "a", "command": ["x"]}, {"name": "b", "command": ["x"], "needs": ["a"]}]}


class Ahead:
    """The node's clock, so many seconds later."""

    def __init__(self, world: World) -> None:
        self.clock, self.seconds = world.node.clock, 0

    def now(self) -> int:
        return self.clock.now() + self.seconds * 1_000_000

    def monotonic(self) -> float:
        return self.clock.monotonic() + self.seconds


def check_of(world: World, looked: list[int], clock: Clock | None = None) -> LimboCheck:
    node = world.node
    return LimboCheck(
        node.store.reader,
        node.ledger,
        clock or node.clock,
        offers=node.placement.offers,
        progress=Progress(lambda: node.placement.given_out),
        look_again=lambda: looked.append(1),
    )


async def spoil(world: World, run: int) -> None:
    """What is to begin is made to wait for nothing, behind the ledger's back."""
    store = world.node.store
    cell = await store.reader.task((run, 0, -1))
    assert cell is not None
    await store.writer.begin()
    await store.writer.write(
        Batch(world.node.clock.now(), tasks=[structs.replace(cell, state=TaskState.blocked, version=cell.version + 1)])
    )
    await store.writer.commit()


@run_async
async def test_a_run_to_which_nothing_will_happen_is_counted_and_named(tmp_path: Path, caplog: Any) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/chain", CHAIN)
        good, bad = [(await world.post("/jobs/chain/runs", {})).json["id"] for _ in range(2)]
        looked: list[int] = []
        check = check_of(world, looked)
        await spoil(world, bad)
        await check.run_once()
        assert (check.found, looked) == (0, []), "one look is none: a move may be on its way"
        await check.run_once()
        assert (check.found, looked) == (1, [1])
        named = [r.getMessage() for r in caplog.records if "limbo" in r.getMessage()]
        assert len(named) == 1
        assert named[0].endswith(f": {bad}")
        assert good != bad
        world.serve(limbo=check)
        text = (await world.call("GET", "/metrics")).body.decode()
        assert "headrace_limbo_found_total 1" in text


@run_async
async def test_what_waits_for_something_named_is_not_in_limbo(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent()
        child = {**HELLO, "name": "child", "agent": {"labels": {"gpu": "yes"}}}
        await world.put("/jobs/child", child)
        await world.put("/jobs/chain", CHAIN)
        await world.put("/jobs/turns", {**child, "name": "turns", "concurrency": {"max": 1}})
        jobs: list[dict[str, Any]] = [
            {"job": child},
            {"job": child, "delay": "1h"},
            {"job": {"name": "parent", "tasks": [{"name": "c", "job": "child"}]}},
            {"job": {"name": "waits", "tasks": [{"name": "w", "wait": {"for": "1h"}}]}},
            {"job": {"name": "later", "tasks": [{"name": "w", "delay": "1h", "command": ["x"]}]}},
            {"job": {"name": "many", "tasks": [{"name": "m", "each": [1, 2], "command": ["x"]}]}},
            {"job": "chain"}, {"job": "turns"}, {"job": "turns"},
        ]  # fmt: skip
        runs = [(await world.post("/runs", body)).json["id"] for body in jobs]
        paused = (await world.post("/runs", {"job": child})).json["id"]
        await world.post(f"/runs/{paused}/pause", {})
        while (await world.get(f"/runs?parent={runs[2]}")).json["items"] == []:
            await world.node.store.reader.run(runs[2])
        check = check_of(world, [])
        for _ in range(3):
            await check.run_once()
        assert check.looked >= 3 * len(runs)
        assert check.found == 0, check._suspects


@run_async
async def test_work_that_stands_still_beside_room_is_looked_at_anew_once_and_not_each_minute(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.agent(slots=2)
        await world.post("/runs", {"job": {**HELLO, "agent": {"labels": {"gpu": "yes"}}}})
        looked: list[int] = []
        clock = Ahead(world)
        check = check_of(world, looked, clock)
        seen = []
        for clock.seconds in (0, 60, 120, 180):
            await check.run_once()
            seen.append(len(looked))
        assert seen == [0, 1, 1, 1]
        assert check.found == 0
