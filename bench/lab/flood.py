"""Many keep-alive connections, each sending the next request when the last answer is whole. As little client as possible."""

from __future__ import annotations

import asyncio
import time

import uvloop


class _Connection(asyncio.Protocol):
    def __init__(self, requests: list[bytes], times: list[float], done: asyncio.Event, errors: list[str]) -> None:
        self._requests, self._times, self._done, self._errors = requests, times, done, errors
        self._buffer = b""
        self._sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def _next(self) -> None:
        if not self._requests or self._errors:
            self._done.set()
            self._transport.close()
            return
        self._sent = time.perf_counter()
        self._transport.write(self._requests.pop())  # type: ignore[attr-defined]  # asyncio gives the base class

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head = self._buffer.find(b"\r\n\r\n")
        if head < 0:
            return
        at = self._buffer.find(b"content-length: ")
        length = int(self._buffer[at + 16 : self._buffer.index(b"\r\n", at)])
        if len(self._buffer) < head + 4 + length:
            return
        if not self._buffer.startswith(b"HTTP/1.1 2"):
            self._errors.append(self._buffer.decode(errors="replace")[:1000])
        self._times.append(time.perf_counter() - self._sent)
        self._buffer = b""
        self._next()

    def connection_lost(self, error: Exception | None) -> None:
        if not self._done.is_set():
            self._errors.append(f"connection lost: {error}")
            self._done.set()


def flood(address: str, requests: list[bytes], connections: int) -> tuple[float, list[float], list[str]]:
    """(seconds, latencies, errors)."""
    host, _, port = address.partition(":")

    async def go() -> tuple[float, list[float], list[str]]:
        loop = asyncio.get_running_loop()
        times: list[float] = []
        errors: list[str] = []
        events = [asyncio.Event() for _ in range(connections)]
        begun = time.perf_counter()
        for event in events:
            await loop.create_connection(lambda e=event: _Connection(requests, times, e, errors), host, int(port))
        for event in events:
            await event.wait()
        return time.perf_counter() - begun, times, errors

    return uvloop.run(go())
