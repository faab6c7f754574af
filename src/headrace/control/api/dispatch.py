"""Between the socket and the handlers: find the route, let the caller in, read the body, write the answer.

A plain ASGI application over the route table, with as little as possible on the way of a single submit. It decides
nothing about jobs or runs. Every error leaves as a problem document. Made by ``control.api.build_api``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from headrace.control.api.answers import answered_before
from headrace.control.api.call import Call, CutOff, Reply
from headrace.control.api.guard import Guard
from headrace.control.api.negotiate import Decoders, content_type, encode, header_of, media_of
from headrace.control.api.problems import document, encode_problem, problem_of
from headrace.control.api.services import Services
from headrace.control.api.table import Route
from headrace.control.auth import NOBODY, Caller, Permission
from headrace.model.errors import Forbidden, HeadraceError, Invalid, Problem, TooLarge
from headrace.model.views import ProblemView

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = tuple[tuple[bytes, bytes], ...]

KEY_MAX = 200
_FIXED: Headers = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"no-store"),
    (b"referrer-policy", b"no-referrer"),
)
_UNSAFE = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class Gone(Exception):
    """The caller hung up before the request was whole."""


class Endpoint:
    """A route, ready to be served: with the readers of its body and the names of its query parameters."""

    __slots__ = ("decoders", "has_body", "names", "queries", "route", "unsafe")

    def __init__(self, route: Route, names: tuple[str, ...]) -> None:
        self.route = route
        self.names = names
        self.decoders = None if route.request is None else Decoders(route.request)
        self.has_body = bool(route.accepts)
        self.unsafe = route.method in _UNSAFE
        self.queries = frozenset(q.name for q in route.query)


class _Node:
    """One step of a path: fixed words, one placeholder, or the rest of the path."""

    __slots__ = ("any", "methods", "rest", "words")

    def __init__(self) -> None:
        self.words: dict[str, _Node] = {}
        self.any: _Node | None = None
        self.rest: _Node | None = None
        self.methods: dict[str, Endpoint] = {}


class Router:
    """Finds the endpoint of a path in one walk along its words; fixed words win over placeholders."""

    def __init__(self, routes: Sequence[Route]) -> None:
        self.routes = tuple(routes)
        self._root = _Node()
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        node = self._root
        names = []
        for word in route.path.split("/")[1:]:
            if word.endswith("...}"):
                names.append(word[1:-4])
                node.rest = node = node.rest or _Node()
            elif word.startswith("{"):
                names.append(word[1:-1])
                node.any = node = node.any or _Node()
            else:
                node = node.words.setdefault(word, _Node())
        if route.method in node.methods:
            raise ValueError(f"the route {route.method} {route.path} is in the table twice")
        node.methods[route.method] = Endpoint(route, tuple(names))

    def find(self, path: str) -> tuple[dict[str, Endpoint], list[str]] | None:
        """The methods of this path and the values of its placeholders, or None."""
        words = path.split("/")
        node = self._root
        values: list[str] = []
        for i in range(1, len(words)):
            word = words[i]
            following = node.words.get(word)
            if following is None:
                following = node.any if word else None
                if following is not None:
                    values.append(word)
                elif node.rest is not None and word:
                    values.append("/".join(words[i:]))
                    return node.rest.methods, values
                else:
                    return None
            node = following
        return (node.methods, values) if node.methods else None


class Dispatch:
    """The ASGI application of the API."""

    def __init__(self, services: Services, routes: Sequence[Route]) -> None:
        self.router = Router(routes)
        self._services = services
        self._auth = services.auth
        self._clock = services.clock
        self._guard = Guard(services.hosts)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request. Lifespan is answered with nothing to do; WebSockets are refused: there is none here."""
        if scope["type"] != "http":
            await _no_http(scope, receive, send)
            return
        started = _Started(send)
        path: str = scope["path"]
        try:
            reply, media = await self._serve(scope, receive, path)
            await _write(started, reply, media, head=scope["method"] == "HEAD")
        except (Gone, CutOff):
            return
        except _Answered as answered:
            await _write_problem(started, answered.view, answered.headers)
        except Exception as error:
            # everything that went wrong leaves as a problem document; after the first byte only cutting the answer says so
            if started.yes:
                raise
            view, headers = problem_of(error, path)
            await _write_problem(started, view, headers)

    async def _serve(self, scope: Scope, receive: Receive, path: str) -> tuple[Reply, str]:
        headers: dict[bytes, bytes] = dict(scope["headers"])
        method: str = scope["method"]
        unsafe = method in _UNSAFE
        self._guard.check(scope, headers, unsafe=unsafe)
        found = self.router.find(path)
        endpoint = found[0].get("GET" if method == "HEAD" else method) if found else None
        permission = None if endpoint is None else endpoint.route.permission
        caller = NOBODY if permission is Permission.public else await self._caller(headers)
        if found is None:
            raise _Answered(document(404, f"there is no {path[:200]}", path))
        if endpoint is None:
            allow = ", ".join(sorted(found[0]))
            raise _Answered(document(405, f"{path[:200]} knows {allow}", path), ((b"allow", allow.encode()),))
        call = Call(
            self._services, method, path, dict(zip(endpoint.names, found[1], strict=True)), scope["query_string"]
        )
        call.caller = caller
        _permit(endpoint.route, call)
        call.accept = media_of(headers.get(b"accept"), endpoint.route.media)
        if scope["query_string"]:
            _known_queries(endpoint, call)
        if endpoint.has_body:
            await _take_body(endpoint, call, headers, receive)
        if unsafe:
            if b"idempotency-key" in headers:
                call.key = _key(headers[b"idempotency-key"])
            call.if_match = headers.get(b"if-match")
        try:
            return await endpoint.route.handler(call), call.accept
        except HeadraceError as error:
            if call.key is None or call.asked:
                raise
            return await answered_before(call, error), call.accept

    async def _caller(self, headers: dict[bytes, bytes]) -> Caller:
        header = headers.get(b"authorization")
        caller = self._auth.cached(header, self._clock.now())
        return caller if caller is not None else await self._auth.caller(header)


