"""Controls with their doors open, on either store, and a WebSocket client of the stream of events."""

from __future__ import annotations

import asyncio
import base64
import os
import socket
from typing import Any, Self

import msgspec
from api_world import World

from headrace.control.auth import Role
from headrace.control.server import Doors, bind
from headrace.link.port import Doorbell
from headrace.link.websocket import WebSocket, accept_of

STREAM = "/api/v1/events/stream"


async def nothing(bell: Doorbell) -> None:
    """A doorbell that nobody rings."""


class Watcher:
    """A WebSocket client of the stream, over a real socket."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.code = 0
        self._ws = WebSocket(masks=iter(lambda: os.urandom(4), b""), message_max=1 << 20, texts=True)
        self._ready: list[bytes] = []

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self.writer.close()

    async def event(self) -> Any:
        """The next event; None when the stream is over."""
        while not self._ready:
            data = await self.reader.read(65_536)
            if not data:
                return None
            self._ready += self._ws.receive(data)
            self.writer.write(self._ws.to_write())
            if self._ws.closed and not self._ready:
                return None
        return msgspec.json.decode(self._ready.pop(0))

    async def events(self, count: int) -> list[Any]:
        return [await self.event() for _ in range(count)]


class Doored(World):
    """A world with its doors open."""

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        self.data.mkdir(exist_ok=True)
        self.doors = Doors(self.app, nothing)
        tcp = bind("127.0.0.1", 0)
        tcp.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 8192)
        self.port = tcp.getsockname()[1]
        await self.doors.open(tcp, self.data / "bell.sock")
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.doors.close()
        await super().__aexit__()

    async def dial(
        self, query: str = "", *, token: str | None = None, more: str = "", small: bool = False
    ) -> tuple[bytes, Watcher]:
        """The status line of the answer, and the watcher that talks from then on."""
        sock = socket.create_connection(("127.0.0.1", self.port))
        if small:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
        sock.setblocking(False)
        reader, writer = await asyncio.open_connection(sock=sock)
        key = base64.b64encode(os.urandom(16))
        bearer = self.tokens[Role.admin] if token is None else token
        head = f"GET {STREAM}{query} HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
        head += f"Authorization: Bearer {bearer}\r\n{more}Sec-WebSocket-Version: 13\r\n"
        writer.write(head.encode() + b"Sec-WebSocket-Key: " + key + b"\r\n\r\n")
        answer = await reader.readuntil(b"\r\n\r\n")
        if b" 101 " in answer:
            assert accept_of(key) in answer
        return answer.split(b"\r\n")[0], Watcher(reader, writer)

    async def watch(self, query: str = "") -> Watcher:
        status, watcher = await self.dial(query)
        assert b"101" in status, status
        return watcher
