"""What control may ask of an agent, and the doorbell between them: two protocols and nothing else.

Control holds an ``AgentCalls`` per linked agent; ``link.unix`` implements it over HTTP, the simulator over its network,
and ``agent.calls`` itself on the agent's side. Every call may be repeated: the agent treats a second copy as the first.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from msgspec import Struct

from headrace.link.records import (
    Accepted,
    AttemptName,
    Feed,
    Held,
    Hello,
    LogRecord,
    Pulse,
    PulseAnswer,
    Start,
    StopOrder,
    Welcome,
)

Bell = Hello | Welcome | Pulse | PulseAnswer
"""Everything that travels on the doorbell."""


class LogPage(Struct, frozen=True):
    """A piece of an attempt's log. ``sealed``: no record after the last one will ever come."""

    records: list[LogRecord] = []
    sealed: bool = False


class AgentCalls(Protocol):
    """Calls control -> agent. All raise ``LinkError`` when the agent cannot be reached or speaks nonsense, and
    ``Refused`` when the link epoch is older than one the agent has seen.
    """

    async def start(self, order: Start) -> Accepted:
        """Hand over a batch; everything not named in the answer is in the agent's journal."""

    async def stop(self, order: StopOrder) -> None:
        """The ladder, a fence or a take-back; unknown attempts are remembered, so that a late start does not run."""

    async def outcomes(self, after: int, wait_ms: int, link_epoch: int) -> Feed:
        """Outcomes with ``m > after``, waiting up to ``wait_ms`` for the first. Acknowledges everything up to
        ``after``: the agent forgets it.
        """

    async def held(self) -> Held:
        """What the agent holds now."""

    async def logs(self, name: AttemptName, after: int, limit: int, wait_ms: int) -> LogPage:
        """Log records with ``seq > after``, at most ``limit``, waiting up to ``wait_ms`` for the first. ``NotFound``
        when the agent has no log of it.
        """

    async def drop_logs(self, names: Sequence[AttemptName]) -> None:
        """These logs are stored elsewhere: the agent may delete its copies."""

    def fetch(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes of a result or artifact, in pieces of at most 1 MiB. ``NotFound`` when the agent has none."""

    async def put_blob(self, digest: str, data: bytes) -> None:
        """Bytes that an attempt will need as input. ``Invalid`` when they do not have this digest."""

    async def put_piece(self, digest: str, offset: int, total: int, data: bytes) -> None:
        """A piece of such bytes, in order from 0; a copy of one that came is the first. The one that ends at ``total``
        makes them whole: ``Invalid`` when they do not have this digest. ``Conflict`` when the piece before is missing:
        begin again.
        """

    async def has_blobs(self, digests: Sequence[str]) -> list[str]:
        """Which of these the agent has."""

    async def put_package(self, digest: str, data: bytes) -> None:
        """A package, before the first attempt that names it. ``Invalid`` when the bytes do not have this digest."""

    async def has_packages(self, digests: Sequence[str]) -> list[str]:
        """Which of these the agent has."""


class Doorbell(Protocol):
    """One doorbell connection, seen from either end. It carries no data: losing it loses nothing."""

    async def send(self, record: Bell) -> None:
        """Send one record. ``LinkError`` when the connection is gone."""

    async def recv(self) -> Bell:
        """The next record. ``LinkError`` when the connection is gone or the other end speaks nonsense."""

    async def close(self) -> None:
        """End it; harmless when it has ended."""
