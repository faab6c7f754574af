"""``as_of``: every copy that was kept of a thing is what the API tells of that instant later.

A random history of saves, deletes, submits, failures, retries, groups and cancels; with restarts, with a clock that steps
back, on SQLite, and by two controls with different clocks on one PostgreSQL.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from api_world import World, run_async

from headrace.control.changes.jobs import JOB
from headrace.control.clock import SystemClock
from headrace.model.cells import Value
from headrace.model.changes import OutcomeKind
from headrace.model.states import TaskState

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
STEPS = 45
US = timedelta(microseconds=1)


class Unsteady:
    """A clock that goes on, stands, and steps back now and then."""

    def __init__(self, dice: random.Random, at: int) -> None:
        self._dice = dice
        self._at = at

    def now(self) -> int:
        self._at += self._dice.choice([0, 1, 7, 1000, 50_000])
        if self._dice.random() < 0.03:
            self._at -= 3_000_000
        return self._at

    def monotonic(self) -> float:
        return time.monotonic()


def instant(at: int) -> str:
    return quote((EPOCH + timedelta(microseconds=at)).isoformat())


JOBS: list[dict[str, Any]] = [
    {"name": "one", "tasks": [{"name": "t", "command": ["true"], "retries": {"max": 2, "delay": "0s", "jitter": 0}}]},
    {
        "name": "chain",
        "tasks": [
            {"name": "a", "command": ["true"], "retries": {"max": 1, "delay": "0s", "jitter": 0}},
            {"name": "b", "command": ["true"], "needs": ["a"]},
            {"name": "c", "command": ["true"], "needs": [{"task": "a", "state": "failed"}]},
        ],
    },
    {
        "name": "wide",
        "params": {"type": "object", "properties": {"items": {"type": "array"}}},
        "tasks": [{"name": "each", "each": "${params.items}", "label": "${item}", "command": ["echo", "${item}"]}],
    },
]


class Historian:
    """Does things, and keeps a copy of what they did with the instant of the last row that was written of it."""

    def __init__(self, worlds: list[World], dice: random.Random) -> None:
        self.worlds = worlds
        self.dice = dice
        self.copies: dict[str, dict[int, Any]] = {}
        self.things: dict[str, tuple[str, str]] = {}
        self.written: dict[tuple[int, int], int] = {}
        self.runs: list[int] = []

    @property
    def world(self) -> World:
        return self.dice.choice(self.worlds)

    async def step(self) -> None:
        doing = self.dice.choice(
            [
                self.save,
                self.submit,
                self.submit,
                self.settle,
                self.settle,
                self.settle,
                self.settle,
                self.cancel,
                self.remove,
                self.amend,
                self.amend,
                self.verb,
                self.verb,
                self.limit,
            ]
        )
        await doing()

    async def save(self) -> None:
        job = self.dice.choice(JOBS)
        await self.world.put(f"/jobs/{job['name']}", {**job, "description": str(self.dice.randrange(5))})
        await self.keep_entity(JOB, job["name"], f"/jobs/{job['name']}")

    async def remove(self) -> None:
        if self.dice.random() < 0.4:
            await self.world.call("DELETE", "/api/v1/jobs/one")
            await self.keep_entity(JOB, "one", "/jobs/one")

    async def limit(self) -> None:
        await self.world.put("/limits/crm", {"slots": self.dice.randrange(1, 9)})
        await self.keep_entity("limit", "crm", "/limits/crm")

    async def submit(self) -> None:
        job = self.dice.choice(JOBS)["name"]
        params = {"items": ["x", "y", "z"][: self.dice.randrange(4)]} if job == "wide" else {}
        answer = await self.world.post(f"/jobs/{job}/runs", {"params": params})
        if answer.status == 201:
            self.runs.append(answer.json["id"])
            await self.keep_run(self.runs[-1])

    async def settle(self) -> None:
        world = self.world
        if not self.runs:
            return
        run = self.dice.choice(self.runs)
        cells = [
            c
            for c in await world.node.store.reader.tasks(run)
            if c.counts is None and c.state in (TaskState.ready, TaskState.dispatched)
        ]
        if not cells:
            return
        cell = self.dice.choice(cells)
        kind = self.dice.choice([OutcomeKind.succeeded, OutcomeKind.failed])
        text = b'{"type": "ValueError", "message": "%d"}' % self.dice.randrange(99)
        said: dict[str, Any] = {"kind": kind, "exit_status": "NO", "exit_code": 3}
        if kind is OutcomeKind.failed:
            said["error"] = Value(len(text), "inline", text)
        else:
            said |= {"result": Value(2, "inline", b"17")}
        await world.settle(run, cell.no, cell.index, **said)
        await self.keep_run(run)

    async def amend(self) -> None:
        if self.runs:
            run = self.dice.choice(self.runs)
            change = self.dice.choice(
                [
                    {"labels": {"n": str(self.dice.randrange(9))}},
                    {"priority": self.dice.randrange(-9, 9)},
                    {"phase": self.dice.choice(["load", "digest"]), "message": "half way"},
                ]
            )
            await self.world.call("PATCH", f"/api/v1/runs/{run}", change)
            await self.keep_run(run)

    async def verb(self) -> None:
        if self.runs:
            run = self.dice.choice(self.runs)
            word = self.dice.choice(["pause", "resume", "stop", "restart"])
            answer = await self.world.post(f"/runs/{run}/{word}", {"reason": "dice"} if word != "restart" else {})
            if word == "restart" and answer.status == 201:
                self.runs.append(answer.json["id"])
                await self.keep_run(self.runs[-1])
            await self.keep_run(run)

    async def cancel(self) -> None:
        if self.runs and self.dice.random() < 0.3:
            run = self.dice.choice(self.runs)
            await self.world.post(f"/runs/{run}/cancel", {})
            await self.keep_run(run)

    async def keep_entity(self, kind: str, name: str, path: str) -> None:
        reader = self.worlds[0].node.store.reader
        row = await reader.entity((kind, name))
        if row is not None:
            self.things[path] = (kind, name)
            await self.keep(path, row.updated_at)
            if len(self.worlds) == 1:
                newest = max(e.updated_at for e in await reader.entities(kind, deleted=True))
                await self.keep(path.rpartition("/")[0], newest)

    async def keep_run(self, run: int) -> None:
        """Copies of the run, all of one moment: nothing was written while they were made."""
        before: list[int] = []
        while True:
            held = {path: await self.told(path) for path in self.paths(run)}
            rows = await self.instants(run)
            if rows == before:
                break
            before = rows
        for path, copy in held.items():
            self.copies.setdefault(path, {})[rows[-1]] = copy
        self.written[run, rows[-1]] = len(rows)

    def paths(self, run: int) -> list[str]:
        return [f"/runs/{run}", f"/runs/{run}/tasks", f"/runs/{run}/tasks/each?limit=10", f"/runs/{run}/tasks/a"]

    async def instants(self, run: int) -> list[int]:
        """When the run's history was written."""
        return sorted(row.at for row in await self.worlds[0].node.store.reader.history(run))

    async def keep(self, path: str, at: int) -> None:
        self.copies.setdefault(path, {})[at] = await self.told(path)

    async def told(self, path: str) -> Any:
        answer = await self.worlds[0].get(path)
        return answer.json if answer.status == 200 else answer.status

    async def check(self) -> int:
        """Every copy once more, as of its instant and as of any until the next; how many were compared."""
        compared = 0
        for path, kept in self.copies.items():
            moments = await self.moments(path)
            for at, copy in kept.items():
                run = int(path.split("/")[2]) if path.startswith("/runs/") else 0
                if run and self.written[run, at] != sum(m <= at for m in moments):
                    continue  # more was written at the same instant
                following = min((m for m in moments if m > at), default=at + 10**9)
                for then in {at, self.dice.randrange(at, following)}:
                    mark = "&" if "?" in path else "?"
                    told = await self.told(f"{path}{mark}as_of={instant(then)}")
                    assert told == copy, (path, at, then, different(told, copy))
                    compared += 1
            if path.count("/") == 2:
                born = min([*moments, *await self.created(path)])
                assert await self.told(f"{path}?as_of={instant(born - 1)}") == 404
        return compared

    async def created(self, path: str) -> list[int]:
        """When a run was created: a moment before its first row is written."""
        if not path.startswith("/runs/"):
            return []
        row = await self.worlds[0].node.store.reader.run(int(path.split("/")[2]))
        return [] if row is None else [row.input.created_at]

    async def moments(self, path: str) -> list[int]:
        """The instants at which the thing changed."""
        reader = self.worlds[0].node.store.reader
        if path.startswith("/runs/"):
            return await self.instants(int(path.split("/")[2]))
        keys = [key for other, key in self.things.items() if other.startswith(path)]
        return [row.updated_at for key in keys for row in await reader.entity_versions(key)]


