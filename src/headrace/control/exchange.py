"""One HTTP request and its answer, in the words of ASGI. Made by ``control.http`` for each request.

Holds the head of an answer back until its body is there: an answer that comes in one piece leaves in one write, half the
system calls and one packet. Answers of unknown length are chunked. Never touches the API or the parser.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, MutableMapping
from http import HTTPStatus
from typing import Any, Protocol

Message = MutableMapping[str, Any]
ANSWER = "headrace.answer"
"""Where an application finds ``Exchange.answer`` in its scope. Another server has none: then it sends ASGI's messages."""

_LINES = {int(s): f"HTTP/1.1 {int(s)} {s.phrase}\r\n".encode() for s in HTTPStatus}
_BODILESS = frozenset({204, 304})
_NO_BODY: Message = {"type": "http.request", "body": b"", "more_body": False}
_HUNG_UP: Message = {"type": "http.disconnect"}


class Connection(Protocol):
    """The connection, as the exchange sees it."""

    transport: asyncio.Transport
    drained: asyncio.Future[None] | None

    def resume_reading(self) -> None:
        """There is room for more of the body."""

    def answered(self, exchange: Exchange) -> None:
        """The answer is written to its end."""


class Exchange:
    """A request being answered. ``keep`` says whether the connection is kept afterwards."""

    __slots__ = (
        "_body",
        "_chunked",
        "_connection",
        "_gone",
        "_held",
        "_left",
        "_more",
        "_size",
        "_wake",
        "answered",
        "keep",
        "must_continue",
        "scope",
        "started",
    )

    def __init__(self, connection: Connection, scope: Message, *, keep: bool) -> None:
        self.scope = scope
        self.keep = keep
        self.started = False
        self.answered = False
        self.must_continue = False
        self._connection = connection
        self._body: list[bytes] = []
        self._size = 0
        self._more = True
        self._gone = False
        self._wake: asyncio.Future[None] | None = None
        self._held: Message | None = None
        self._chunked = False
        self._left = -1

    # from the connection

    def feed(self, body: bytes) -> int:
        """A piece of the request's body; gives how much waits unread."""
        self._body.append(body)
        self._size += len(body)
        self._awake()
        return self._size

    def whole(self) -> None:
        """The request's body has come to its end."""
        self._more = False
        self._awake()

    def hung_up(self) -> None:
        """The connection is gone."""
        self._gone = True
        self._awake()

    def _awake(self) -> None:
        wake, self._wake = self._wake, None
        if wake is not None and not wake.done():
            wake.set_result(None)

    # ASGI

    async def receive(self) -> Message:
        """What is there of the body, else wait for more; after the body, for the end of the connection."""
        if not self._gone and not self.answered and not self._body and self._more:
            if self.must_continue:
                self.must_continue = False
                self._connection.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._connection.resume_reading()
        while not self._gone and not self.answered and not self._body and self._more:
            self._wake = asyncio.get_running_loop().create_future()
            await self._wake
        if self._gone or self.answered:
            return _HUNG_UP
        if not self._body:
            return _NO_BODY
        body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
        self._body = []
        self._size = 0
        return {"type": "http.request", "body": body, "more_body": self._more}

    async def send(self, message: Message) -> None:
        """A message of the application, in the order of ASGI. What a caller who hung up would get is dropped."""
        if self._gone:
            return
        held = self._held
        if held is None and not self.started:
            if message["type"] != "http.response.start":
                raise RuntimeError(f"an answer cannot begin with {message['type']}")
            self._held = message
            return
        if message["type"] != "http.response.body" or self.answered:
            raise RuntimeError(f"{message['type']} has no place here")
        more: bool = message.get("more_body", False)
        data: bytes = message.get("body", b"")
        if held is not None:
            self._held = None
            self.started = True
            head = self._head(held["status"], held["headers"], None if more else len(data))
            self._connection.transport.write(head + self._piece(data, more=more))
        else:
            self._connection.transport.write(self._piece(data, more=more))
        if not more:
            self._end()
        elif (drained := self._connection.drained) is not None:
            await drained

    def answer(self, status: int, headers: Iterable[tuple[bytes, bytes]], body: bytes) -> None:
        """A whole answer at once: what takes two messages in ASGI."""
        if self._gone:
            return
        if self.started or self._held is not None:
            raise RuntimeError("the answer has begun")
        self.started = True
        head = self._head(status, headers, len(body))
        self._connection.transport.write(head + self._piece(body, more=False))
        self._end()

    def _end(self) -> None:
        self.answered = True
        if self._left > 0:
            self.keep = False
        self._connection.answered(self)

    def _head(self, status: int, headers: Iterable[tuple[bytes, bytes]], whole: int | None) -> bytes:
        """The head of the answer; ``whole`` is the length of a body that is there already."""
        parts = [_LINES.get(status) or f"HTTP/1.1 {status} \r\n".encode()]
        length = None
        for name, value in headers:
            if b"\n" in value or b"\r" in value:
                raise RuntimeError("a header must not hold line breaks")
            if name == b"content-length":
                length = int(value)
            parts += (name, b": ", value, b"\r\n")
        bodiless = self.scope["method"] == "HEAD" or status in _BODILESS
        if bodiless:
            self._left = 0
        elif length is not None:
            self._left = length
        elif whole is not None:
            self._left = whole
            parts.append(b"content-length: %d\r\n" % whole)
        elif self.scope["http_version"] == "1.1":
            self._chunked = True
            parts.append(b"transfer-encoding: chunked\r\n")
        else:
            self.keep = False
        if self.scope["scheme"] == "https":
            parts.append(b"strict-transport-security: max-age=31536000\r\n")
        parts.append(b"\r\n" if self.keep else b"connection: close\r\n\r\n")
        return b"".join(parts)

    def _piece(self, data: bytes, *, more: bool) -> bytes:
        if self._chunked:
            piece = b"%x\r\n%b\r\n" % (len(data), data) if data else b""
            return piece if more else piece + b"0\r\n\r\n"
        if self._left < 0:
            return data
        if len(data) > self._left:
            if self._left == 0 and (self.scope["method"] == "HEAD" or not data):
                return b""
            raise RuntimeError("an answer is longer than its content-length")
        self._left -= len(data)
        return data


def whole_answer(status: int, text: bytes) -> bytes:
    """A small answer after which the connection is closed."""
    head = b"content-type: text/plain; charset=utf-8\r\ncontent-length: %d\r\nconnection: close\r\n\r\n" % len(text)
    return _LINES[status] + head + text
