"""HTTP/1.1 for an ASGI application, over httptools: what control's API needs of a server, and nothing else.

Whole answers leave in one write. Everything that a peer can make grow is bounded: the head, the body that waits, what is
drained after an early answer, the time of an idle connection. Knows nothing of the API; made by ``control.server``.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, cast
from urllib.parse import unquote

import httptools

from headrace.control.exchange import ANSWER, Exchange, whole_answer
from headrace.control.sockets import ServerSocket

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Message, Receive, Send], Awaitable[None]]

HEAD_MAX = 128 * 1024
"""Bytes of a request's head; the API itself answers 431 well before."""
BODY_WAITING_MAX = 64 * 1024
"""So much of a body waits unread before the socket is left alone for a while."""
LINGER_S = 10.0
"""So long is the rest of a body read and dropped after its answer: a caller that writes it all first gets to read why."""
IDLE_S = 75.0
_ASGI = {"version": "3.0", "spec_version": "2.3"}

log = logging.getLogger(__name__)


class HttpServer:
    """What the connections of one door share: the application, and who is connected."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app
        self.connections: set[HttpConnection] = set()
        self.orphans: set[asyncio.Task[None]] = set()
        """Requests under way whose caller has hung up: they still ask the store."""
        self._over = False

    def connection(self) -> HttpConnection:
        """A protocol for ``loop.create_server``."""
        return HttpConnection(self)

    def takes(self, connection: HttpConnection) -> bool:
        """Whether one more may come; the last ones that were accepted may stand before a server that ends."""
        if not self._over:
            self.connections.add(connection)
        return not self._over

    def lost(self, connection: HttpConnection) -> None:
        """It is gone; what it asked for may still be looked up."""
        self.connections.discard(connection)
        if connection.task is not None and not connection.task.done():
            self.orphans.add(connection.task)
            connection.task.add_done_callback(self.orphans.discard)

    async def close(self, seconds: float) -> None:
        """Close what is idle, let requests under way end for so long, then cut them off."""
        self._over = True
        for connection in list(self.connections):
            connection.shutdown()
        tasks = {c.task for c in self.connections if c.task is not None} | self.orphans
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=seconds)
            for task in late:
                task.cancel()
            if late:
                # Nothing may still be asking when the store closes.
                await asyncio.wait(late, timeout=seconds)


class HttpConnection(asyncio.Protocol):
    """One connection: parses requests, has them answered one after the other."""

    def __init__(self, server: HttpServer) -> None:
        self.task: asyncio.Task[None] | None = None
        self.transport: asyncio.Transport
        self.drained: asyncio.Future[None] | None = None
        self._server = server
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpRequestParser(self)
        self._parser.set_dangerous_leniencies(lenient_data_after_close=True)
        self._headers: list[tuple[bytes, bytes]] = []
        self._url = b""
        self._head_size = 0
        self._reading: Exchange | None = None
        self._answering: Exchange | None = None
        self._next: deque[Exchange] = deque()
        self._paused = False
        self._closing = False
        self._socket: ServerSocket | None = None
        self._early = b""
        self._timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0
        self._client: tuple[str, int] | None = None
        self._scheme = "http"

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See ``asyncio.Protocol``."""
        self.transport = cast(asyncio.Transport, transport)
        if not self._server.takes(self):
            self._closing = True
            self.transport.close()
            return
        if isinstance(peer := transport.get_extra_info("peername"), tuple):
            self._client = peer[:2]
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        self._idle_since = self._loop.time()
        self._timer = self._loop.call_later(IDLE_S, self._idle)

    def connection_lost(self, exc: Exception | None) -> None:
        """See ``asyncio.Protocol``."""
        self._server.lost(self)
        self._closing = True
        if self._timer is not None:
            self._timer.cancel()
        self._next.clear()
        for exchange in (self._answering, self._reading):
            if exchange is not None:
                exchange.hung_up()
        if self._socket is not None:
            self._socket.hung_up()
        self.resume_writing()

    def data_received(self, data: bytes) -> None:
        """See ``asyncio.Protocol``."""
        if self._socket is not None:
            self._socket.feed(data)
            return
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # a route may open a WebSocket; else the request is answered as if it had not asked, and that is all
            self._early = data[upgrade.args[0] :]
            self.on_message_complete()
            self.pause_reading()
        except httptools.HttpParserError:
            self._refuse(431 if self._head_size > HEAD_MAX else 400)

    def pause_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        self.drained = self._loop.create_future()

    def resume_writing(self) -> None:
        """See ``asyncio.Protocol``."""
        drained, self.drained = self.drained, None
        if drained is not None and not drained.done():
            drained.set_result(None)

    # httptools

    def on_message_begin(self) -> None:
        """A new request."""
        self._headers = []
        self._url = b""
        self._head_size = 0

    def on_url(self, url: bytes) -> None:
        """A piece of the target."""
        self._url += url
        self._grow_head(len(url))

    def on_header(self, name: bytes, value: bytes) -> None:
        """One header."""
        self._headers.append((name.lower(), value))
        self._grow_head(len(name) + len(value))

    def on_headers_complete(self) -> None:
        """The head is whole: the application may begin."""
        parser = self._parser
        version = parser.get_http_version()
        path, raw_path, query = _target(self._url)
        headers = self._headers
        scope: Message = {
            "type": "http",
            "asgi": _ASGI,
            "http_version": version,
            "method": parser.get_method().decode("ascii"),
            "scheme": self._scheme,
            "client": self._client,
            "path": path,
            "raw_path": raw_path,
            "query_string": query,
            "root_path": "",
            "headers": headers,
        }
        keep = parser.should_keep_alive() and not parser.should_upgrade() and version != "1.0"
        exchange = Exchange(self, scope, keep=keep)
        if parser.should_upgrade():
            scope["headrace.socket"] = lambda head: self._open_socket(exchange, head)
        if (b"expect", b"100-continue") in headers:
            exchange.must_continue = True
        self._reading = exchange
        if self._answering is None:
            self._start(exchange)
        else:
            self._next.append(exchange)
            self.pause_reading()

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        exchange = self._reading
        if exchange is None:
            return
        if exchange.answered:
            return
        if exchange.feed(body) > BODY_WAITING_MAX:
            self.pause_reading()

    def on_message_complete(self) -> None:
        """The request is whole."""
        exchange, self._reading = self._reading, None
        if exchange is not None:
            exchange.whole()
            if exchange.answered and self._closing:
                self.transport.close()

    def _grow_head(self, size: int) -> None:
        self._head_size += size
        if self._head_size > HEAD_MAX:
            raise ValueError("the head is too large")

    # from the exchange

    def pause_reading(self) -> None:
        """Leave the socket alone until somebody wants more of it."""
        if not self._paused and not self._closing:
            self._paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """More is wanted."""
        if self._paused and not self._closing:
            self._paused = False
            self.transport.resume_reading()

    def answered(self, exchange: Exchange) -> None:
        """The answer is written: go on with the next request, or close."""
        if self._reading is exchange and not self._closing:
            self.resume_reading()
            self._loop.call_later(LINGER_S, self._lingered, exchange)
            if not exchange.keep:
                self._closing = True
                if self.transport.can_write_eof():
                    self.transport.write_eof()
                return
        if not exchange.keep or self._closing:
            self._closing = True
            self.transport.close()
            return
        self._answering = None
        if self._next:
            self._start(self._next.popleft())
        else:
            self._idle_since = self._loop.time()
            self.resume_reading()

    def _lingered(self, exchange: Exchange) -> None:
        """The rest of a body did not come to its end in time."""
        if self._reading is exchange:
            self._closing = True
            self.transport.close()

    def _open_socket(self, exchange: Exchange, head: bytes) -> ServerSocket:
        """From here on this connection is a WebSocket; it ends with the request that opened it."""
        exchange.started = exchange.answered = True
        exchange.keep = False
        self.transport.write(head)
        self._socket = ServerSocket(self)
        if self._closing:
            self._socket.hung_up()
        elif self._early:
            self._socket.feed(self._early)
        self._early = b""
        self.resume_reading()
        return self._socket

    def shutdown(self) -> None:
        """Close when nothing is under way, else after the answer."""
        if self._socket is not None:
            self._socket.close(1001, "the server ends")
        if self._answering is None:
            self._closing = True
            self.transport.close()
        else:
            self._answering.keep = False

    def _start(self, exchange: Exchange) -> None:
        self._answering = exchange
        self.task = self._loop.create_task(self._run(exchange))

    async def _run(self, exchange: Exchange) -> None:
        status, why = 503, b"the server ends: ask again"
        scope = exchange.scope
        scope[ANSWER] = exchange.answer
        try:
            await self._server.app(scope, exchange.receive, exchange.send)
        except Exception:
            status, why = 500, b"the server failed"
            log.exception("a request could not be answered")
        finally:
            del scope[ANSWER]  # exchange and scope must not keep each other
        if not exchange.answered and not self._closing:
            # nothing, or half of an answer: only cutting the connection says that it is not whole
            if not exchange.started:
                self.transport.write(whole_answer(status, why))
            self._closing = True
            self.transport.close()
        elif self._socket is not None:
            self._socket.close()
            self._closing = True
            self.transport.close()

    def _refuse(self, status: int) -> None:
        """What came in is no request."""
        if self._answering is not None and self._answering is not self._reading and not self._closing:
            self._answering.keep = False
            self._next.clear()
            self.pause_reading()
            return
        if self._answering is None and not self._closing:
            self.transport.write(whole_answer(status, b"this is no request that is understood here"))
        self._closing = True
        self.transport.close()

    def _idle(self) -> None:
        """Close a connection on which nothing has been asked for long."""
        if self._closing:
            return
        left = IDLE_S if self._answering is not None else self._idle_since + IDLE_S - self._loop.time()
        if left <= 0:
            self._closing = True
            self.transport.close()
            return
        self._timer = self._loop.call_later(max(left, 0.1), self._idle)


def _target(url: bytes) -> tuple[str, bytes, bytes]:
    """Path, raw path and query of a request's target. Raises ValueError, which the parser passes on as its own error."""
    if url[:1] == b"/" and b"#" not in url:
        raw, _, query = url.partition(b"?")
    else:
        parsed = httptools.parse_url(url)
        raw, query = parsed.path or b"/", parsed.query or b""
    path = raw.decode("ascii")
    return (unquote(path) if "%" in path else path), raw, query
