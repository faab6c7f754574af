"""Whose turn it is: jobs of one priority take turns, priorities are told apart by rank, and what waited ages."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.control.api_world import World, run_async
from tests.control.whole import until

from headrace.control.loops.turns import Heads, Turns
from headrace.core.classes import lane_of, waiting_class
from headrace.core.nodes import RANK_SLOPE_MS
from headrace.model.states import TaskState


def klass(job: str, priority: int = 0) -> int:
    return waiting_class(7, lane_of(job), priority)


def served(queues: dict[int, list[int]], count: int, turns: Turns | None = None) -> list[int]:
    """The classes in the order in which their tasks are taken; ``queues`` holds the ranks of each."""
    turns, found = turns or Turns(), []
    for _ in range(count):
        heads = Heads(turns)
        for k, ranks in queues.items():
            if ranks:
                heads.put(k, ranks[0])
        taken = heads.take()
        turns.took(taken)
        queues[taken].pop(0)
        found.append(taken)
    return found


def test_a_flood_does_not_starve_another_job_of_the_same_priority() -> None:
    flood, small = klass("flood"), klass("small")
    assert flood != small
    turns = Turns()
    queues = {flood: list(range(1_000))}
    served(queues, 500, turns)
    queues[small] = [900_000, 900_001]
    assert served(queues, 4, turns) in ([flood, small, flood, small], [small, flood, small, flood])


def test_a_job_that_comes_back_has_not_saved_up_turns() -> None:
    one, two = klass("one"), klass("two")
    turns = Turns()
    served({one: list(range(100))}, 100, turns)
    order = served({one: list(range(10)), two: list(range(10))}, 10, turns)
    assert sorted(order[:2]) == sorted([one, two])
    assert order.count(one) == order.count(two) == 5


def test_a_higher_priority_goes_first_and_a_minute_of_waiting_outweighs_a_point() -> None:
    low, high = klass("low"), klass("high", 1)
    assert served({low: [0], high: [10 - RANK_SLOPE_MS]}, 2) == [high, low]
    assert served({low: [0], high: [RANK_SLOPE_MS + 10 - RANK_SLOPE_MS]}, 2) == [low, high]


def test_of_one_lane_the_classes_are_served_by_rank() -> None:
    """The values of a limit's key, as of customers: one job, one priority, many classes."""
    heads = Heads(Turns())
    lane = klass("one") - 7
    for customer, rank in enumerate((30, 10, 20)):
        heads.put(lane + customer, rank)
    assert [heads.take() - lane for _ in range(3)] == [1, 2, 0]
    assert not heads


async def out(world: World, runs: list[int]) -> list[int]:
    found = []
    for run in runs:
        cell = await world.node.store.reader.task((run, 0, -1))
        if cell is not None and cell.state is TaskState.dispatched:
            found.append(run)
    return found


@run_async
async def test_what_another_job_asks_for_begins_amidst_a_flood(tmp_path: Path) -> None:
    """Through submit, ready index and claim loop: with one slot, the late job is among the next two to begin."""
    async with World(tmp_path) as world:
        flood: dict[str, Any] = {"name": "flood", "tasks": [{"name": "t", "command": ["true"]}]}
        small = {**flood, "name": "small"}
        many = await world.post("/runs/batch", {"runs": [{"job": flood}] * 60})
        runs: list[int] = many.json["ids"]
        runs.append((await world.post("/runs", {"job": small})).json["id"])
        await world.agent(slots=1)
        world.node.placement.room()
        order: list[int] = []
        for _ in range(4):
            await until(lambda: _one(world, runs))
            (run,) = await out(world, runs)
            order.append(run)
            cell = await world.node.store.reader.task((run, 0, -1))
            assert cell is not None
            await world.settle(run)
            world.node.placement.done((run, 0, -1, cell.epoch))
            world.node.placement.room()
        assert runs[-1] in order[:2]
        assert [run for run in order if run != runs[-1]] == runs[:3], "within a job in order"


async def _one(world: World, runs: list[int]) -> bool:
    return len(await out(world, runs)) == 1
