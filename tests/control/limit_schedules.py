"""Random schedules of starts, deaths, pauses and changes of limits, over a real ledger: one seed, one schedule.

The model beside it knows nothing of ours: it counts what was told to begin and what was told to have ended, and judges
every start by the limit as it was put last. A schedule ends with everything ended: then nothing may be held any more.
"""

from __future__ import annotations

import asyncio
import random
import shutil
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from tests.control.ledger_world import ALICE, World, settle, world

from headrace.control.changes.limits import DeleteLimit, PauseLimit, PutLimit
from headrace.core.limits import limit_of
from headrace.core.work import Dispatch, StopAttempt
from headrace.model.changes import Admit, Cancel, Claim, Lose, OutcomeKind, Pause, Resume, Wake
from headrace.model.definition import Concurrency, JobDefinition
from headrace.model.errors import HeadraceError
from headrace.model.ids import TaskKey
from headrace.model.limits import LimitBody
from headrace.model.states import RUN_FINAL, TaskState

TAKES: tuple[dict[str, int], ...] = ({"a": 1}, {"a": 2}, {"b": 1}, {"a": 1, "b": 1}, {"b": 3}, {})
STEPS = 45
SECOND = 1_000_000


class Model:
    """What may be out at once, by what was told."""

    def __init__(self) -> None:
        self.limits: dict[str, LimitBody] = {}
        self.paused: set[str] = set()
        self.live: dict[TaskKey, dict[str, int]] = {}
        self.tokens: dict[str, tuple[float, int]] = {}
        self.starts = 0

    def put(self, name: str, body: LimitBody, now: int) -> None:
        if name not in self.limits:
            self.paused.discard(name)
        if body.rate is not None and (name not in self.limits or self.limits[name] != body):
            self.tokens[name] = (float(body.burst or 1), now)
        self.limits[name] = body

    def begin(self, key: TaskKey, takes: dict[str, int], now: int) -> None:
        """An attempt was told to begin: was there room for it?"""
        assert key not in self.live, f"{key} began twice"
        self.starts += 1
        for name, units in takes.items():
            assert name in self.limits, f"{key} began with a limit {name} that is not there"
            assert name not in self.paused, f"{key} began while {name} was paused"
            body = self.limits[name]
            used = sum(held.get(name, 0) for held in self.live.values())
            assert body.slots is None or used + units <= body.slots, f"{name}: {used} + {units} > {body.slots}"
            if body.rate is not None:
                tokens, at = self.tokens[name]
                count, per = int(body.rate.split("/")[0]), 1 * SECOND
                tokens = min(float(body.burst or 1), tokens + (now - at) * count / per)
                assert tokens + 1e-3 >= units, f"{name}: {tokens} tokens, {units} asked for"
                self.tokens[name] = (tokens - units, now)
        self.live[key] = takes


