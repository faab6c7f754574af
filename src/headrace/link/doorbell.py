"""Doorbells over WebSocket: the agent's end dials a Unix socket, control's end is an ASGI route.

Frames are MessagePack of one record. Nothing here decides: ``link.session`` does. Called by ``agent.doorbell`` and by
control's link route.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from websockets.client import ClientProtocol
from websockets.exceptions import InvalidHandshake, ProtocolError
from websockets.frames import Frame, Opcode
from websockets.http11 import Response
from websockets.uri import parse_uri

from headrace.link.port import Bell
from headrace.link.wire import DOORBELL_PATH, decode_bell, encode_bell
from headrace.model.errors import LinkError

FRAME_MAX = 256 * 1024
DIAL_S = 5.0


class DialedDoorbell:
    """The agent's end: a WebSocket client without IO of its own, driven over one stream."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._ws = ClientProtocol(parse_uri(f"ws://localhost{DOORBELL_PATH}"), max_size=FRAME_MAX)
        self._got: deque[Bell] = deque()

    async def greet(self, authorization: str = "") -> None:
        """The opening handshake. Raises ``LinkError``."""
        request = self._ws.connect()
        if authorization:
            request.headers["authorization"] = authorization
        self._ws.send_request(request)
        self._flush()
        while self._ws.state.name == "CONNECTING":
            await self._read()
            if self._ws.handshake_exc is not None:
                raise LinkError(f"control refuses the doorbell: {self._ws.handshake_exc}")

    async def send(self, record: Bell) -> None:
        """See ``Doorbell``."""
        try:
            self._ws.send_binary(encode_bell(record))
            self._flush()
            await self._writer.drain()
        except (OSError, ProtocolError) as e:
            raise LinkError(f"the doorbell is gone: {e}") from e

    async def recv(self) -> Bell:
        """See ``Doorbell``."""
        while not self._got:
            await self._read()
        return self._got.popleft()

    async def close(self) -> None:
        """See ``Doorbell``."""
        self._writer.close()

    async def _read(self) -> None:
        try:
            data = await self._reader.read(65536)
        except OSError as e:
            raise LinkError(f"the doorbell is gone: {e}") from e
        if data:
            self._ws.receive_data(data)
        else:
            self._ws.receive_eof()
        self._flush()
        for event in self._ws.events_received():
            if isinstance(event, Frame) and event.opcode is Opcode.BINARY:
                self._got.append(decode_bell(bytes(event.data)))
            elif isinstance(event, Response) and event.status_code != 101:
                raise LinkError(f"control refuses the doorbell: status {event.status_code}")
        if not self._got and (not data or self._ws.close_expected()):
            raise LinkError("the doorbell was closed")

    def _flush(self) -> None:
        for data in self._ws.data_to_send():
            if data:
                self._writer.write(data)


async def dial_unix(path: str, authorization: str = "") -> DialedDoorbell:
    """Open a doorbell to the control that listens on ``path``. Raises ``LinkError``."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(DIAL_S):
            reader, writer = await asyncio.open_unix_connection(path)
            bell = DialedDoorbell(reader, writer)
            await bell.greet(authorization)
            return bell
    except (OSError, TimeoutError, InvalidHandshake, LinkError) as e:
        if writer is not None:
            writer.close()
        raise LinkError(f"cannot open a doorbell: {e or 'timed out'}") from e


Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AsgiDoorbell:
    """Control's end, inside an ASGI ``websocket`` scope; call ``accept`` first."""

    def __init__(self, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send

    async def accept(self) -> None:
        """Take the connection. Raises ``LinkError``."""
        event = await self._receive()
        if event["type"] != "websocket.connect":
            raise LinkError("the doorbell was closed before it was open")
        await self._send({"type": "websocket.accept"})

    async def send(self, record: Bell) -> None:
        """See ``Doorbell``."""
        try:
            await self._send({"type": "websocket.send", "bytes": encode_bell(record)})
        except (OSError, RuntimeError) as e:
            raise LinkError(f"the doorbell is gone: {e}") from e

    async def recv(self) -> Bell:
        """See ``Doorbell``."""
        event = await self._receive()
        data = event.get("bytes")
        if event["type"] != "websocket.receive" or data is None:
            raise LinkError("the doorbell was closed")
        return decode_bell(data)

    async def close(self) -> None:
        """See ``Doorbell``."""
        try:
            await self._send({"type": "websocket.close", "code": 1000})
        except (OSError, RuntimeError):
            return
