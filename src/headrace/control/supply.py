"""The bytes that an agent must have before an attempt may go there: its package, and the files of earlier tasks.

Asks what the agent lacks and sends that: small bytes at once, larger ones in pieces. What cannot be sent is told, with a
reason that a person understands; it never decides what becomes of the attempt. Called by ``control.assign``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence

from msgspec import Struct

from headrace.link.port import AgentCalls
from headrace.link.records import Assignment
from headrace.link.wire import FETCH_PIECE, PACKAGE_MAX
from headrace.model.errors import Busy, Conflict, HeadraceError, LinkError, NotFound, Refused, TooLarge
from headrace.store.port import Blobs

ASKED_MAX = 10_000
"""Digests in one question to an agent."""


class Unable(Struct, frozen=True):
    """What cannot be supplied: its place in the batch, and why. ``lasting``: another attempt would fare no better."""

    at: int
    why: str
    lasting: bool = True


class Supplies:
    """Keeps the agents supplied. Which packages an agent has is remembered per life of it, until there is doubt."""

    def __init__(self, blobs: Blobs) -> None:
        self._blobs = blobs
        self._there: dict[int, set[str]] = {}

    def doubt(self, boot: int) -> None:
        """What this life of an agent has is asked again: it was linked anew, or did not have what was thought."""
        self._there.pop(boot, None)

    async def give(self, calls: AgentCalls, boot: int, batch: Sequence[Assignment]) -> list[Unable]:
        """Put what the agent lacks. Raises LinkError, Busy, and Refused when an older node asks."""
        there = self._there.setdefault(boot, set())
        packages = sorted({a.package for a in batch if a.package} - there)
        files = sorted({f.digest for a in batch for f in a.inputs})
        if not packages and not files:
            return []
        gone: dict[str, HeadraceError] = {}
        for digest in await _lacking(calls.has_packages, packages):
            await _try(self._put_package(calls, digest), digest, gone)
        for digest in await _lacking(calls.has_blobs, files):
            await _try(self._put_file(calls, digest), digest, gone)
        there.update(digest for digest in packages if digest not in gone)
        return list(_unable(batch, gone)) if gone else []

    async def _put_package(self, calls: AgentCalls, digest: str) -> None:
        size = await self._blobs.size(digest)
        if size is not None and size > PACKAGE_MAX:
            most = f"an agent takes at most {PACKAGE_MAX >> 20} MiB: leave out of it what is no code"
            raise TooLarge(f"it has {size} bytes, and {most}")
        await calls.put_package(digest, await self._blobs.get(digest))

    async def _put_file(self, calls: AgentCalls, digest: str) -> None:
        size = await self._blobs.size(digest)
        if size is None:
            raise NotFound(f"no blob {digest}")
        if size <= FETCH_PIECE:
            await calls.put_blob(digest, await self._blobs.get(digest))
            return
        offset, held = 0, b""
        # One piece is held back: the last one makes the file whole at the agent, and only after it is the digest known.
        async for piece in _pieces(self._blobs.stream(digest)):
            if held:
                await calls.put_piece(digest, offset, size, held)
            offset, held = offset + len(held), piece
        await calls.put_piece(digest, offset, size, held)


async def _lacking(ask: Callable[[Sequence[str]], Awaitable[list[str]]], digests: Sequence[str]) -> list[str]:
    here: set[str] = set()
    for start in range(0, len(digests), ASKED_MAX):
        here.update(await ask(digests[start : start + ASKED_MAX]))
    return [digest for digest in digests if digest not in here]


async def _try(put: Awaitable[None], digest: str, gone: dict[str, HeadraceError]) -> None:
    try:
        await put
    except (Busy, LinkError, Refused):
        raise
    except HeadraceError as e:
        gone[digest] = e


def _unable(batch: Sequence[Assignment], gone: dict[str, HeadraceError]) -> Iterator[Unable]:
    for at, a in enumerate(batch):
        for digest, name in ((a.package, f"package {a.package[:12]}"), *((f.digest, f.path) for f in a.inputs)):
            error = gone.get(digest)
            if error is not None:
                yield Unable(at, f"{name} cannot be given to the agent: {error}", lasting(error))
                break


def lasting(error: HeadraceError) -> bool:
    """Whether the same would be met again: only a conflict with the state of the agent passes."""
    return not isinstance(error, Conflict)


async def _pieces(bytes_: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The same bytes in pieces of the size that a call carries."""
    held = bytearray()
    async for some in bytes_:
        held += some
        while len(held) >= FETCH_PIECE:
            yield bytes(held[:FETCH_PIECE])
            del held[:FETCH_PIECE]
    if held:
        yield bytes(held)
