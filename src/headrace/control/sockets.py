"""A WebSocket on one of the API's connections: frames out with backpressure, the other end watched.

Buffers nothing of its own: ``send`` waits until the peer has taken what was sent before. A peer that takes nothing, or does
not answer pings, is cut off. Made by ``control.http`` when a route opens one; used by that route's handler.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

from headrace.link.websocket import CLOSE, WebSocket, accept_of, unmasked_frame
from headrace.model.errors import HeadraceError, Invalid, LinkError

MESSAGE_MAX = 4096
"""Bytes of a message of the other end: nothing is expected of it."""
PING_S = 20.0
STALLED_S = 30.0
"""So long may a peer take nothing of what was sent."""


class UpgradeRequired(HeadraceError):
    """The call is one that only a WebSocket can make."""

    status = 426


class SocketClosed(Exception):
    """The other end is gone, or this one has said goodbye."""


class Wire(Protocol):
    """The connection, as the socket sees it."""

    transport: asyncio.Transport
    drained: asyncio.Future[None] | None


def accepted(headers: dict[bytes, bytes]) -> bytes:
    """The head of the answer that opens a WebSocket. Raises UpgradeRequired or Invalid."""
    if headers.get(b"upgrade", b"").lower() != b"websocket":
        raise UpgradeRequired("this call opens a WebSocket: send the headers Connection: Upgrade, Upgrade: websocket")
    key = headers.get(b"sec-websocket-key", b"")
    if headers.get(b"sec-websocket-version") != b"13" or len(key) != 24:
        raise Invalid("a WebSocket needs Sec-WebSocket-Version: 13 and a Sec-WebSocket-Key", malformed=True)
    head = b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-accept: "
    return head + accept_of(key) + b"\r\n\r\n"


class ServerSocket:
    """An open WebSocket of ours. ``closed`` is done when nothing more can be said."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self._loop = asyncio.get_running_loop()
        self._ws = WebSocket(masks=None, message_max=MESSAGE_MAX, texts=True)
        self.closed: asyncio.Future[None] = self._loop.create_future()
        self._heard = True
        self._timer = self._loop.call_later(PING_S, self._ping)

    async def send(self, frames: bytes) -> None:
        """Write whole frames; wait until there is room for more. Raises SocketClosed."""
        if self.closed.done():
            raise SocketClosed
        self._wire.transport.write(frames)
        drained = self._wire.drained
        if drained is None:
            return
        done, _ = await asyncio.wait({drained, self.closed}, timeout=STALLED_S, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            self._cut()
        if self.closed.done():
            raise SocketClosed

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say goodbye; once."""
        if not self.closed.done():
            frame = unmasked_frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[:120])
            self._wire.transport.write(frame)
            self.hung_up()

    # from the connection

    def feed(self, data: bytes) -> None:
        """Bytes of the other end. Its messages mean nothing here; what is no WebSocket ends it."""
        self._heard = True
        if self.closed.done():
            return
        try:
            self._ws.receive(data)
        except LinkError:
            self.close(1002)
            return
        answer = self._ws.to_write()
        if self._ws.closed:
            self._wire.transport.write(answer)
            self.hung_up()
        elif self._wire.drained is None:
            self._wire.transport.write(answer)

    def hung_up(self) -> None:
        """The connection is gone, or is as good as gone."""
        self._timer.cancel()
        if not self.closed.done():
            self.closed.set_result(None)

    def _ping(self) -> None:
        if not self._heard:
            self._cut()
            return
        self._heard = False
        self._ws.ping()
        self._wire.transport.write(self._ws.to_write())
        self._timer = self._loop.call_later(PING_S, self._ping)

    def _cut(self) -> None:
        self.hung_up()
        self._wire.transport.abort()
