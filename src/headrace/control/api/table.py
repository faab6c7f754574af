"""The shape of the one route table: what a route says about itself, and nothing about how it is served.

From these records come the router, the OpenAPI document, format negotiation and the role matrix. Every noun's file
ends with its own ``ROUTES``; ``control.api.routes`` joins them. A route without a permission cannot be written down.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from enum import StrEnum
from typing import Any

from msgspec import Struct

from headrace.control.api.call import Call, Reply
from headrace.control.auth import Permission

JSON = "application/json"
MSGPACK = "application/msgpack"
MSGPACK_OLD = "application/x-msgpack"
YAML = "application/yaml"
MERGE_PATCH = "application/merge-patch+json"
EDN = "application/edn"
TEXT = "text/plain"
HTML = "text/html"
BYTES = "application/octet-stream"
ZIP = "application/zip"
PROBLEM = "application/problem+json"

RECORDS = (JSON, EDN, MSGPACK)
ANYTHING = ("*/*",)
"""Of an answer whose type its content says."""
DOCUMENTS = (JSON, EDN, MSGPACK, YAML)
BASE = "/api/v1"
BODY_MAX = 4 * 1024 * 1024
BATCH_BODY_MAX = 16 * 1024 * 1024
IMPORT_BODY_MAX = 32 * 1024 * 1024
PACKAGE_BODY_MAX = 64 * 1024 * 1024

Handler = Callable[[Call], Coroutine[Any, Any, Reply]]


class Kind(StrEnum):
    """The type of a query parameter, as OpenAPI names it."""

    text = "string"
    whole = "integer"
    yes = "boolean"


class Query(Struct, frozen=True):
    """A query parameter that a route understands; any other one is refused."""

    name: str
    summary: str
    kind: Kind = Kind.text


AS_OF = Query("as_of", "how it stood at this instant; 410 when that is older than what is kept")


class Route(Struct, frozen=True, kw_only=True):
    """One call of the API.

    ``request`` is the record that the body is decoded into (None: the handler reads the body itself, or there is none).
    ``body`` is the record that describes a body which the handler reads itself, ``also`` another record that a success may
    answer. ``if_match``: the header ``If-Match`` is looked at. ``accepts`` are the media types of the body, ``media`` those of the answer. ``run_token``: a run's own token may
    call it, for the run that ``{id}`` names; where that changes something, the handler asks what the attempt may. ``socket``: a WebSocket, opened by GET; Origin is checked.
    ``as_of``: it may be asked how things stood at an instant; the handler sees a store of that instant. ``statuses`` are those of success and the errors peculiar to the route;
    every route may answer 400 401 403 404 406 413 429 503 besides.
    """

    method: str
    path: str
    permission: Permission
    handler: Handler
    summary: str
    statuses: tuple[int, ...] = (200,)
    request: Any = None
    response: Any = None
    also: Any = None
    body: Any = None
    if_match: bool = False
    accepts: tuple[str, ...] = ()
    media: tuple[str, ...] = RECORDS
    body_max: int = BODY_MAX
    query: tuple[Query, ...] = ()
    run_token: bool = False
    socket: bool = False
    as_of: bool = False

    @property
    def queries(self) -> tuple[Query, ...]:
        """Every query parameter that the call understands."""
        return (*self.query, AS_OF) if self.as_of else self.query

    @property
    def operation(self) -> str:
        """A unique name of the call, for OpenAPI: ``get_runs_id_tasks``."""
        words = [w.strip("{}.") for w in self.path.removeprefix(BASE).split("/") if w]
        where = [] if self.path.startswith("/api/") else ["root"]
        return "_".join([self.method.lower(), *where, *words]).replace("-", "_").replace(".", "_")


REASON = Query("reason", "why; kept with the version")
PAGE = (
    Query("limit", "at most this many items (1 to 500, default 100)", Kind.whole),
    Query("cursor", "`next_cursor` of the page before"),
)
"""The query parameters of every list."""
