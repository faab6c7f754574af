"""A whole Headrace in one process for tests: control's core on SQLite, the real agent over its Unix socket.

Nothing is faked but the process borders: control and agent share this loop. Used by the tests of this folder.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Self

import msgspec

from headrace.agent.app import Agent, AgentSettings
from headrace.control.clock import SystemClock
from headrace.control.connect import connect
from headrace.control.node import Node
from headrace.control.server import Doors, bind
from headrace.model.cells import RunInput, TaskCell
from headrace.model.changes import SYSTEM, Submit
from headrace.model.definition import JobDefinition
from headrace.model.ports import Clock, Fault, no_fault
from headrace.model.states import RUN_FINAL
from headrace.store.port import Store
from headrace.store.rows import RunRow
from headrace.store.sqlite.store import open_sqlite

SECRET = b"s" * 32


async def nothing(_scope: Any, _receive: Any, _send: Any) -> None:
    """An API that has no routes."""


async def until(holds: Callable[[], bool | Awaitable[bool]]) -> None:
    """Wait until it holds, looking again every few milliseconds. For what no event of the product tells."""
    while True:
        found = holds()
        if found if isinstance(found, bool) else await found:
            return
        await asyncio.wait([asyncio.get_running_loop().create_future()], timeout=0.005)


class Whole:
    """Control and agent on one data folder; either can be ended and begun again. ``dsn``: the store is that PostgreSQL."""

    def __init__(
        self, data: Path, *, slots: int = 2, fault: Fault = no_fault, name: str = "a", dsn: str = "", **labels: str
    ) -> None:
        self.data = data
        self.name = name
        self._labels = labels
        self._dsn = dsn
        self.node: Node
        self.agent: Agent
        self._slots = slots
        self._fault = fault
        self._doors: Doors
        self._until = asyncio.Event()
        self._serving: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        await self.start_control()
        self.start_agent()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_agent()
        await self.stop_control()

    async def start_control(self) -> None:
        """A life of control."""
        clock = SystemClock()
        store = await self._open(clock)
        self.node = Node(store, clock=clock, dice=random.Random(1), fault=self._fault, alone=not self._dsn)
        links = await self.node.start(secret=SECRET, url="http://test", connect=connect)
        self._doors = Doors(nothing, links.serve)
        await self._doors.open(bind("127.0.0.1", 0), self.data / "control.sock")

    async def _open(self, clock: Clock) -> Store:
        if not self._dsn:
            return await open_sqlite(str(self.data), clock=clock)
        from headrace.store.postgres.store import open_store  # not every test needs it

        return await open_store(self._dsn)

    async def stop_control(self) -> None:
        """End it as a stop does."""
        await self._doors.close()
        await self.node.close()

    def start_agent(self) -> None:
        """A life of the agent."""
        folder = self.data / "agent"
        folder.mkdir(exist_ok=True)
        settings = AgentSettings(
            data=str(folder),
            control=str(self.data / "control.sock"),
            slots=self._slots,
            name=self.name,
            labels=self._labels,
        )
        self._until = asyncio.Event()
        self.agent = Agent(settings)
        self._serving = asyncio.ensure_future(self.agent.serve(self._until))

    async def stop_agent(self) -> None:
        """End it; what it runs is killed."""
        self._until.set()
        if self._serving is not None:
            await self._serving

    async def submit(self, document: dict[str, Any], count: int = 1) -> list[int]:
        """Ask for runs of this definition."""
        definition = msgspec.convert(document, JobDefinition)
        graph = await self.node.ledger.keep(definition)
        first = await self.node.ids.take(count)
        now = self.node.clock.now()
        changes = [Submit(RunInput(first + i, graph, None, None, now)) for i in range(count)]
        for i in range(0, count, 1000):
            await self.node.ledger.ask_all(changes[i : i + 1000], SYSTEM)
        return [first + i for i in range(count)]

    async def ended(self, runs: Sequence[int], seconds: float = 30.0) -> list[RunRow]:
        """Wait until all of these are final."""
        rows = []
        async with asyncio.timeout(seconds):
            for run in runs:
                while True:
                    heard = self.node.waiters.subscribe(run)
                    row = await self.node.store.reader.run(run)
                    if row is not None and row.cell.state in RUN_FINAL:
                        rows.append(row)
                        break
                    await self.node.waiters.until(run, heard, 1.0)
        return rows

    async def tasks(self, run: int) -> list[TaskCell]:
        """The run's tasks."""
        return await self.node.store.reader.tasks(run)
