"""The OpenAPI 3.1 document, made from the route table and the records: it cannot say anything that is not served.

Pure, but for the source of the records, whose fields it describes. Made when it is first asked for; also called by the
generator of the reference.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any

import headrace
from headrace.codec.describe import describe
from headrace.codec.schema import components_of
from headrace.control.api.call import LIMIT_MAX
from headrace.control.api.router import UNSAFE
from headrace.control.api.table import EDN, MERGE_PATCH, MSGPACK, PROBLEM, RECORDS, Route
from headrace.control.auth import ROLES, Permission
from headrace.model.definition import JobDefinition
from headrace.model.views import ProblemView

COMMON = (400, 401, 403, 404, 406, 413, 414, 415, 421, 429, 431, 500, 503)
CHANGING = (409, 422, 501)
"""What every call that changes something may answer besides."""
_PLACE = re.compile(r"\{(\w+)(\.\.\.)?\}")


_NAME = r"^[a-z0-9][a-z0-9_-]{0,62}$"
_PLACES: dict[str, dict[str, Any]] = {
    "id": {"type": "integer", "minimum": 1, "maximum": 2**53 - 1},
    "index": {"type": "integer", "minimum": 0, "maximum": 10**9 - 1},
    "task": {"type": "string", "pattern": _NAME},
}
_BOUNDS: dict[str, dict[str, Any]] = {"limit": {"minimum": 1, "maximum": LIMIT_MAX}, "version": {"minimum": 1}}


def openapi(routes: Sequence[Route]) -> dict[str, Any]:
    """The document."""
    types = _types(routes)
    schemas, components = components_of(types)
    describe(components, types)
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        path = _PLACE.sub(r"{\1}", route.path)
        paths.setdefault(path, {})[route.method.lower()] = _operation(route, by_type)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Headrace",
            "version": headrace.__version__,
            "description": "Jobs, runs and everything about them. Every call but health and login needs a bearer token or the cookie of a session.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": "/"}],
        "security": [{"token": []}, {"session": []}],
        "paths": paths,
        "components": {
            "schemas": components,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer"},
                "session": {
                    "type": "apiKey",
                    "in": "cookie",
                    "name": "headrace",
                    "description": "set by login; over TLS `__Host-headrace`, on a port of its own `headrace-PORT`",
                },
            },
        },
    }


def _types(routes: Sequence[Route]) -> list[Any]:
    found: dict[str, Any] = {repr(ProblemView): ProblemView, repr(JobDefinition): JobDefinition}
    for route in routes:
        for type_ in (route.request, route.body, route.response, route.also):
            if type_ is not None:
                found[repr(type_)] = type_
    return list(found.values())


def _operation(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": route.operation,
        "summary": route.summary,
        "tags": [_tag(route)],
        "parameters": [*_places(route), *_queries(route), *_headers(route)],
        "responses": _responses(route, by_type),
        "x-permission": route.permission.value,
        "x-roles": sorted(role.value for role, held in ROLES.items() if route.permission in held),
    }
    if route.permission is Permission.public:
        operation["security"] = []
    if route.accepts:
        operation["requestBody"] = {"required": route.request is None, "content": _body(route, by_type)}
    return operation


def _body(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    schema: Any = {}
    if route.request is not None:
        schema = by_type[repr(route.request)]
    elif route.body is not None:
        schema = by_type[repr(route.body)]
    patch = {"type": "object", "description": "a JSON merge patch: null takes a field away"}
    # in every format a merge patch is what the method says
    schemas = dict.fromkeys(route.accepts, patch if MERGE_PATCH in route.accepts else schema)
    return {media: {"schema": schemas[media]} for media in route.accepts}


def _responses(route: Route, by_type: dict[str, Any]) -> dict[str, Any]:
    problem = {media: {"schema": by_type[repr(ProblemView)]} for media in (PROBLEM, EDN, MSGPACK)}
    found: dict[str, Any] = {}
    for status in (*route.statuses, *COMMON, *(CHANGING if route.method in UNSAFE else ())):
        words = HTTPStatus(status).phrase
        if status >= 400:
            found.setdefault(str(status), {"description": words, "content": problem})
            continue
        if status == 204:
            found[str(status)] = {"description": words}
            continue
        schema = by_type[repr(route.response)] if route.response is not None else {}
        if route.also is not None:
            schema = {"anyOf": [schema, by_type[repr(route.also)]]}
        content = {media: {"schema": schema if media in RECORDS else {}} for media in route.media}
        found[str(status)] = {"description": words, "content": content}
    return found


def _places(route: Route) -> list[dict[str, Any]]:
    return [
        {"name": name, "in": "path", "required": True, "schema": _PLACES.get(name, {"type": "string"})}
        for name, _ in _PLACE.findall(route.path)
    ]


def _queries(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": q.name,
            "in": "query",
            "description": q.summary,
            "schema": {"type": q.kind.value, **_BOUNDS.get(q.name, {})},
        }
        for q in route.queries
    ]


def _headers(route: Route) -> list[dict[str, Any]]:
    found = []
    if route.method == "POST":
        text = "the same key with the same path, query and body gets the first answer again, for 7 days"
        found.append({"name": "Idempotency-Key", "in": "header", "description": text, "schema": {"type": "string"}})
    if route.if_match:
        text = 'only if this is still the version, as in `ETag`: `"3"`; else 412'
        found.append({"name": "If-Match", "in": "header", "description": text, "schema": {"type": "string"}})
    return found


def _tag(route: Route) -> str:
    words = [w for w in route.path.split("/") if w not in {"", "api", "v1"}]
    return words[0].partition(".")[0]
