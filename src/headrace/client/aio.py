"""``AsyncClient``: the same flows from asyncio. Each request in flight runs on a connection of its own, in a thread.

The standard library has no async HTTP; a thread per request in flight is what the client SDK can have without a
dependency.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self, TypeVar

from headrace.client import anouns, find, flow
from headrace.client.ahandle import AsyncRun
from headrace.client.handle import FINAL, WAIT_SLICE, RunFailed
from headrace.client.sync import no_noun
from headrace.client.transport import Connection
from headrace.model import views

T = TypeVar("T")


class AsyncClient:
    """A server, from asyncio: ``.jobs .runs .packages .agents .limits .users .tokens`` as ``Client`` has them, awaited.

    ``await client.do(flow.…)`` drives any call.
    """

    def __init__(self, url: str | None = None, *, token: str | None = None, data: str | Path | None = None) -> None:
        self.url, self._token = find.server(url, token, data)
        self._idle: list[Connection] = []
        self.jobs = anouns.AsyncJobs(self)
        self.runs = anouns.AsyncRuns(self)
        self.packages = anouns.AsyncPackages(self)
        self.agents = anouns.AsyncAgents(self)
        self.limits = anouns.AsyncLimits(self)
        self.users = anouns.AsyncUsers(self)
        self.tokens = anouns.AsyncTokens(self)

    if not TYPE_CHECKING:  # for type checkers there is nothing else

        def __getattr__(self, name: str) -> NoReturn:
            raise no_noun(self, name)

    async def do(self, call: flow.Flow[T]) -> T:
        """Drive one flow to its end."""
        connection = self._idle.pop() if self._idle else Connection(self.url, self._token)
        try:
            request = next(call)
            while True:
                request = call.send(await asyncio.to_thread(connection.send, request))
        except StopIteration as done:
            answer: T = done.value
            return answer
        finally:
            self._idle.append(connection)

    async def submit(
        self, target: flow.Target, params: Mapping[str, Any] | None = None, *, key: str | None = None, **options: Any
    ) -> AsyncRun:
        """Make a run; see ``Client.submit``."""
        return AsyncRun(self, await self.do(flow.submit(target, params or {}, options, key)))

    async def submit_many(self, runs: Sequence[Mapping[str, Any]], *, key: str | None = None) -> list[int]:
        """Up to 10,000 runs, all or none; gives their ids in order."""
        return await self.do(flow.submit_many(runs, key))

    async def version(self) -> views.VersionView:
        """Which server answers."""
        return await self.do(flow.version())

    async def wait(self, number: int) -> views.RunView:
        """Until the run has ended."""
        while True:
            view = await self.do(flow.run(number, wait=WAIT_SLICE))
            if view.state in FINAL:
                return view

    async def result(self, number: int) -> Any:
        """The run's result, when it has succeeded; raises RunFailed otherwise."""
        view = await self.wait(number)
        if view.state != "succeeded":
            raise RunFailed(view, await self.do(flow.failures(view)))
        return view.result

    async def cancel(self, number: int, *, reason: str | None = None) -> None:
        """Bring it to its end."""
        await self.command(number, "cancel", reason=reason)

    async def command(self, number: int, verb: str, *, reason: str | None = None) -> None:
        """Ask the run to ``cancel``, ``stop``, ``pause``, ``resume`` or ``abandon``."""
        await self.do(flow.command(number, verb, reason))

    async def close(self) -> None:
        """Close the connections."""
        for connection in self._idle:
            connection.close()
        self._idle.clear()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