class Schedule:
    """One seed."""

    def __init__(self, w: World, seed: int) -> None:
        self.w = w
        self.dice = random.Random(seed)
        self.model = Model()
        self.takes: dict[int, dict[str, int]] = {}
        self.runs: list[int] = []
        self.out: dict[TaskKey, Dispatch] = {}
        self.seen = 0
        self.m = 0

    async def play(self) -> int:
        """The schedule, then peace. Gives how many attempts began."""
        for name in ("a", "b"):
            await self._put(name)
        for _ in range(5):
            await self._submit("")
        acts = [self._put, self._pause, self._submit, self._submit, self._claim, self._claim, self._claim, self._settle,
                self._settle, self._lose, self._cancel, self._time, self._delete, self._verb]  # fmt: skip
        for _ in range(STEPS):
            await self.dice.choice(acts)(self.dice.choice("ab"))
            await self._look()
        await self._peace()
        return self.model.starts

    async def _peace(self) -> None:
        """Everything may go on, and everything ends."""
        for name in ("a", "b"):
            await self.w.ledger.change(PutLimit(name, limit_of(LimitBody(slots=5))), ALICE)
            await self.w.ledger.change(PauseLimit(name, False), ALICE)
            self.model.limits[name] = LimitBody(slots=5)
        self.model.paused.clear()
        for run in self.runs:
            await self._ask(Cancel(run))
        for _ in range(6):
            await self._time("")
            await self._look()
            for key in list(self.out):
                await self._settle("", key)
            await self._look()
        assert not self.out
        for run in self.runs:
            row = await self.w.store.reader.run(run)
            assert row is not None
            assert row.cell.state in RUN_FINAL, row.cell
        for name in ("a", "b", "job:gated"):
            assert await self.w.store.reader.holders(name) == [], "leaked"
            assert await self.w.store.reader.gate_waiting((name, ""), 10) == [], "leaked"

    async def _look(self) -> None:
        """What was told since; and what the store says is in use."""
        new, self.seen = self.w.commands[self.seen :], len(self.w.commands)
        for command in new:
            if isinstance(command, Dispatch):
                self.model.begin(command.key, self.takes[command.key[0]], self.w.clock.at)
                self.out[command.key] = command
            elif isinstance(command, StopAttempt) and command.fence:
                self._over(command.key)
        for name in ("a", "b"):
            told = {key: units[name] for key, units in self.model.live.items() if name in units}
            kept = {(h.run, h.no, h.index): h.units for h in await self.w.store.reader.holders(name)}
            assert told == kept, f"{name}: out are {told}, held is {kept}"
        gated = await self.w.store.reader.holders("job:gated")
        assert len(gated) <= 2
        rows = await self.w.store.reader.statement("uses_against_tasks", {})
        assert rows[0][0] == 0

    def _over(self, key: TaskKey) -> None:
        self.out.pop(key, None)
        self.model.live.pop(key, None)

    async def _ask(self, change: Any) -> None:
        try:
            await self.w.ledger.ask(change, ALICE)
        except HeadraceError:
            return

    async def _put(self, name: str) -> None:
        body = LimitBody(slots=self.dice.choice([0, 1, 1, 2, 3, 4, 6]))
        if self.dice.random() < 0.3:
            body = LimitBody(rate=f"{self.dice.randint(1, 5)}/1s", burst=self.dice.randint(1, 4))
        await self.w.ledger.change(PutLimit(name, limit_of(body)), ALICE)
        self.model.put(name, body, self.w.clock.at)

    async def _delete(self, name: str) -> None:
        if self.dice.random() < 0.1 and name in self.model.limits:
            await self.w.ledger.change(DeleteLimit(name), ALICE)
            del self.model.limits[name]

    async def _pause(self, name: str) -> None:
        if name in self.model.limits:
            paused = self.dice.random() < 0.3
            # In one group with claims that come after it: they see it.
            pausing = self.w.ledger.change(PauseLimit(name, paused), ALICE)
            await asyncio.gather(pausing, self.w.ledger.ask_many(await self._ready(), ALICE))
            (self.model.paused.add if paused else self.model.paused.discard)(name)

    async def _submit(self, _name: str) -> None:
        takes = self.dice.choice(TAKES)
        graph = await self.w.ledger.keep(self._definition(takes))
        change = await self.w.submit(graph)
        self.takes[change.run] = takes
        self.runs.append(change.run)
        await self._ask(change)

    def _definition(self, takes: dict[str, int]) -> JobDefinition:
        more: dict[str, Any] = {"limits": takes, "retries": self.dice.choice([0, 2])}
        if self.dice.random() < 0.3:
            more["each"] = [1, 2, 3]
        more["on_lost"] = self.dice.choice(["retry", "fail"])
        named = {"name": "free", "tasks": [{"name": "t", "command": ["true"], **more}]}
        found = msgspec.convert(named, JobDefinition)
        if self.dice.random() < 0.3:
            rule = Concurrency(max=2, when_full=self.dice.choice(["queue", "replace"]))
            found = msgspec.structs.replace(found, name="gated", concurrency=rule)
        return found

    async def _claim(self, _name: str) -> None:
        """More than may begin, all in one group."""
        await self.w.ledger.ask_many(await self._ready(), ALICE)
        waiting = [run for run, _ in await self.w.store.reader.gate_waiting(("job:gated", ""), 10)]
        await self.w.ledger.ask_many([Admit(run, "job:gated", "") for run in waiting], ALICE)

    async def _ready(self) -> list[Claim]:
        """Some of what is ready, in no order."""
        claims = []
        for run in self.runs:
            for cell in await self.w.store.reader.tasks(run):
                if cell.state == TaskState.ready and cell.counts is None:
                    claims.append(Claim(*cell.key, tuple(self.takes[run])))
        self.dice.shuffle(claims)
        return claims[:12]

    async def _settle(self, _name: str, key: TaskKey | None = None) -> None:
        if not self.out:
            return
        key = key or self.dice.choice(list(self.out))
        self.m += 1
        kinds = [
            OutcomeKind.succeeded,
            OutcomeKind.succeeded,
            OutcomeKind.failed,
            OutcomeKind.refused,
            OutcomeKind.lost,
        ]
        kind = self.dice.choice(kinds)
        found = await self.w.ledger.ask_many([settle(self.out[key], kind, m=self.m)], ALICE)
        assert not isinstance(found[0], HeadraceError), found
        self._over(key)

    async def _lose(self, _name: str) -> None:
        if self.out:
            key = self.dice.choice(list(self.out))
            await self._ask(Lose(*key, self.out[key].epoch, "gone"))
            self._over(key)

    async def _cancel(self, _name: str) -> None:
        if self.runs and self.dice.random() < 0.5:
            await self._ask(Cancel(self.dice.choice(self.runs)))

    async def _verb(self, _name: str) -> None:
        if self.runs:
            await self._ask(self.dice.choice([Pause, Resume])(self.dice.choice(self.runs)))

    async def _time(self, name: str) -> None:
        """Time passes; what is owed is done."""
        self.w.clock.at += self.dice.choice([50_000, 300_000, 2 * SECOND]) if name else 30 * SECOND
        due = await self.w.store.reader.due(self.w.clock.at, 500)
        await self.w.ledger.ask_many([Wake(r.run, r.no, r.index) for r in due], ALICE)


async def schedule(seed: int) -> int:
    """Play one seed on a store of its own."""
    memory = "/dev/shm" if Path("/dev/shm").is_dir() else None
    folder = Path(tempfile.mkdtemp(prefix="headrace-limits-", dir=memory))
    try:
        async with world(folder) as w:
            return await Schedule(w, seed).play()
    finally:
        shutil.rmtree(folder, ignore_errors=True)
