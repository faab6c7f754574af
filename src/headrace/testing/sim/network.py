"""A seeded network between simulated processes: it delays, loses, doubles, reorders and splits.

A call goes out, runs in the other process (twice, when doubled), and its answer comes back; any part may be lost, and
then the caller gets a ``LinkError`` without knowing whether it was done. A doorbell is a connection: it delays, and a
loss cuts it. Knows processes only as ``Process``; used by ``testing.sim.world``.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import partial
from random import Random
from typing import TypeVar

from msgspec import Struct

from headrace.link.port import AgentCalls, Bell, LogPage
from headrace.link.records import Accepted, AttemptName, Feed, Held, Start, StopOrder
from headrace.model.errors import LinkError
from headrace.testing.sim.loop import Process, VirtualLoop

T = TypeVar("T")
GIVE_UP_S = 5.0
"""How long a caller waits for an answer that was lost, beyond what it asked to wait."""


class Weather(Struct):
    """What the network does to each message; probabilities and seconds."""

    loss: float = 0.02
    doubling: float = 0.02
    delay_max: float = 0.02
    late: float = 0.02
    """Probability of a message that takes up to a second: it arrives after its successors."""


class Network:
    """All connections of one world."""

    def __init__(self, loop: VirtualLoop, dice: Random, weather: Weather) -> None:
        self.loop = loop
        self.dice = dice
        self.weather = weather
        self.split = False
        self.lost = 0
        self.doubled = 0
        self._bells: list[SimBell] = []

    def heal(self) -> None:
        """From now on everything arrives, soon and once."""
        self.split = False
        self.weather = Weather(0.0, 0.0, 0.002, 0.0)

    def loses(self) -> bool:
        """Whether this message is lost."""
        if self.split or self.dice.random() < self.weather.loss:
            self.lost += 1
            return True
        return False

    def delay(self) -> float:
        """How long this message takes."""
        if self.dice.random() < self.weather.late:
            return self.dice.random()
        return self.dice.random() * self.weather.delay_max

    async def call(
        self, far: Process, work: Callable[[], Awaitable[T]], *, waits: float = 0.0, repeatable: bool = True
    ) -> T:
        """One call to ``far``: its answer, or its error, or LinkError."""
        answer: asyncio.Future[T] = self.loop.create_future()
        copies = 2 if repeatable and self.dice.random() < self.weather.doubling else 1
        self.doubled += copies - 1
        for _ in range(copies):
            if not self.loses():
                self._later(far, partial(self._serve, work, answer))
        try:
            async with asyncio.timeout(waits + GIVE_UP_S):
                return await asyncio.shield(answer)
        except TimeoutError as error:
            raise LinkError("no answer") from error

    def _later(self, process: Process, work: Callable[[], Awaitable[None]]) -> None:
        async def arrive() -> None:
            await asyncio.sleep(self.delay())
            await work()

        if process.alive:
            self.loop.spawn(process, arrive())

    async def _serve(self, work: Callable[[], Awaitable[T]], answer: asyncio.Future[T]) -> None:
        result: T | None = None
        error: Exception | None = None
        try:
            result = await work()
        except Exception as e:
            error = e
        if self.loses():
            return
        await asyncio.sleep(self.delay())
        if answer.done():
            return
        if error is not None:
            answer.set_exception(error)
        else:
            answer.set_result(result)  # type: ignore[arg-type]  # None is what work gave when T allows it

    def bells(self, near: Process, far: Process) -> tuple[SimBell, SimBell]:
        """Two ends of a new doorbell connection."""
        a, b = SimBell(self, near), SimBell(self, far)
        a.far, b.far = b, a
        self._bells = [bell for bell in self._bells if bell.open]
        self._bells += [a, b]
        return a, b

    def died(self, process: Process) -> None:
        """The process is gone: its connections are cut, as its kernel would do."""
        for bell in self._bells:
            if bell.owner is process:
                bell.cut()


class SimBell:
    """One end of a doorbell connection."""

    def __init__(self, network: Network, owner: Process) -> None:
        self.network = network
        self.owner = owner
        self.open = True
        self.far: SimBell | None = None
        self._inbox: deque[Bell] = deque()
        self.arrived = asyncio.Event()
        self._last = 0.0

    async def send(self, record: Bell) -> None:
        """In order, later; a lost record cuts the connection."""
        if not self.open:
            raise LinkError("the doorbell is closed")
        if self.network.loses():
            self.cut()
            raise LinkError("the doorbell was cut")
        loop = self.network.loop
        self._last = max(self._last, loop.time() + self.network.delay())
        far = self.far
        assert far is not None
        loop.call_at(self._last, far.arrive, record)

    def arrive(self, record: Bell) -> None:
        """The network brings a record."""
        if self.open:
            self._inbox.append(record)
            self.arrived.set()

    async def recv(self) -> Bell:
        """The next record."""
        while not self._inbox:
            if not self.open:
                raise LinkError("the doorbell is closed")
            self.arrived.clear()
            await self.arrived.wait()
        return self._inbox.popleft()

    async def close(self) -> None:
        """End it."""
        self.cut()

    def cut(self) -> None:
        """Both ends notice."""
        for bell in (self, self.far):
            if bell is not None and bell.open:
                bell.open = False
                bell.arrived.set()


class SimCalls:
    """``AgentCalls`` over the network. ``reach`` gives the agent's process and its side of the calls, or None when it is down."""

    def __init__(self, network: Network, reach: Callable[[], tuple[Process, AgentCalls] | None]) -> None:
        self._network = network
        self._reach = reach

    async def _call(self, work: Callable[[AgentCalls], Awaitable[T]], *, waits: float = 0.0) -> T:
        far = self._reach()
        if far is None:
            await asyncio.sleep(self._network.delay())
            raise LinkError("connection refused")
        process, calls = far
        return await self._network.call(process, lambda: work(calls), waits=waits)

    async def start(self, order: Start) -> Accepted:
        return await self._call(lambda c: c.start(order))

    async def stop(self, order: StopOrder) -> None:
        await self._call(lambda c: c.stop(order))

    async def outcomes(self, after: int, wait_ms: int, link_epoch: int) -> Feed:
        return await self._call(lambda c: c.outcomes(after, wait_ms, link_epoch), waits=wait_ms / 1000)

    async def held(self) -> Held:
        return await self._call(lambda c: c.held())

    async def logs(self, name: AttemptName, after: int, limit: int, wait_ms: int) -> LogPage:
        return await self._call(lambda c: c.logs(name, after, limit, wait_ms), waits=wait_ms / 1000)

    async def drop_logs(self, names: Sequence[AttemptName]) -> None:
        await self._call(lambda c: c.drop_logs(names))

    async def fetch(self, digest: str) -> AsyncIterator[bytes]:
        async def whole(calls: AgentCalls) -> list[bytes]:
            return [piece async for piece in calls.fetch(digest)]

        for piece in await self._call(whole):
            yield piece

    async def put_blob(self, digest: str, data: bytes) -> None:
        await self._call(lambda c: c.put_blob(digest, data))

    async def put_piece(self, digest: str, offset: int, total: int, data: bytes) -> None:
        await self._call(lambda c: c.put_piece(digest, offset, total, data))

    async def has_blobs(self, digests: Sequence[str]) -> list[str]:
        return await self._call(lambda c: c.has_blobs(digests))

    async def put_package(self, digest: str, data: bytes) -> None:
        await self._call(lambda c: c.put_package(digest, data))

    async def has_packages(self, digests: Sequence[str]) -> list[str]:
        return await self._call(lambda c: c.has_packages(digests))

    async def close(self) -> None:
        """Nothing is held open."""