def different(told: Any, copy: Any, place: str = "") -> list[str]:
    """Where two answers differ."""
    if isinstance(told, dict) and isinstance(copy, dict):
        return [d for k in told.keys() | copy.keys() for d in different(told.get(k), copy.get(k), f"{place}.{k}")]
    if isinstance(told, list) and isinstance(copy, list) and len(told) == len(copy):
        return [d for i, (a, b) in enumerate(zip(told, copy, strict=True)) for d in different(a, b, f"{place}[{i}]")]
    return [] if told == copy else [f"{place}: {told!r} instead of {copy!r}"]


async def lived(folder: Path, seed: int, dsn: str = "", lives: int = 3) -> None:
    """A history over several lives of the controls, and the comparison at its end."""
    dice = random.Random(seed)
    start = 1_700_000_000_000_000
    historian: Historian | None = None
    for life in range(lives):
        clocks = [Unsteady(dice, start - life * 60_000_000 + no * 5_000_000) for no in range(2 if dsn else 1)]
        async with AsyncExitStack() as stack:
            worlds = [await stack.enter_async_context(World(folder / "d", dsn, clock)) for clock in clocks]
            for world in worlds:
                await world.agent()
            if historian is None:
                historian = Historian(worlds, dice)
            historian.worlds = worlds
            for _ in range(STEPS):
                await historian.step()
            if life == lives - 1:
                assert await historian.check() > STEPS