class _Answered(Exception):
    """A problem document that no error record stands for."""

    def __init__(self, view: ProblemView, headers: Headers = ()) -> None:
        super().__init__(view.detail)
        self.view = view
        self.headers = headers


class _Started:
    """Remembers whether the answer has begun."""

    __slots__ = ("_send", "yes")

    def __init__(self, send: Send) -> None:
        self._send = send
        self.yes = False

    async def __call__(self, message: MutableMapping[str, Any]) -> None:
        self.yes = True
        await self._send(message)


def _permit(route: Route, call: Call) -> None:
    caller = call.caller
    if caller.claim is not None:
        if not route.run_token and route.permission is not Permission.public:
            raise Forbidden("a run's own token does not open this")
        if route.run_token and call.values.get("id") != str(caller.claim.run):
            raise Forbidden("a run's own token opens that run only")
    caller.require(route.permission)


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
    call.body = raw if endpoint.decoders is None else endpoint.decoders.decode(raw, call.content_type)


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


async def _write(send: Send, reply: Reply, media: str, *, head: bool) -> None:
    if reply.stream is not None:
        await _write_stream(send, reply, reply.stream, head=head)
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
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else body})


async def _write_stream(send: Send, reply: Reply, stream: AsyncIterator[bytes], *, head: bool) -> None:
    headers = [(b"content-type", header_of(reply.media)), *_FIXED, *reply.headers]
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    if not head:
        async for piece in stream:
            if piece:
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def _write_problem(send: Send, view: ProblemView, extra: Headers) -> None:
    body = encode_problem(view)
    headers = [
        (b"content-type", b"application/problem+json"),
        (b"content-length", str(len(body)).encode()),
        *_FIXED,
        *extra,
    ]
    await send({"type": "http.response.start", "status": view.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


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
