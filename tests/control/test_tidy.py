"""What the rules say is over is taken away, a page at a time, and nothing else."""

from __future__ import annotations

import asyncio
from pathlib import Path

from api_world import HELLO, World, run_async

from headrace.control.changes.answers import LATER_US
from headrace.control.changes.result import ANSWERS_KEPT_US
from headrace.control.loops import tidy


class Hands:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.at = 1_800_000_000_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1_000_000


FOREVER = 1 << 60


@run_async
async def test_answers_are_deleted_when_they_are_told_no_more_and_not_before(tmp_path: Path) -> None:
    clock = Hands()
    async with World(tmp_path, clock=clock) as world:
        loop, reader = world.node.tidy, world.node.store.reader
        await world.put("/jobs/hello", HELLO)
        first = await world.post("/jobs/hello/runs", {}, headers={"idempotency-key": "k"})
        clock.at += ANSWERS_KEPT_US
        await loop.run_once()
        again = await world.post("/jobs/hello/runs", {}, headers={"idempotency-key": "k"})
        assert again.json["id"] == first.json["id"]
        clock.at += LATER_US + 1
        await loop.run_once()
        assert await reader.answers_before(FOREVER, 10) == []
        other = await world.post("/jobs/hello/runs", {}, headers={"idempotency-key": "k"})
        assert other.json["id"] != first.json["id"]
        await loop.run_once()
        assert len(await reader.answers_before(FOREVER, 10)) == 1


@run_async
async def test_a_pass_deletes_a_page_and_the_rest_follows_by_itself(tmp_path: Path) -> None:
    clock = Hands()
    async with World(tmp_path, clock=clock) as world:
        reader = world.node.store.reader
        await world.put("/jobs/hello", HELLO)
        keys = [{"idempotency-key": f"k{i}"} for i in range(tidy.PAGE + 3)]
        await asyncio.gather(*[world.post("/jobs/hello/runs", {}, headers=key) for key in keys])
        clock.at += ANSWERS_KEPT_US + LATER_US + 1
        await world.node.tidy.run_once()
        assert len(await reader.answers_before(FOREVER, 10)) == 3
        while await reader.answers_before(FOREVER, 10):
            await asyncio.sleep(tidy.SOON_S)  # a poll: nobody tells that a page has gone
