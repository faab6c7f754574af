"""The agent's HTTP API: MessagePack, JSON or EDN, a fixed allow-list of routes.

Turns requests into ``Calls`` and errors into problem documents; decides nothing. Served by ``agent.app`` on the Unix
socket.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import msgspec

from headrace.agent.about import METRICS, attempt, metrics, openapi
from headrace.agent.calls import Calls
from headrace.link.records import AttemptName, Start, StopOrder
from headrace.link.server import Asked, Told
from headrace.link.wire import BODY_MAX, EDN, FETCH_PIECE, JSON, MSGPACK, PACKAGE_MAX, check_digest, parse_name
from headrace.model.errors import HeadraceError, Invalid, NotAvailable, NotFound, Refused, TooLarge

T = TypeVar("T")

_MSGPACK = msgspec.msgpack.Encoder()
_JSON = msgspec.json.Encoder()
_CONTROLS = MSGPACK.encode()
"""What control says in both headers."""
_WAIT = re.compile(r"([0-9]{1,15})(ms|s)?\Z")


class Request:
    """One request, with what a route may ask of it."""

    def __init__(self, asked: Asked) -> None:
        self.method = asked.method
        self.path = asked.path
        self._query = asked.query
        self._body = asked.body
        self.media_in = _media(asked.headers.get(b"content-type", b""), MSGPACK)
        self.media_out = _media(asked.headers.get(b"accept", b""), JSON)

    def number(self, name: str, default: int) -> int:
        """A query parameter that is a whole number, or a wait like ``20s`` (then ms)."""
        for part in self._query.split("&"):
            key, _, value = part.partition("=")
            if key == name:
                match = _WAIT.match(value)
                if match is None:
                    raise Invalid(f"{name} must be a whole number, not {value[:40]!r}", malformed=True)
                return int(match[1]) * (1000 if match[2] == "s" else 1)
        return default

    def body(self, most: int) -> bytes:
        """The whole body. Raises ``TooLarge``."""
        if len(self._body) > most:
            raise TooLarge(f"a body of {len(self._body)} bytes is over the limit of {most}")
        return self._body

    def record(self, kind: type[T]) -> T:
        """The body as this record. Raises ``Invalid``."""
        data = self.body(BODY_MAX)
        if self.media_in != MSGPACK:
            from headrace.codec.wire import decode  # 0.8 MB for tools: control speaks MessagePack

            return decode(data, self.media_in, kind)
        try:
            return msgspec.msgpack.decode(data, type=kind)
        except msgspec.ValidationError as e:
            raise Invalid(str(e)) from e
        except (msgspec.DecodeError, UnicodeDecodeError) as e:
            raise Invalid(str(e), malformed=True) from e


def _media(header: bytes, default: str) -> str:
    """Which of the three formats a header names."""
    if _CONTROLS in header:
        return MSGPACK
    if EDN.encode() in header:
        return EDN
    return JSON if b"json" in header else default


def _written(answer: Any, media: str) -> bytes:
    if media == MSGPACK:
        return _MSGPACK.encode(answer)
    if media == JSON:
        return _JSON.encode(answer)
    from headrace.codec import edn  # likewise

    return edn.write(answer, ours=True)


class AgentApi:
    """The routes. ``spec`` is read at each request."""

    def __init__(self, calls: Calls, spec: Callable[[], Mapping[str, Any]], drain: Callable[[], None]) -> None:
        self._calls = calls
        self._spec = spec
        self._drain = drain

    async def __call__(self, asked: Asked) -> Told:
        """Answer one request; every error of ours becomes a problem document."""
        request = Request(asked)
        try:
            answer = await self._route(request)
        except HeadraceError as e:
            problem = {"title": type(e).__name__, "status": e.status, "detail": str(e), "kind": _kind(e)}
            media = request.media_out
            return Told(e.status, "application/problem+json" if media == JSON else media, _written(problem, media))
        if isinstance(answer, Told):
            return answer
        if isinstance(answer, bytes):
            return Told(200, "application/octet-stream", answer)
        if answer is None:
            return Told(204, MSGPACK, b"")
        return Told(200, request.media_out, _written(answer, request.media_out))

    async def _route(self, r: Request) -> Any:
        calls = self._calls
        match (r.method, r.path):
            case ("GET", "/outcomes"):
                wire = await calls.feed(r.number("after", 0), r.number("wait", 0), r.number("link", 0))
                return wire if r.media_out == MSGPACK else wire.opened()
            case ("POST", "/attempts"):
                return await calls.start(r.record(Start))
            case ("POST", "/attempts/stop"):
                return await calls.stop(r.record(StopOrder))
            case ("GET", "/attempts"):
                return await calls.held()
            case ("POST", "/attempts/drop-logs"):
                return await calls.drop_logs(r.record(list[AttemptName]))
            case ("POST", "/blobs/which"):
                return await calls.has_blobs(r.record(list[str]))
            case ("POST", "/packages/which"):
                return await calls.has_packages(r.record(list[str]))
            case ("POST", "/drain"):
                return self._drain()
        return self._about(r) or await self._named(r)

    def _about(self, r: Request) -> Any:
        """What it tells tools of itself; None for another route."""
        match (r.method, r.path):
            case ("GET", "/spec"):
                return dict(self._spec())
            case ("GET", "/metrics"):
                return Told(200, METRICS, metrics(self._spec()))
            case ("GET", "/packages"):
                return {"packages": self._calls.packages()}
            case ("GET", "/api/openapi.json"):
                return Told(200, JSON, _JSON.encode(openapi(str(self._spec()["version"]))))
            case ("POST", "/join"):
                raise NotAvailable("not available yet: agents that join over the network")
            case ("GET", "/health"):
                return {"status": "ok"}
        return None

    async def _named(self, r: Request) -> Any:
        """Routes with a name in their path."""
        parts = r.path.split("/")
        match (r.method, parts):
            case ("GET", ["", "attempts", name, "logs"]):
                after, limit = r.number("after", 0), r.number("limit", 500)
                return await self._calls.logs(parse_name(name), after, limit, r.number("wait", 0))
            case ("GET", ["", "attempts", name]):
                return attempt(await self._calls.held(), parse_name(name))
            case ("GET", ["", "blobs", digest]):
                return self._calls.piece(check_digest(digest), r.number("offset", 0), r.number("limit", FETCH_PIECE))
            case ("PUT", ["", "blobs", digest]):
                check_digest(digest)
                if total := r.number("total", 0):
                    return await self._calls.put_piece(digest, r.number("offset", 0), total, r.body(FETCH_PIECE))
                return await self._calls.put_blob(digest, r.body(PACKAGE_MAX))
            case ("PUT", ["", "packages", digest]):
                return await self._calls.put_package(check_digest(digest), r.body(PACKAGE_MAX))
        raise NotFound(f"this agent has no {r.method} {r.path[:100]}")


def _kind(e: HeadraceError) -> str:
    return "refused" if isinstance(e, Refused) else ""
