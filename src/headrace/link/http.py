"""A lean HTTP/1.1 client: keep-alive, pooled, bodies as bytes, every wait bounded.

For the link only: it follows no redirects, keeps no cookies, sends nothing it was not told to. Whatever the other end
does (closes, stalls, answers garbage or too much) becomes a ``LinkError``. Called by ``link.unix`` and the CLI's tools.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import httptools
from msgspec import Struct

from headrace.model.errors import LinkError

Connect = Callable[[Callable[[], asyncio.Protocol]], Awaitable[tuple[Any, Any]]]
"""Opens a connection for a protocol factory, as ``loop.create_unix_connection`` does."""

BODY_MAX = 16 * 1024 * 1024
HEAD_MAX = 64 * 1024


class Answer(Struct, frozen=True):
    """A complete response. Header names are lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class HttpClient:
    """Requests over as many connections as are in use at once; idle ones are kept, at most ``keep``."""

    def __init__(self, connect: Connect, *, host: str = "localhost", keep: int = 2, body_max: int = BODY_MAX) -> None:
        self._connect = connect
        self._host = host.encode("latin-1")
        self._keep = keep
        self._body_max = body_max
        self._idle: list[_Connection] = []
        self._busy: set[_Connection] = set()
        self._closed = False

    async def request(
        self,
        method: str,
        target: str,
        body: bytes = b"",
        *,
        headers: dict[str, str] | None = None,
        timeout: float = 10.0,
        again: bool = True,
    ) -> Answer:
        """Send a request and await the whole response within ``timeout`` seconds, connecting included.

        ``again``: when a connection that had been idle turns out to be closed before any byte of the answer came, the
        request is sent once more on a new one. Only for requests that may be repeated. Raises ``LinkError``.
        """
        head = self._head(method, target, body, headers)
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while True:
            connection, fresh = await self._take(deadline - loop.time())
            try:
                answer = await connection.exchange(head, body, deadline, no_body=method == "HEAD")
            except _Stale as e:
                if fresh or not again:
                    raise LinkError(f"{method} {target}: {e}") from e
                continue
            except LinkError as e:
                raise LinkError(f"{method} {target}: {e.message}") from e
            finally:
                self._give(connection)
            return answer

    async def close(self) -> None:
        """Close every connection; requests under way end with ``LinkError``."""
        self._closed = True
        for connection in [*self._idle, *self._busy]:
            connection.abort("the client was closed")
        self._idle.clear()
        await asyncio.sleep(0)

    def _head(self, method: str, target: str, body: bytes, headers: dict[str, str] | None) -> bytes:
        lines = [b"%b %b HTTP/1.1\r\nhost: %b\r\n" % (method.encode(), target.encode("ascii"), self._host)]
        for name, value in (headers or {}).items():
            if "\r" in value or "\n" in value or "\r" in name or "\n" in name:
                raise LinkError("a header must not hold line breaks")
            lines.append(f"{name}: {value}\r\n".encode("latin-1"))
        if body or method in ("POST", "PUT", "PATCH"):
            lines.append(b"content-length: %d\r\n" % len(body))
        lines.append(b"\r\n")
        return b"".join(lines)

    async def _take(self, timeout: float) -> tuple[_Connection, bool]:
        if self._closed:
            raise LinkError("the client is closed")
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                self._busy.add(connection)
                return connection, False
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(timeout):
                _, connection = await self._connect(lambda: _Connection(loop, self._body_max))
        except (OSError, TimeoutError) as e:
            raise LinkError(f"cannot connect: {e or 'timed out'}") from e
        self._busy.add(connection)
        return connection, True

    def _give(self, connection: _Connection) -> None:
        self._busy.discard(connection)
        if connection.usable and not self._closed and len(self._idle) < self._keep:
            self._idle.append(connection)
        else:
            connection.abort("not kept")


class _Stale(Exception):
    """An idle connection was closed by the other end before it began to answer."""


