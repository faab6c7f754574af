"""A small HTTP/1.1 server over httptools, for the agent's socket: keep-alive, bounded, no timers, nothing polls.

One request at a time per connection; bodies are bytes. Control is the only client there is meant to be, but whatever
comes in is parsed and bounded as if it were not. Called by ``agent.app``.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, cast

import httptools
from msgspec import Struct

HEAD_MAX = 64 * 1024

_LOG = logging.getLogger(__name__)
_CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
_REASONS = {int(s): s.phrase for s in HTTPStatus}


class Asked(Struct):
    """A whole request. Header names are lower case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, bytes]
    body: bytes


class Told(Struct, frozen=True):
    """A whole response."""

    status: int
    kind: str
    body: bytes


Answer = Callable[[Asked], Awaitable[Told]]
"""Turns a request into a response; must not raise (what it raises closes the connection)."""


class HttpServer:
    """Serves one listening socket. ``body_max`` bounds every body; a larger one is told 413 and cut off."""

    def __init__(self, answer: Answer, *, body_max: int) -> None:
        self.answer = answer
        self.body_max = body_max
        self.connections: set[ServerConnection] = set()
        self._server: asyncio.Server | None = None

    async def start(self, listening: Any) -> None:
        """Serve this bound socket from here on."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: ServerConnection(self, loop), sock=listening)

    async def close(self) -> None:
        """Stop listening, cut every connection."""
        if self._server is not None:
            self._server.close()
        for connection in list(self.connections):
            connection.cut()
        await asyncio.sleep(0)


class ServerConnection(asyncio.Protocol):
    """One connection."""

    def __init__(self, server: HttpServer, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._loop = loop
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._waiting: list[tuple[Asked, bool]] = []
        self._task: asyncio.Task[None] | None = None
        self._refusal: Told | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._headers: dict[bytes, bytes] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._head_size = 0

    def cut(self) -> None:
        """Close at once; an answer under way is dropped."""
        if self._task is not None:
            self._task.cancel()
        if self._transport is not None:
            self._transport.abort()

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.connections.discard(self)
        self._transport = None
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(Told(400, "text/plain", b"no other protocol here"))
        except httptools.HttpParserError:
            self._refuse(self._refusal or Told(400, "text/plain", b"not an HTTP request"))

    # httptools

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        self._grow_head(len(name) + len(value) + 4)
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        length = self._headers.get(b"content-length", b"")
        if length.isdigit() and int(length) > self._server.body_max:
            self._too_large()
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and self._transport is not None:
            self._transport.write(_CONTINUE)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._server.body_max:
            self._too_large()
        self._body.append(body)

    def on_message_complete(self) -> None:
        target = self._url.decode("latin-1")
        path, _, query = target.partition("?")
        asked = Asked(self._parser.get_method().decode("latin-1"), path, query, self._headers, b"".join(self._body))
        self._waiting.append((asked, self._parser.should_keep_alive()))
        self._reset()
        if self._task is None:
            self._task = self._loop.create_task(self._serve())
        elif self._transport is not None:
            self._transport.pause_reading()

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_MAX:
            self._refusal = Told(431, "text/plain", b"the request's head is too large")
            raise ValueError("head too large")

    def _too_large(self) -> None:
        self._refusal = Told(413, "text/plain", b"a body over the limit of %d bytes" % self._server.body_max)
        raise ValueError("body too large")

    def _refuse(self, told: Told) -> None:
        if self._transport is not None:
            self._transport.write(_response(told, keep=False))
            self._transport.close()

    async def _serve(self) -> None:
        """Answer what waits, in order."""
        try:
            while self._waiting:
                asked, keep = self._waiting.pop(0)
                told = await self._server.answer(asked)
                if self._transport is None:
                    return
                self._transport.write(_response(told, keep=keep))
                if not keep:
                    self._transport.close()
                    return
            if self._transport is not None:
                self._transport.resume_reading()
        except Exception:
            _LOG.exception("a request could not be answered")
            if self._transport is not None:
                self._transport.abort()
        finally:
            self._task = None


def _response(told: Told, *, keep: bool) -> bytes:
    close = "" if keep else "connection: close\r\n"
    reason = _REASONS.get(told.status, "")
    if told.status == 204:
        return f"HTTP/1.1 204 {reason}\r\n{close}\r\n".encode("latin-1")
    head = f"HTTP/1.1 {told.status} {reason}\r\ncontent-type: {told.kind}\r\ncontent-length: {len(told.body)}\r\n"
    return f"{head}{close}\r\n".encode("latin-1") + told.body
