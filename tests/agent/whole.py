"""A real agent on a real socket, and what tests ask of it."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any, Self

from headrace.agent.app import Agent, AgentSettings
from headrace.agent.processes import become_subreaper
from headrace.link.records import Assignment, Outcome, Start
from headrace.link.unix import UnixAgent
from headrace.model.errors import LinkError


class Running:
    """One agent in this process, with ``calls`` over its socket."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        folder.mkdir(exist_ok=True)
        self.settings = AgentSettings(data=str(folder), **{"slots": 4, "python": False, **settings})

    async def __aenter__(self) -> Self:
        become_subreaper()
        self.agent = Agent(self.settings)
        self._until = asyncio.Event()
        self._serving = asyncio.ensure_future(self.agent.serve(self._until))
        self.calls = UnixAgent(self.settings.socket)
        self._after = 0
        while True:
            try:
                await self.calls.held()
            except LinkError:
                await asyncio.sleep(0.005)  # a poll: nothing tells of it
            else:
                return self

    async def __aexit__(self, *_: object) -> None:
        await self.calls.close()
        self._until.set()
        await self._serving

    async def start(self, *jobs: Assignment) -> None:
        assert (await self.calls.start(Start(1, list(jobs)))).refused == []

    async def outcomes(self, count: int) -> dict[int, Outcome]:
        found: dict[int, Outcome] = {}
        while len(found) < count:
            feed = await self.calls.outcomes(self._after, 20_000, 1)
            for o in feed.outcomes:
                self._after = o.m
                found[o.run] = o
        return found

    async def one(self, a: Assignment) -> Outcome:
        await self.start(a)
        return (await self.outcomes(1))[a.run]


def sh(run: int, script: str, **more: Any) -> Assignment:
    return Assignment(run, 0, -1, more.pop("epoch", 1), 1, 7, "script", "t", script=script, **more)


def command(run: int, *argv: str, **more: Any) -> Assignment:
    return Assignment(run, 0, -1, 1, 1, 7, "command", "t", argv=argv, **more)


def marked(mark: str) -> list[int]:
    """Living processes with this text in their environment or arguments, this one apart."""
    found = []
    for name in os.listdir("/proc"):  # noqa: PTH208 # ten times cheaper, in a loop
        if not name.isdigit() or int(name) == os.getpid():
            continue
        try:
            text = Path(f"/proc/{name}/environ").read_bytes() + Path(f"/proc/{name}/cmdline").read_bytes()
            state = Path(f"/proc/{name}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            continue
        if mark.encode() in text and state not in "ZX":
            found.append(int(name))
    return found
