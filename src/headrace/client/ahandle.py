"""``AsyncRun``: one run on the server, held from asyncio; ``client.handle.Run`` with the same words, awaited.

Made by ``client.aio`` and ``client.anouns``.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from typing import Any, Protocol, TypeVar

from headrace.client import flow
from headrace.client.handle import FINAL, WAIT_SLICE, RunFailed
from headrace.model import views

T = TypeVar("T")


class AsyncAsks(Protocol):
    """Whoever drives a flow to its end: the client."""

    async def do(self, call: flow.Flow[T]) -> T:
        """The flow's answer."""
        ...


class AsyncRunTask:
    """A task of a run, as it was when last asked: all that a ``TaskView`` has.

    Of a task with ``each``, ``await task[3]`` asks for an instance, ``len`` is how many there are, and ``async for`` gives
    them all.
    """

    def __init__(self, client: AsyncAsks, run: int, view: views.TaskView) -> None:
        self._client = client
        self._run = run
        self.view = view

    def __getattr__(self, name: str) -> Any:
        if name == "view":  # not made yet: a copy
            raise AttributeError(name)
        return getattr(self.view, name)

    def __repr__(self) -> str:
        return f"AsyncRunTask({self.view!r})"

    def __len__(self) -> int:
        return (self.view.counts or {}).get("total", 0)

    def __bool__(self) -> bool:
        return True

    async def __getitem__(self, index: int) -> views.TaskView:
        """One instance, counted from 0, from the end when negative. Raises IndexError."""
        if not isinstance(index, int):
            raise TypeError(f"an instance is named by its number, not by {index!r}")
        total = len(self)
        if not -total <= index < total:
            raise IndexError(f"task {self.view.name} has {total} instances: there is no {index}")
        return await self._client.do(flow.task(self._run, self.view.name, index % total))

    async def __aiter__(self) -> AsyncIterator[views.TaskView]:
        cursor: str | None = None
        while self.view.counts is not None:
            page = await self._client.do(flow.instances(self._run, self.view.name, cursor))
            for item in page.items:
                yield item
            cursor = page.next_cursor
            if cursor is None:
                return


class AsyncRun:
    """One run on the server; its view is asked anew by ``refresh`` and ``wait``."""

    def __init__(self, client: AsyncAsks, view: views.RunView) -> None:
        self._client = client
        self.view = view

    @property
    def id(self) -> int:
        """The run's number."""
        return self.view.id

    @property
    def state(self) -> str:
        """The state when last asked."""
        return self.view.state

    @property
    def tasks(self) -> dict[str, AsyncRunTask]:
        """The tasks by name, when last asked; ``await run.tasks["load"][0]`` is an instance of one with ``each``."""
        return {task.name: AsyncRunTask(self._client, self.id, task) for task in self.view.tasks}

    async def refresh(self) -> AsyncRun:
        """Ask the server again."""
        self.view = await self._client.do(flow.run(self.id))
        return self

    async def wait(self, timeout: float | None = None) -> AsyncRun:
        """Until the run has ended. Raises TimeoutError after ``timeout`` seconds."""
        deadline = None if timeout is None else time.monotonic() + timeout
        while self.view.state not in FINAL:
            left = WAIT_SLICE if deadline is None else min(WAIT_SLICE, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError(f"run {self.id} is still {self.view.state}")
            self.view = await self._client.do(flow.run(self.id, wait=left))
        return self

    async def result(self, timeout: float | None = None) -> Any:
        """The run's result, when it has succeeded; raises RunFailed otherwise."""
        if (await self.wait(timeout)).view.state != "succeeded":
            raise RunFailed(self.view, await self._client.do(flow.failures(self.view)))
        return self.view.result

    async def logs(
        self, task: str | None = None, index: int | None = None, *, follow: bool = False, **where: Any
    ) -> AsyncIterator[views.LogView]:
        """The log, record by record: of the run, a task, or its instance ``index`` (also named ``task[3]``).

        With ``follow`` until the run has ended. Further: stream, level, q.
        """
        cursor: str | None = None
        while True:
            wait = WAIT_SLICE if follow else 0.0
            page = await self._client.do(flow.logs(self.id, task, index, after=cursor, wait=wait, **where))
            for item in page.items:
                yield item
            if page.next_cursor is None or (not follow and not page.items):
                return
            cursor = page.next_cursor

    async def explain(self) -> views.ExplainView:
        """Why it runs, or does not, and when it will."""
        return await self._client.do(flow.explain(self.id))

    async def cancel(self, *, reason: str | None = None) -> None:
        """Bring it to its end: ask, then kill."""
        await self._client.do(flow.command(self.id, "cancel", reason))

    async def stop(self, *, reason: str | None = None) -> None:
        """Begin nothing new, let what runs finish; it ends canceled and can be restarted."""
        await self._client.do(flow.command(self.id, "stop", reason))

    async def pause(self, *, reason: str | None = None) -> None:
        """Begin nothing new until ``resume``; what runs goes on."""
        await self._client.do(flow.command(self.id, "pause", reason))

    async def resume(self, *, reason: str | None = None) -> None:
        """Go on after a pause; and let tasks go on that are held because their attempts were lost."""
        await self._client.do(flow.command(self.id, "resume", reason))

    async def abandon(self, *, reason: str | None = None) -> None:
        """End the record at once and wait for nobody; what runs is fenced."""
        await self._client.do(flow.command(self.id, "abandon", reason))

    async def amend(self, **fields: Any) -> None:
        """Another ``priority``, other ``labels``, a ``phase`` with its ``message``; what is not given stays."""
        self.view = await self._client.do(flow.amend(self.id, fields))

    async def restart(
        self,
        *,
        from_: str = "failed",
        version: int | None = None,
        code: str = "same",
        params: Mapping[str, Any] | None = None,
        key: str | None = None,
        **options: Any,
    ) -> AsyncRun:
        """A new run that goes on from this one, which has ended: what had succeeded is taken over; see ``Run.restart``."""
        asked = {"from": from_, "version": version, "code": code, "params": params or {}, **options}
        given = {name: value for name, value in asked.items() if value is not None}
        return AsyncRun(self._client, await self._client.do(flow.restart(self.id, given, key)))

    async def artifacts(self) -> list[views.ArtifactView]:
        """The files that it left."""
        return await self._client.do(flow.artifacts(self.id))

    async def download(self, artifact: views.ArtifactView) -> bytes:
        """The bytes of one of its files."""
        return await self._client.do(flow.artifact(self.id, artifact.task, artifact.path, artifact.index))
