"""Between the socket and the handlers: find the route, let the caller in, read the body, write the answer.

A plain ASGI application over the route table, with as little as possible on the way of a single submit. It decides
nothing about jobs or runs. Every error leaves as a problem document. Made by ``control.api.build_api``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, MutableMapping, Sequence
from typing import Any

from headrace.control.api.answers import answered_before
from headrace.control.api.asof import look_back
from headrace.control.api.call import Call, CutOff, Reply
from headrace.control.api.entry import Answered, Entry
from headrace.control.api.negotiate import AT_ONCE, apart, content_type, encode, header_of, media_of, problem_media
from headrace.control.api.problems import problem_of
from headrace.control.api.router import Endpoint, Router
from headrace.control.api.services import Services
from headrace.control.api.standing import PATIENT, while_good
from headrace.control.api.table import Route
from headrace.control.exchange import ANSWER
from headrace.control.sockets import ServerSocket, accepted
from headrace.model.errors import HeadraceError, Invalid, Problem, TooLarge, Unauthorized
from headrace.model.views import ProblemView

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]
AtOnce = Callable[[int, list[tuple[bytes, bytes]], bytes], None]

KEY_MAX = 200
SWITCHING = 101
CREDENTIAL_OVER = 4401
"""The code that a WebSocket is closed with then."""
_FIXED: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)


class Gone(Exception):
    """The caller hung up before the request was whole."""


class Dispatch:
    """The ASGI application of the API."""

    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        self.router = Router(routes)
        self.entry = Entry(services, self.router)
        self._services = services
        self._clock = services.clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Lifespan is answered with nothing to do. A WebSocket begins as a request like any other, so that it
        passes the same checks; the server's own scope says how to open it.
        """
        if scope["type"] != "http":
            await _no_http(scope, receive, send)
            return
        started = _Started(send, scope.get(ANSWER))
        begun = self._clock.monotonic()
        try:
            await self._answer(scope, receive, started)
        finally:
            # what lives on (a stream, a socket) is counted by its beginning, and its length says nothing of us
            seconds = 0.0 if started.lives else self._clock.monotonic() - begun
            if started.status:
                route = scope.get("headrace.route", "")
                self._services.requests.add(scope["method"], route, started.status, seconds)

    async def _answer(self, scope: Scope, receive: Receive, started: _Started) -> None:
        path: str = scope["path"]
        try:
            reply, call = await self._serve(scope, receive)
            if reply.socket is not None:
                started.status, started.lives = SWITCHING, True
                await self._socket(scope, call, reply.socket)
                return
            started.lives = reply.stream is not None
            writing = _write(started, reply, call.accept, head=scope["method"] == "HEAD")
            if reply.stream is None:
                await writing
            else:
                await while_good(self._services.auth, call.caller, writing)
        except (Gone, CutOff):
            return
        except Answered as answered:
            await _write_problem(started, answered.view, answered.headers, scope)
        except Exception as error:
            # everything that went wrong leaves as a problem document; after the first byte only cutting the answer says so
            if started.yes:
                if isinstance(error, Unauthorized):
                    return
                raise
            view, headers = problem_of(error, path)
            await _write_problem(started, view, headers, scope)

    async def _socket(
        self, scope: Scope, call: Call, work: Callable[[ServerSocket], Coroutine[Any, Any, None]]
    ) -> None:
        """Open the WebSocket and let the handler talk, as long as the credential holds."""
        socket: ServerSocket = scope["headrace.socket"](accepted(dict(scope["headers"])))
        try:
            await while_good(self._services.auth, call.caller, work(socket))
        except Unauthorized:
            socket.close(CREDENTIAL_OVER, "the credential that opened this is over")

    async def _serve(self, scope: Scope, receive: Receive) -> tuple[Reply, Call]:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        endpoint, call = await self.entry.enter(scope, headers)
        call.accept = media_of(headers.get(b"accept"), endpoint.route.media)
        if scope["query_string"]:
            _known_queries(endpoint, call)
            if endpoint.route.as_of and "as_of" in call.query:
                await look_back(call)
        if endpoint.has_body:
            await _take_body(endpoint, call, headers, receive)
        if endpoint.unsafe:
            if b"idempotency-key" in headers:
                call.key = _key(headers[b"idempotency-key"])
                call.answer_type = Any if endpoint.route.response is None else endpoint.route.response
            call.if_match = headers.get(b"if-match")
        handler = endpoint.route.handler
        try:
            if scope["query_string"] and not PATIENT.isdisjoint(call.query):
                return await while_good(self._services.auth, call.caller, handler(call)), call
            return await handler(call), call
        except HeadraceError as error:
            if call.key is None or call.asked:
                raise
            return await answered_before(call, error), call


