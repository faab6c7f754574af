"""One request while it is handled, and its reply. Plain objects; no rules, no store.

Made by ``control.api.dispatch`` for every request; read by the handlers of the nouns.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from headrace.control.auth import Caller
from headrace.model.changes import Origin
from headrace.model.errors import Invalid, Problem

if TYPE_CHECKING:  # Services names what handlers need; a cycle at run time otherwise
    from headrace.control.api.services import Services
    from headrace.control.sockets import ServerSocket

LIMIT_MAX = 500
LIMIT_DEFAULT = 100


class CutOff(Exception):
    """A stream ends before it is whole: only cutting the connection says so."""


class Reply:
    """What a handler answers: a record (encoded in the caller's format), raw bytes with their type, a stream, a socket.

    ``socket`` is called with the WebSocket, once that is open; the connection ends when it returns.
    """

    __slots__ = ("body", "headers", "media", "record", "socket", "status", "stream")

    def __init__(
        self,
        record: Any = None,
        status: int = 200,
        *,
        body: bytes | None = None,
        media: str = "",
        headers: tuple[tuple[bytes, bytes], ...] = (),
        stream: AsyncIterator[bytes] | None = None,
        socket: Callable[[ServerSocket], Coroutine[Any, Any, None]] | None = None,
    ) -> None:
        self.record = record
        self.status = status
        self.body = body
        self.media = media
        self.headers = headers
        self.stream = stream
        self.socket = socket


class Call:
    """A request: route, caller, path values, query, body.

    ``body`` is the decoded request record where the route declares one, else the raw bytes. ``accept`` is the
    negotiated media type of the answer, ``key`` the idempotency key, ``asked`` says that the ledger was asked.
    ``query_text`` is the query as it was sent, ``scope`` is the request as ASGI gives it, ``cookie`` says that the credential came in one.
    """

    __slots__ = (
        "_query",
        "accept",
        "answer_type",
        "asked",
        "body",
        "caller",
        "content_type",
        "cookie",
        "if_match",
        "key",
        "method",
        "path",
        "query_text",
        "raw",
        "scope",
        "services",
        "values",
    )

    def __init__(self, services: Services, method: str, path: str, values: dict[str, str], query: bytes) -> None:
        self.services = services
        self.method = method
        self.path = path
        self.values = values
        self.caller: Caller
        self.accept = ""
        self.answer_type: Any = Any
        self.content_type = ""
        self.body: Any = None
        self.raw = b""
        self.key: str | None = None
        self.if_match: bytes | None = None
        self.scope: Mapping[str, Any] = {}
        self.cookie = False
        self.asked = False
        self.query_text = query
        self._query: dict[str, list[str]] | None = None

    @property
    def address(self) -> str:
        """Where the caller is; empty when nobody knows."""
        client = self.scope.get("client")
        return "" if client is None else str(client[0])

    @property
    def origin(self) -> Origin:
        """Who asks and from where, for the commit row; and why, where the query says ``reason``."""
        return Origin(self.caller.name, self.address or "api", self.text("reason") if self.query_text else None)

    def expected(self) -> int | None:
        """The version that ``If-Match`` names; None when any will do. Raises Invalid for what is no version."""
        header = self.if_match
        if header is None or header.strip() == b"*":
            return None
        text = header.decode("latin-1").strip().removeprefix("W/").strip('"')
        if not text.isascii() or not text.isdigit() or len(text) > 16:
            raise Invalid('If-Match must be a version as in ETag: "3"', malformed=True)
        return int(text)

    @property
    def query(self) -> dict[str, list[str]]:
        """Query parameters by name, in the order given."""
        if self._query is None:
            found: dict[str, list[str]] = {}
            if self.query_text:
                try:
                    pairs = parse_qsl(self.query_text.decode("ascii"), keep_blank_values=True, max_num_fields=64)
                except ValueError as error:
                    raise Invalid("the query string is not readable", malformed=True) from error
                for name, value in pairs:
                    if "\0" in name or "\0" in value:
                        raise _bad(name.replace("\0", "?")[:64], "has a NUL character")
                    found.setdefault(name, []).append(value)
            self._query = found
        return self._query

    def text(self, name: str) -> str | None:
        """A query parameter given at most once."""
        values = self.query.get(name)
        if not values:
            return None
        if len(values) > 1:
            raise _bad(name, "is given more than once")
        return values[0]

    def whole(self, name: str, default: int, *, least: int = 0, most: int = 2**53) -> int:
        """A query parameter that is an integer within bounds."""
        text = self.text(name)
        if text is None:
            return default
        if not text.isascii() or not text.isdigit() or len(text) > 16 or not least <= int(text) <= most:
            raise _bad(name, f"must be an integer from {least} to {most}")
        return int(text)

    def yes(self, name: str) -> bool:
        """A query parameter that is a boolean; absent is false."""
        text = self.text(name)
        if text is None or text in {"false", "0", "no"}:
            return False
        if text in {"true", "1", "yes", ""}:
            return True
        raise _bad(name, "must be true or false")

    def limit(self, default: int = LIMIT_DEFAULT) -> int:
        """The page size."""
        return self.whole("limit", default, least=1, most=LIMIT_MAX)

    def run_id(self) -> int:
        """The run that ``{id}`` names. Raises Invalid (400) when it is no run id at all."""
        text = self.values["id"]
        if not text.isascii() or not text.isdigit() or len(text) > 16 or int(text) >= 2**53:
            raise Invalid(f"{text[:64]!r} is no run id: run ids are integers", malformed=True)
        return int(text)


def _bad(name: str, message: str) -> Invalid:
    return Invalid(f"query parameter {name}: {message}", problems=(Problem(f"query.{name}", message),), malformed=True)
