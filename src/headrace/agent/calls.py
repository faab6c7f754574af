"""What control asks of this agent, answered: ``AgentCalls`` over ``Attempts``, spool and blobs.

Checks the link epoch and nothing else; knows no sockets. Called by ``agent.api`` (HTTP) and by the simulator's network.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Protocol

from headrace.agent.attempts import Attempts
from headrace.agent.blobs import Blobs
from headrace.agent.feed import FeedWire
from headrace.link.port import LogPage
from headrace.link.records import Accepted, AttemptName, Feed, Held, Start, StopOrder
from headrace.link.session import AgentLink
from headrace.link.sharing import apart
from headrace.link.wire import FETCH_PIECE
from headrace.model.errors import Conflict, Refused

WELCOME_S = 5.0
"""How long a call waits for the welcome of this life."""


@contextlib.contextmanager
def _on_disk() -> Iterator[None]:
    """Trouble with the disk is told, so that control knows it for what it is: it may pass, and nobody's bytes are bad."""
    try:
        yield
    except OSError as e:
        raise Conflict(f"the agent cannot write it to its disk: {e.strerror or e}") from e


class Packages(Protocol):
    """Packages by digest; ``agent.packages`` is the real one."""

    def has(self, digest: str) -> bool: ...

    def kept(self) -> list[str]: ...

    async def put(self, digest: str, data: bytes) -> None: ...


class NoPackages:
    """An agent that runs no Python."""

    def has(self, digest: str) -> bool:
        """Nothing is here."""
        return False

    def kept(self) -> list[str]:
        """Nothing."""
        return []

    async def put(self, digest: str, data: bytes) -> None:
        """Accepted and forgotten: nothing here will ever ask for it."""


class Calls:
    """The agent's side of ``AgentCalls``."""

    def __init__(
        self, attempts: Attempts, link: AgentLink, blobs: Blobs, packages: Packages, *, alone: bool = False
    ) -> None:
        self._attempts = attempts
        self._link = link
        self._blobs = blobs
        self._packages = packages
        self._alone = alone

    async def _admit(self, link_epoch: int) -> None:
        """Check the link epoch. A call may be faster than the welcome it follows, so that is waited for; never when
        ``alone`` (an agent that was given no control to dial).
        """
        if not self._alone and not self._link.welcomed:
            loop = asyncio.get_running_loop()
            deadline = loop.time() + WELCOME_S
            while not self._link.welcomed:
                if loop.time() >= deadline:
                    raise Refused("this life of the agent has not been welcomed yet")
                await asyncio.sleep(0.002)
        self._link.admit(link_epoch)

    async def start(self, order: Start) -> Accepted:
        """See ``AgentCalls``."""
        await self._admit(order.link_epoch)
        return self._attempts.accept(apart(order))

    async def stop(self, order: StopOrder) -> None:
        """See ``AgentCalls``."""
        await self._admit(order.link_epoch)
        self._attempts.stop(order)

    async def feed(self, after: int, wait_ms: int, link_epoch: int) -> FeedWire:
        """``outcomes`` with the records still encoded."""
        await self._admit(link_epoch)
        return await self._attempts.outbox.read(after, min(wait_ms, 60_000))

    async def outcomes(self, after: int, wait_ms: int, link_epoch: int) -> Feed:
        """See ``AgentCalls``."""
        return (await self.feed(after, wait_ms, link_epoch)).opened()

    async def held(self) -> Held:
        """See ``AgentCalls``."""
        return self._attempts.held()

    def packages(self) -> list[str]:
        """Digests of the packages that are here."""
        return self._packages.kept()

    async def logs(self, name: AttemptName, after: int, limit: int, wait_ms: int) -> LogPage:
        """See ``AgentCalls``."""
        return await self._attempts.spool.read(name, after, max(1, min(limit, 10_000)), min(wait_ms, 60_000))

    async def drop_logs(self, names: Sequence[AttemptName]) -> None:
        """See ``AgentCalls``."""
        for name in names:
            self._attempts.drop_log(name)

    async def fetch(self, digest: str) -> AsyncIterator[bytes]:
        """See ``AgentCalls``."""
        offset = 0
        while piece := self._blobs.read(digest, offset, FETCH_PIECE):
            yield piece
            offset += len(piece)

    def piece(self, digest: str, offset: int, size: int) -> bytes:
        """A part of ``fetch``."""
        return self._blobs.read(digest, offset, max(0, min(size, FETCH_PIECE)))

    async def put_blob(self, digest: str, data: bytes) -> None:
        """See ``AgentCalls``."""
        with _on_disk():
            self._blobs.take(digest, data)

    async def put_piece(self, digest: str, offset: int, total: int, data: bytes) -> None:
        """See ``AgentCalls``."""
        with _on_disk():
            self._blobs.take_piece(digest, offset, total, data)

    async def has_blobs(self, digests: Sequence[str]) -> list[str]:
        """See ``AgentCalls``."""
        return [d for d in digests if self._blobs.has(d)]

    async def put_package(self, digest: str, data: bytes) -> None:
        """See ``AgentCalls``."""
        with _on_disk():
            await self._packages.put(digest, data)

    async def has_packages(self, digests: Sequence[str]) -> list[str]:
        """See ``AgentCalls``."""
        return [d for d in digests if self._packages.has(d)]
