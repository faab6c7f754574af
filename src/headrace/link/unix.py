"""``AgentCalls`` over HTTP on a Unix socket: control's hand on the agent of the same machine.

Carries records as MessagePack and turns statuses back into errors. It decides nothing and repeats only what may be
repeated. Called by control's link loop and by tests.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from functools import partial
from typing import TypeVar

import msgspec

from headrace.link.http import Answer, HttpClient
from headrace.link.port import LogPage
from headrace.link.records import Accepted, AttemptName, Feed, Held, Start, StopOrder
from headrace.link.wire import FETCH_PIECE, MSGPACK, check_digest, name_text
from headrace.model.errors import Busy, Conflict, HeadraceError, Invalid, LinkError, NotFound, Refused, TooLarge

T = TypeVar("T")

_HEADERS = {"content-type": MSGPACK, "accept": MSGPACK}
_ERRORS: dict[int, type[HeadraceError]] = {400: Invalid, 404: NotFound, 413: TooLarge, 422: Invalid, 503: Busy}


class UnixAgent:
    """``AgentCalls`` for the agent that listens on ``path``. ``timeout`` bounds each call, its waiting apart."""

    def __init__(self, path: str, *, timeout: float = 10.0) -> None:
        self._timeout = timeout
        self._encoder = msgspec.msgpack.Encoder()
        self._feeds = msgspec.msgpack.Decoder(Feed)
        self._accepted = msgspec.msgpack.Decoder(Accepted)

        def connect(factory: object) -> object:
            return asyncio.get_running_loop().create_unix_connection(factory, path)  # type: ignore[arg-type] # a factory

        self._http = HttpClient(connect)  # type: ignore[arg-type] # loops differ in their transports' types

    async def start(self, order: Start) -> Accepted:
        """See ``AgentCalls``."""
        answer = await self._call("POST", "/attempts", self._encoder.encode(order))
        return _decoded(self._accepted, answer)

    async def stop(self, order: StopOrder) -> None:
        """See ``AgentCalls``."""
        await self._call("POST", "/attempts/stop", self._encoder.encode(order))

    async def outcomes(self, after: int, wait_ms: int, link_epoch: int) -> Feed:
        """See ``AgentCalls``."""
        target = f"/outcomes?after={after}&wait={wait_ms}&link={link_epoch}"
        return _decoded(self._feeds, await self._call("GET", target, wait_ms=wait_ms))

    async def held(self) -> Held:
        """See ``AgentCalls``."""
        return _decoded(msgspec.msgpack.Decoder(Held), await self._call("GET", "/attempts"))

    async def logs(self, name: AttemptName, after: int, limit: int, wait_ms: int) -> LogPage:
        """See ``AgentCalls``."""
        target = f"/attempts/{name_text(name)}/logs?after={after}&limit={limit}&wait={wait_ms}"
        return _decoded(msgspec.msgpack.Decoder(LogPage), await self._call("GET", target, wait_ms=wait_ms))

    async def drop_logs(self, names: Sequence[AttemptName]) -> None:
        """See ``AgentCalls``."""
        await self._call("POST", "/attempts/drop-logs", self._encoder.encode(list(names)))

    async def fetch(self, digest: str) -> AsyncIterator[bytes]:
        """See ``AgentCalls``."""
        offset = 0
        while True:
            target = f"/blobs/{check_digest(digest)}?offset={offset}&limit={FETCH_PIECE}"
            piece = (await self._call("GET", target)).body
            if piece:
                yield piece
            if len(piece) < FETCH_PIECE:
                return
            offset += len(piece)

    async def put_blob(self, digest: str, data: bytes) -> None:
        """See ``AgentCalls``."""
        await self._call("PUT", f"/blobs/{check_digest(digest)}", data)

    async def put_piece(self, digest: str, offset: int, total: int, data: bytes) -> None:
        """See ``AgentCalls``."""
        await self._call("PUT", f"/blobs/{check_digest(digest)}?offset={offset}&total={total}", data)

    async def has_blobs(self, digests: Sequence[str]) -> list[str]:
        """See ``AgentCalls``."""
        return await self._which("/blobs/which", digests)

    async def put_package(self, digest: str, data: bytes) -> None:
        """See ``AgentCalls``."""
        await self._call("PUT", f"/packages/{check_digest(digest)}", data)

    async def has_packages(self, digests: Sequence[str]) -> list[str]:
        """See ``AgentCalls``."""
        return await self._which("/packages/which", digests)

    async def close(self) -> None:
        """Close the connections; calls under way end with ``LinkError``."""
        await self._http.close()

    async def _which(self, target: str, digests: Sequence[str]) -> list[str]:
        answer = await self._call("POST", target, self._encoder.encode(list(digests)))
        return _decoded(msgspec.msgpack.Decoder(list[str]), answer)

    async def _call(self, method: str, target: str, body: bytes = b"", *, wait_ms: int = 0) -> Answer:
        timeout = self._timeout + wait_ms / 1000
        answer = await self._http.request(method, target, body, headers=_HEADERS, timeout=timeout)
        if answer.status < 300:
            return answer
        raise _error(answer)


def _decoded(decoder: msgspec.msgpack.Decoder[T], answer: Answer) -> T:
    try:
        return decoder.decode(answer.body)
    except msgspec.MsgspecError as e:
        raise LinkError(f"the agent's answer is not what was asked for: {e}") from e


class _Problem(msgspec.Struct):
    detail: str = ""
    kind: str = ""


def _error(answer: Answer) -> HeadraceError:
    try:
        problem = msgspec.msgpack.decode(answer.body, type=_Problem)
    except msgspec.MsgspecError:
        problem = _Problem(detail=f"status {answer.status}")
    if answer.status == 409:
        return (Refused if problem.kind == "refused" else Conflict)(problem.detail)
    made = partial(_ERRORS.get(answer.status, LinkError), problem.detail)
    return made()