class _Started:
    """Remembers whether the answer has begun, and how."""

    __slots__ = ("_answer", "_send", "lives", "status", "yes")

    def __init__(self, send: Send, answer: AtOnce | None) -> None:
        self._send = send
        self._answer = answer
        self.yes = False
        self.lives = False
        self.status = 0

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        if not self.yes:
            self.yes = True
            self.status = message["status"]
        await self._send(message)

    async def whole(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """An answer that is there."""
        if self._answer is None:
            await self({"type": "http.response.start", "status": status, "headers": headers})
            await self({"type": "http.response.body", "body": body})
        else:
            self.yes = True
            self.status = status
            self._answer(status, headers, body)


def _known_queries(endpoint: Endpoint, call: Call) -> None:
    unknown = sorted(set(call.query) - endpoint.queries)
    if unknown:
        names = ", ".join(sorted(endpoint.queries)) or "none"
        raise Invalid(
            "unknown query parameter",
            problems=tuple(Problem(f"query.{n[:64]}", f"is not known here; known: {names}") for n in unknown),
            malformed=True,
        )


def _key(header: bytes) -> str:
    text = header.decode("latin-1").strip()
    if not 1 <= len(text) <= KEY_MAX or not text.isascii() or not text.isprintable():
        raise Invalid(f"Idempotency-Key must be 1 to {KEY_MAX} printable ASCII characters", malformed=True)
    return text


async def _take_body(endpoint: Endpoint, call: Call, headers: dict[bytes, bytes], receive: Receive) -> None:
    route = endpoint.route
    call.content_type = content_type(headers.get(b"content-type"), route.accepts)
    if b"content-encoding" in headers:
        raise Invalid("compressed bodies are not read", malformed=True)
    length = headers.get(b"content-length")
    if length is not None and length.isdigit() and int(length) > route.body_max:
        raise _too_large(route)
    message = await receive()
    if message["type"] != "http.request":
        raise Gone
    raw = message.get("body", b"")
    if message.get("more_body"):
        raw = await _rest(raw, route, receive)
    elif len(raw) > route.body_max:
        raise _too_large(route)
    call.raw = raw
    if endpoint.decoders is None:
        call.body = raw
    elif len(raw) <= AT_ONCE:
        call.body = endpoint.decoders.decode(raw, call.content_type)
    else:
        call.body = await apart(endpoint.decoders.decode, raw, call.content_type)


async def _rest(first: bytes, route: Route, receive: Receive) -> bytes:
    pieces, size, more = [first], len(first), True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise Gone
        piece = message.get("body", b"")
        size += len(piece)
        if size > route.body_max:
            raise _too_large(route)
        pieces.append(piece)
        more = message.get("more_body", False)
    return b"".join(pieces)


def _too_large(route: Route) -> HeadraceError:
    return TooLarge(f"the body of this call is at most {route.body_max} bytes")


async def _write(started: _Started, reply: Reply, media: str, *, head: bool) -> None:
    if reply.stream is not None:
        await _write_stream(started, reply, reply.stream, head=head)
        return
    if reply.body is not None:
        body, kind = reply.body, reply.media or media
    elif reply.record is not None:
        body, kind = encode(reply.record, media), media
    else:
        body, kind = b"", ""
    headers: list[tuple[bytes, bytes]] = [(b"content-length", str(len(body)).encode()), *_FIXED, *reply.headers]
    if kind:
        headers.append((b"content-type", header_of(kind)))
    await started.whole(reply.status, headers, b"" if head else body)


async def _write_stream(send: Send, reply: Reply, stream: AsyncIterator[bytes], *, head: bool) -> None:
    headers = [(b"content-type", header_of(reply.media)), *_FIXED, *reply.headers]
    start = {"type": "http.response.start", "status": reply.status, "headers": headers}
    begun = False
    if not head:
        async for piece in stream:
            if piece:
                if not begun:
                    begun = True
                    await send(start)
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    if not begun:
        await send(start)
    await send({"type": "http.response.body", "body": b""})


async def _write_problem(started: _Started, view: ProblemView, extra: Headers, scope: Scope) -> None:
    media = problem_media(dict(scope["headers"]).get(b"accept"))
    body = encode(view, media)
    headers = [
        (b"content-type", media.encode()),
        (b"content-length", str(len(body)).encode()),
        *_FIXED,
        *extra,
    ]
    await started.whole(view.status, headers, body)


async def _no_http(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})
