"""The agent's HTTP API as one plain ASGI application: MessagePack or JSON, a fixed allow-list of routes.

Turns requests into ``Calls`` and errors into problem documents; decides nothing. Served by ``agent.app`` on the Unix
socket.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any, TypeVar

import msgspec

from headrace.agent.calls import Calls
from headrace.link.records import AttemptName, Start, StopOrder
from headrace.link.wire import BODY_MAX, FETCH_PIECE, JSON, MSGPACK, PACKAGE_MAX, check_digest, parse_name
from headrace.model.errors import HeadraceError, Invalid, NotFound, Refused, TooLarge

T = TypeVar("T")
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_MSGPACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()
_WAIT = re.compile(r"([0-9]{1,9})(ms|s)?\Z")


class Request:
    """One request, with what a route may ask of it."""

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self._query: bytes = scope["query_string"]
        self._receive = receive
        self.json_in = self.json_out = False
        for name, value in scope["headers"]:
            if name == b"content-type":
                self.json_in = b"json" in value
            elif name == b"accept":
                self.json_out = MSGPACK.encode() not in value

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a whole number, or a wait like ``20s`` (then ms)."""
        for part in self._query.decode("latin-1").split("&"):
            key, _, value = part.partition("=")
            if key == name:
                match = _WAIT.match(value)
                if match is None:
                    raise Invalid(f"{name} must be a whole number, not {value[:40]!r}", malformed=True)
                return int(match[1]) * (1000 if match[2] == "s" else 1)
        return default

    async def body(self, most: int) -> bytes:
        """The whole body. Raises ``TooLarge``."""
        message = await self._receive()
        data: bytes = message.get("body", b"")
        if not message.get("more_body"):
            if len(data) > most:
                raise TooLarge(f"a body of {len(data)} bytes is over the limit of {most}")
            return data
        parts, size = [data], len(data)
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Invalid("the request ended early", malformed=True)
            parts.append(message.get("body", b""))
            size += len(parts[-1])
            if size > most:
                raise TooLarge(f"a body of more than {most} bytes is over the limit")
        return b"".join(parts)

    async def record(self, kind: type[T]) -> T:
        """The body as this record. Raises ``Invalid``."""
        data = await self.body(BODY_MAX)
        try:
            return msgspec.json.decode(data, type=kind) if self.json_in else msgspec.msgpack.decode(data, type=kind)
        except msgspec.ValidationError as e:
            raise Invalid(str(e)) from e
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise Invalid(str(e), malformed=True) from e


class AgentApi:
    """The ASGI application. ``spec`` and ``health`` are read at each request."""

    def __init__(self, calls: Calls, spec: Callable[[], Mapping[str, Any]], drain: Callable[[], None]) -> None:
        self._calls = calls
        self._spec = spec
        self._drain = drain

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        status, kind = 200, MSGPACK
        try:
            answer = await self._route(request)
            if isinstance(answer, bytes):
                body, kind = answer, "application/octet-stream"
            elif answer is None:
                status, body = 204, b""
            elif request.json_out:
                body, kind = _JSON.encode(answer), JSON
            else:
                body = _MSGPACK.encode(answer)
        except HeadraceError as e:
            status = e.status
            problem = {"title": type(e).__name__, "status": status, "detail": str(e), "kind": _kind(e)}
            body = (_JSON if request.json_out else _MSGPACK).encode(problem)
            kind = "application/problem+json" if request.json_out else MSGPACK
        headers = [(b"content-type", kind.encode()), (b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _route(self, r: Request) -> Any:
        calls = self._calls
        match (r.method, r.path):
            case ("GET", "/outcomes"):
                wire = await calls.feed(r.number("after", 0), r.number("wait", 0), r.number("link", 0))
                return wire.opened() if r.json_out else wire
            case ("POST", "/attempts"):
                return await calls.start(await r.record(Start))
            case ("POST", "/attempts/stop"):
                return await calls.stop(await r.record(StopOrder))
            case ("GET", "/attempts"):
                return await calls.held()
            case ("POST", "/attempts/drop-logs"):
                return await calls.drop_logs(await r.record(list[AttemptName]))
            case ("POST", "/blobs/which"):
                return await calls.has_blobs(await r.record(list[str]))
            case ("POST", "/packages/which"):
                return await calls.has_packages(await r.record(list[str]))
            case ("GET", "/spec"):
                return dict(self._spec())
            case ("GET", "/health"):
                return {"status": "ok"}
            case ("POST", "/drain"):
                return self._drain()
        return await self._named(r)

    async def _named(self, r: Request) -> Any:
        """Routes with a name in their path."""
        parts = r.path.split("/")
        match (r.method, parts):
            case ("GET", ["", "attempts", name, "logs"]):
                after, limit = r.number("after", 0), r.number("limit", 500)
                return await self._calls.logs(parse_name(name), after, limit, r.number("wait", 0))
            case ("GET", ["", "blobs", digest]):
                return self._calls.piece(check_digest(digest), r.number("offset", 0), r.number("limit", FETCH_PIECE))
            case ("PUT", ["", "blobs", digest]):
                return await self._calls.put_blob(check_digest(digest), await r.body(PACKAGE_MAX))
            case ("PUT", ["", "packages", digest]):
                return await self._calls.put_package(check_digest(digest), await r.body(PACKAGE_MAX))
        raise NotFound(f"this agent has no {r.method} {r.path[:100]}")


def _kind(e: HeadraceError) -> str:
    return "refused" if isinstance(e, Refused) else ""