class _Connection(asyncio.Protocol):
    """One connection, one exchange at a time."""

    def __init__(self, loop: asyncio.AbstractEventLoop, body_max: int) -> None:
        self._loop = loop
        self._body_max = body_max
        self._transport: asyncio.Transport | None = None
        self._waiter: asyncio.Future[Answer] | None = None
        self._parser: Any = None
        self._headers: dict[str, str] = {}
        self._body: list[bytes] = []
        self._size = 0
        self._head_size = 0
        self._heard = False
        self._no_body = False
        self._over = False
        self._why = ""

    @property
    def usable(self) -> bool:
        """Open, and between two exchanges."""
        return self._waiter is None and not self._over and self._transport is not None

    async def exchange(self, head: bytes, body: bytes, deadline: float, *, no_body: bool) -> Answer:
        if self._transport is None or self._over:
            raise _Stale(self._why or "closed")
        waiter: asyncio.Future[Answer] = self._loop.create_future()
        self._waiter = waiter
        self._parser = httptools.HttpResponseParser(self)
        self._headers, self._body = {}, []
        self._size = self._head_size = 0
        self._heard, self._no_body = False, no_body
        timer = self._loop.call_at(deadline, self.abort, "no answer in time")
        try:
            if len(body) > 65536:
                self._transport.write(head)
                self._transport.write(body)
            else:
                self._transport.write(head + body)
            return await waiter
        finally:
            timer.cancel()
            if self._waiter is not None:
                self._waiter = None
                self.abort("given up")

    def abort(self, why: str) -> None:
        """Close at once and fail the exchange under way."""
        self._fail(LinkError(why))
        if self._transport is not None:
            self._transport.abort()

    def _fail(self, error: Exception) -> None:
        self._over = True
        self._why = self._why or str(error)
        waiter, self._waiter = self._waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_exception(error)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        if self._waiter is None:
            self.abort("bytes that nobody asked for")
            return
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort("the other end wants another protocol")
        except httptools.HttpParserError as e:
            cause = e.__context__
            self.abort(str(cause) if isinstance(cause, LinkError) else f"not an HTTP response: {e}")
        except LinkError as e:
            self.abort(e.message)

    def connection_lost(self, exc: Exception | None) -> None:
        why = f"the connection was lost{f': {exc}' if exc else ''}"
        if self._waiter is not None and self._heard and self._until_close():
            self._finish(keep=False)
        self._fail(LinkError(why) if self._heard else _Stale(why))

    # httptools callbacks

    def on_header(self, name: bytes, value: bytes) -> None:
        self._head_size += len(name) + len(value) + 4
        if self._head_size > HEAD_MAX:
            raise LinkError("the response head is too large")
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        length: str = self._headers.get("content-length", "")
        if length.isdigit() and int(length) > self._body_max:
            raise LinkError(f"a response of {length} bytes is over the limit of {self._body_max}")
        if self._no_body:
            self._finish(keep=False)

    def on_body(self, body: bytes) -> None:
        self._size += len(body)
        if self._size > self._body_max:
            raise LinkError(f"a response is over the limit of {self._body_max} bytes")
        self._body.append(body)

    def on_message_complete(self) -> None:
        if self._parser.get_status_code() >= 200:
            self._finish(keep=self._parser.should_keep_alive())
        else:
            self._headers = {}

    def _until_close(self) -> bool:
        if "content-length" in self._headers or "transfer-encoding" in self._headers:
            return False
        return int(self._parser.get_status_code()) >= 200

    def _finish(self, *, keep: bool) -> None:
        waiter, self._waiter = self._waiter, None
        answer = Answer(self._parser.get_status_code(), self._headers, b"".join(self._body))
        self._body = []
        if not keep:
            self._over = True
            if self._transport is not None:
                self._transport.close()
        if waiter is not None and not waiter.done():
            waiter.set_result(answer)