def seeds(few: int, many: int) -> list[Any]:
    return [*range(few), *(pytest.param(seed, marks=pytest.mark.tail) for seed in range(few, many))]


@pytest.mark.parametrize("seed", seeds(2, 30))
@run_async
async def test_every_copy_of_a_random_history_is_told_again(tmp_path: Path, seed: int) -> None:
    await lived(tmp_path, seed)


@pytest.mark.parametrize("seed", seeds(1, 15))
def test_copies_are_told_again_of_two_controls_on_one_postgresql(tmp_path: Path, postgres_dsn: str, seed: int) -> None:
    asyncio.run(asyncio.wait_for(lived(tmp_path, seed, postgres_dsn), 120))


class Going(SystemClock):
    """A clock that says each instant once."""

    def __init__(self) -> None:
        self.at = 1_700_000_000_000_000

    def now(self) -> int:
        self.at += 11
        return self.at


@run_async
async def test_a_run_is_there_at_the_very_instant_at_which_it_says_it_was_created(tmp_path: Path) -> None:
    async with World(tmp_path, clock=Going()) as world:
        for job in JOBS[:2]:
            await world.put(f"/jobs/{job['name']}", job)
            made = (await world.post(f"/jobs/{job['name']}/runs", {})).json
            path, at = f"/runs/{made['id']}", int((datetime.fromisoformat(made["created_at"]) - EPOCH) / US)
            created = (await world.get(path)).json
            first = (await world.node.store.reader.history(made["id"]))[0].at
            assert first > at
            for cell in await world.node.store.reader.tasks(made["id"], limit=1):
                await world.settle(made["id"], cell.no, kind=OutcomeKind.succeeded)
            for then in (at, first - 1, first):
                assert (await world.get(f"{path}?as_of={instant(then)}")).json == created
                tasks = (await world.get(f"{path}/tasks?as_of={instant(then)}")).json["items"]
                assert [t["state"] for t in tasks] == [t["state"] for t in created["tasks"]]
                listed = (await world.get(f"/runs?as_of={instant(then)}&job={job['name']}")).json["items"]
                assert [r["state"] for r in listed] == [created["state"]]
            assert (await world.get(f"{path}?as_of={instant(at - 1)}")).status == 404
            assert (await world.get(f"/runs?as_of={instant(at - 1)}&job={job['name']}")).json["items"] == []


@run_async
async def test_an_instant_before_what_is_kept_is_gone(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.put("/jobs/one", JOBS[0])
        at = world.node.clock.now()
        assert (await world.get(f"/jobs/one?as_of={instant(at)}")).status == 200
        world.node.store.writer._conn.execute(  # type: ignore[attr-defined]  # reason: what a prune will leave
            "INSERT INTO meta VALUES ('pruned', '0 0 " + str(at + 1) + "')"
        )
        assert (await world.get(f"/jobs/one?as_of={instant(at)}")).status == 410
        assert (await world.get(f"/jobs/one?as_of={instant(at + 1)}")).status == 200
        assert (await world.get("/runs/1?as_of=yesterday")).status == 400
