"""Doorbells over WebSocket on a Unix socket: the agent's end dials, control's end serves.

Frames are MessagePack of one record. Nothing here decides: ``link.session`` does. Called by ``agent.app`` and
``control.server``.
"""

from __future__ import annotations

import asyncio
import base64
import logging
import os
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from headrace.link.port import Bell, Doorbell
from headrace.link.websocket import WebSocket, answer_to, check_accepted, dialing
from headrace.link.wire import DOORBELL_PATH, decode_bell, encode_bell
from headrace.model.errors import LinkError

FRAME_MAX = 256 * 1024
HEAD_MAX = 16 * 1024
DIAL_S = 5.0

log = logging.getLogger(__name__)


class StreamDoorbell:
    """Either end of an open doorbell."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, dialed: bool) -> None:
        self._reader = reader
        self._writer = writer
        self._ws = WebSocket(masks=_masks() if dialed else None, message_max=FRAME_MAX)
        self._got: deque[bytes] = deque()

    async def send(self, record: Bell) -> None:
        """See ``Doorbell``."""
        self._ws.send(encode_bell(record))
        await self._flush()

    async def recv(self) -> Bell:
        """See ``Doorbell``."""
        while not self._got:
            if self._ws.closed:
                raise LinkError("the doorbell was closed")
            try:
                data = await self._reader.read(65_536)
            except OSError as e:
                raise LinkError(f"the doorbell is gone: {e}") from e
            if not data:
                raise LinkError("the doorbell was closed")
            self._got.extend(self._ws.receive(data))
            await self._flush()
        return decode_bell(self._got.popleft())

    async def close(self) -> None:
        """See ``Doorbell``."""
        if not self._writer.is_closing():
            self._ws.close()
            self._writer.write(self._ws.to_write())
            self._writer.close()

    async def _flush(self) -> None:
        data = self._ws.to_write()
        if not data:
            return
        if self._writer.is_closing():
            raise LinkError("the doorbell is gone")
        try:
            self._writer.write(data)
            await self._writer.drain()
        except OSError as e:
            raise LinkError(f"the doorbell is gone: {e}") from e


async def dial_unix(path: str, authorization: str = "") -> StreamDoorbell:
    """Open a doorbell to the control that listens on ``path``. Raises ``LinkError``."""
    writer: asyncio.StreamWriter | None = None
    try:
        async with asyncio.timeout(DIAL_S):
            reader, writer = await asyncio.open_unix_connection(path, limit=HEAD_MAX)
            key = base64.b64encode(os.urandom(16))
            writer.write(dialing(DOORBELL_PATH, key, authorization))
            check_accepted(await reader.readuntil(b"\r\n\r\n"), key)
            return StreamDoorbell(reader, writer, dialed=True)
    except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError, LinkError) as e:
        if writer is not None:
            writer.close()
        raise LinkError(f"cannot open a doorbell: {e or 'timed out'}") from e


class DoorbellServer:
    """Takes doorbells on a Unix socket that only this user can open; its file mode (0600) is the credential."""

    def __init__(self, serve: Callable[[Doorbell], Awaitable[None]]) -> None:
        self._serve = serve
        self._server: asyncio.Server | None = None
        self._path: Path | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def open(self, path: Path) -> None:
        """Begin to listen; what a dead process left there is removed. Raises OSError."""
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._server = await asyncio.start_unix_server(self._connected, str(path), limit=HEAD_MAX)
        finally:
            os.umask(before)
        self._path = path

    async def close(self) -> None:
        """Listen no more and end every session."""
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(self._session(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _session(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(DIAL_S):
                answer, opened = answer_to(await reader.readuntil(b"\r\n\r\n"), DOORBELL_PATH)
            writer.write(answer)
            if opened:
                bell = StreamDoorbell(reader, writer, dialed=False)
                try:
                    await self._serve(bell)
                finally:
                    await bell.close()
        except (OSError, TimeoutError, EOFError, asyncio.LimitOverrunError, LinkError) as e:
            log.debug("a doorbell ended: %s", e)
        except Exception:
            log.exception("a doorbell failed")
        finally:
            writer.close()


def _masks() -> Iterator[bytes]:
    while True:
        yield os.urandom(4)
