"""A watcher that is cut off again and again, while two controls on one PostgreSQL write: nothing missed, nothing twice."""

from __future__ import annotations

import asyncio
import contextlib
import random
from pathlib import Path
from typing import Any

import pytest
from api_world import HELLO
from watching import Doored

from headrace.model.cells import RunInput
from headrace.model.changes import SYSTEM, Cancel, Submit
from headrace.model.definition import JobDefinition, Task


class Load:
    """What one control does, a step for each resume: runs, of several tasks too, ended by whichever control; saved jobs."""

    def __init__(self, world: Doored, no: int, made: list[int]) -> None:
        self._world = world
        self._no = no
        self._made = made
        self._dice = random.Random(no)
        self.paces = asyncio.Semaphore(0)
        self.over = False

    async def run(self) -> None:
        ledger, node = self._world.node.ledger, self._world.node
        tasks = [Task(name=f"t{n}", command=["true"]) for n in range(3)]
        graphs = [
            await ledger.keep(JobDefinition(name=f"one{self._no}", tasks=tasks[:1])),
            await ledger.keep(JobDefinition(name=f"three{self._no}", tasks=tasks)),
        ]
        step = 0
        while not self.over:
            await self.paces.acquire()
            step += 1
            runs = [await node.ids.take() for _ in range(self._dice.randrange(1, 4))]
            at = node.clock.now()
            await ledger.ask_many(
                [Submit(RunInput(run, self._dice.choice(graphs), None, None, at)) for run in runs], SYSTEM
            )
            self._made += runs
            ended = [self._made.pop(self._dice.randrange(len(self._made))) for _ in range(2) if len(self._made) > 3]
            await ledger.ask_many([Cancel(run) for run in ended], SYSTEM)
            if step % 5 == 0:
                await self._world.put(
                    f"/jobs/hello-{step % 3}",
                    {**HELLO, "name": f"hello-{step % 3}", "description": str(step + 1000 * self._no)},
                )


async def resumed(worlds: list[Doored], loads: list[Load], resumes: int, dice: random.Random) -> list[Any]:
    """What a watcher saw who was cut off so often, each time at another control, anywhere within what was under way."""
    seen: list[Any] = []
    for _ in range(resumes):
        for load in loads:
            load.paces.release()
        after = f"?after={seen[-1]['cursor']}" if seen else ""
        async with await dice.choice(worlds).watch(after) as watcher:
            seen.append(await watcher.event())
            with contextlib.suppress(TimeoutError):
                # up to what is under way right now, where something might come to stand behind it
                async with asyncio.timeout(dice.random() * 0.03):
                    while True:
                        seen.append(await watcher.event())
    return seen


async def rest(world: Doored, seen: list[Any]) -> None:
    """The end of it."""
    marker = (await world.put("/jobs/marker", {**HELLO, "name": "marker"})).json
    assert marker["version"] == 1
    async with await world.watch(f"?after={seen[-1]['cursor']}") as watcher:
        while seen[-1]["subject"] != "jobs/marker":
            seen.append(await watcher.event())


@pytest.mark.parametrize("resumes", [80, pytest.param(1000, marks=pytest.mark.tail)])
def test_a_watcher_that_resumes_under_load_of_two_ledgers_misses_nothing_and_sees_nothing_twice(
    postgres_dsn: str, tmp_path: Path, resumes: int
) -> None:
    async def main() -> None:
        async with Doored(tmp_path / "a", postgres_dsn) as a, Doored(tmp_path / "b", postgres_dsn) as b:
            made: list[int] = []
            loads = [Load(world, no, made) for no, world in enumerate((a, b))]
            working = [asyncio.ensure_future(load.run()) for load in loads]
            seen = await resumed([a, b], loads, resumes, random.Random(3))
            for load in loads:
                load.over = True
                load.paces.release()
            await asyncio.gather(*working)
            await rest(a, seen)
            await complete(a, seen)

    asyncio.run(asyncio.wait_for(main(), 300))


async def complete(world: Doored, seen: list[Any]) -> None:
    """Everything that stands in the history of any run was seen, once, in the order of its versions."""
    cursors = [event["cursor"] for event in seen]
    assert len(set(cursors)) == len(cursors), "twice"
    told: dict[str, list[int]] = {}
    for event in seen:
        told.setdefault(event["subject"], []).append(event["sequence"])
    for subject, versions in told.items():
        assert versions == sorted(versions), f"{subject} is told out of order: {versions}"
    kept: dict[str, list[int]] = {}
    runs = {int(s.split("/")[1]) for s in told if s.startswith("runs/")}
    assert runs
    for run in range(1, max(runs) + 1):
        for event in (await world.get(f"/runs/{run}/events?limit=500")).json.get("items", []):
            kept.setdefault(event["subject"], []).append(event["sequence"])
    assert {s: sorted(v) for s, v in kept.items()} == {s: v for s, v in told.items() if s.startswith("runs/")}
    for subject, versions in told.items():
        if subject.startswith("jobs/hello"):
            assert versions == list(range(1, len(versions) + 1))
