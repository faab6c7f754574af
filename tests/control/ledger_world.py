"""A ledger over a real SQLite store in a folder, with agents that only exist as room: for tests of the ledger."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from headrace.control.changes.agents import AGENT, AgentHello, read_agent
from headrace.control.delivery import Delivery
from headrace.control.events.fresh import Fresh
from headrace.control.graphs import Graphs
from headrace.control.group import Bounds
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.core.work import Command, Dispatch, Offer
from headrace.model.cells import RunInput, Value
from headrace.model.changes import Origin, OutcomeKind, Settle, Submit
from headrace.model.definition import JobDefinition, Task
from headrace.model.ports import Fault, no_fault
from headrace.store.port import Store
from headrace.store.sqlite import open_sqlite

ALICE = Origin("alice", "test")


class HandClock:
    """Time moves by hand; monotonic never moves, so no bound of time is ever reached."""

    def __init__(self) -> None:
        self.at = 1_700_000_000_000_000

    def now(self) -> int:
        self.at += 1
        return self.at

    def monotonic(self) -> float:
        return 0.0


class FreeRoom:
    """One agent with ``free`` places, told again before each group."""

    waiting: frozenset[int] = frozenset()

    def __init__(self, free: int = 1_000_000) -> None:
        self.free = free

    def offers(self) -> list[Offer]:
        return [Offer(agent=1, boot=1, free=self.free, slots=8)] if self.free else []


class World:
    """What a test of the ledger needs at hand."""

    def __init__(
        self, store: Store, ledger: Ledger, room: FreeRoom, clock: HandClock, commands: list[Command], fresh: Fresh
    ) -> None:
        self.store = store
        self.ledger = ledger
        self.room = room
        self.clock = clock
        self.commands = commands
        self.ids = Ids(store, "run", 64)
        self.fresh = fresh

    async def one_task(self) -> int:
        return await self.ledger.keep(job("one", ["true"]))

    async def submit(self, graph: int, *, params: bytes = b"{}") -> Submit:
        run = await self.ids.take()
        return Submit(RunInput(run, graph, None, None, self.clock.now(), params, actor="alice"))

    async def submitted(self, graph: int) -> Dispatch:
        """A run that was submitted and claimed: its only dispatch."""
        change = await self.submit(graph)
        await self.ledger.ask(change, ALICE)
        return self.dispatches(change.run)[-1]

    def dispatches(self, run: int) -> list[Dispatch]:
        return [c for c in self.commands if isinstance(c, Dispatch) and c.key[0] == run]

    async def hello(self, name: str = "a", boot: str = "b1") -> None:
        await self.ledger.change(AgentHello(name, boot, 1), ALICE)


def job(name: str, *commands: list[str], **fields: object) -> JobDefinition:
    """Tasks t0, t1 … with these commands, each needing the one before."""
    tasks = [
        Task(name=f"t{i}", command=c, **({"needs": [f"t{i - 1}"]} if i else {}))  # type: ignore[arg-type]  # test data
        for i, c in enumerate(commands)
    ]
    return JobDefinition(name=name, tasks=tasks, **fields)  # type: ignore[arg-type]  # test data


def settle(
    d: Dispatch, kind: OutcomeKind = OutcomeKind.succeeded, *, m: int = 1, result: bytes | None = None
) -> Settle:
    """An outcome of a dispatched attempt."""
    run, no, index = d.key
    value = None if result is None else Value(len(result), "inline" if len(result) <= 1024 else "aside", result)
    exit_status = "0" if kind == OutcomeKind.succeeded else "1"
    return Settle(
        run, no, index, d.epoch, kind, 1, 2, exit_status, int(exit_status), result=value, digest=b"%d:%d" % (d.boot, m)
    )


@asynccontextmanager
async def world(
    folder: Path,
    *,
    fault: Fault = no_fault,
    bounds: Bounds | None = None,
    inline: bool = True,
    store: Store | None = None,
    worked: Callable[[], float] | None = None,
) -> AsyncIterator[World]:
    """A running ledger; the store is closed at the end."""
    clock, room = HandClock(), FreeRoom()
    commands: list[Command] = []
    fresh = Fresh()
    opened = store or await open_sqlite(str(folder), clock=clock, fault=fault, inline=inline)
    ledger = Ledger(
        opened, Graphs(opened.reader), clock=clock, dice=random.Random(7), room=room, on_commands=commands.extend,
        fault=fault, bounds=bounds or Bounds(), worked=worked, on_commit=fresh.take,
    )  # fmt: skip
    running = asyncio.ensure_future(ledger.run())
    try:
        yield World(opened, ledger, room, clock, commands, fresh)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await opened.close()


def go(folder: Path, body: Callable[[World], Awaitable[None]], **options: Any) -> None:
    """Run the body in a world of its own, at most a minute."""

    async def main() -> None:
        async with asyncio.timeout(60), world(folder, **options) as w:
            await body(w)

    asyncio.run(main())


def delivery(*settles: Settle, after: int, boot: str = "b1", **more: Any) -> Delivery:
    """What agent 1 tells, up to where."""
    return Delivery(1, "a", 1, boot, after, list(settles), more.get("started", []), more.get("artifacts", {}))


async def cursor(w: World) -> int:
    """Up to where agent 1's feed is recorded."""
    entity = await w.store.reader.entity((AGENT, "a"))
    assert entity is not None
    return read_agent(entity.image).after
