"""A process that watches the stream of events over many sockets; prints how late each event came to each of them.

Only the instant of arrival is noted while it lasts: what was received is read afterwards, so that reading costs nobody time.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sys
import time
from collections.abc import Iterator
from datetime import datetime


class Watcher(asyncio.Protocol):
    """One socket: what came, and when."""

    def __init__(self, opening: bytes, opened: asyncio.Future[None]) -> None:
        self.came: list[tuple[float, bytes]] = []
        self._opening, self._opened = opening, opened
        self._head = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Ask for the stream."""
        assert isinstance(transport, asyncio.Transport)
        transport.write(self._opening)

    def data_received(self, data: bytes) -> None:
        """Note when it came."""
        now = time.time()
        if self._opened.done():
            self.came.append((now, data))
            return
        self._head += data
        if b"\r\n\r\n" in self._head:
            head, _, rest = self._head.partition(b"\r\n\r\n")
            if b" 101 " not in head:
                self._opened.set_exception(RuntimeError(head.decode("latin-1")))
                return
            self.came.append((now, rest))
            self._opened.set_result(None)

    def lags(self) -> Iterator[tuple[str, float]]:
        """(cursor, seconds from the event's instant to its arrival) of each event."""
        got = b""
        for at, data in self.came:
            got += data
            while (frame := _frame(got)) is not None:
                opcode, payload, got = frame
                if opcode == 1:
                    event = json.loads(payload)
                    yield event["cursor"], at - datetime.fromisoformat(event["at"]).timestamp()


def _frame(got: bytes) -> tuple[int, bytes, bytes] | None:
    if len(got) < 2:
        return None
    size, at = got[1], 2
    if size > 125:
        at = 4 if size == 126 else 10
        if len(got) < at:
            return None
        size = int.from_bytes(got[2:at], "big")
    if len(got) < at + size:
        return None
    return got[0] & 15, got[at : at + size], got[at + size :]


async def main() -> None:
    """Arguments: address, token, how many. Ends with its input."""
    host, _, port = sys.argv[1].rpartition(":")
    loop = asyncio.get_running_loop()
    watchers = []
    for _ in range(int(sys.argv[3])):
        key = base64.b64encode(os.urandom(16)).decode()
        opening = (
            f"GET /api/v1/events/stream?after=latest HTTP/1.1\r\nHost: {sys.argv[1]}\r\nConnection: Upgrade\r\n"
            f"Upgrade: websocket\r\nAuthorization: Bearer {sys.argv[2]}\r\nSec-WebSocket-Version: 13\r\n"
            f"Sec-WebSocket-Key: {key}\r\n\r\n"
        )
        opened: asyncio.Future[None] = loop.create_future()
        watcher = Watcher(opening.encode(), opened)
        await loop.create_connection(lambda watcher=watcher: watcher, host, int(port))  # type: ignore[misc]
        await asyncio.wait_for(opened, 30)
        watchers.append(watcher)
    print("begun", flush=True)
    await loop.run_in_executor(None, sys.stdin.readline)
    seen = [list(watcher.lags()) for watcher in watchers]
    first = [cursor for cursor, _ in seen[0]]
    same = all([cursor for cursor, _ in each] == first for each in seen)
    print(
        json.dumps({"events": len(first), "same": same, "lags": [lag for each in seen for _, lag in each]}), flush=True
    )


if __name__ == "__main__":
    asyncio.run(main())
