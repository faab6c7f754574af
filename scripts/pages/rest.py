"""docs/reference/rest.md, from the route table and the records that travel."""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.control.api.openapi import COMMON
from headrace.control.api.routes import all_routes
from headrace.control.api.table import BASE, MSGPACK_OLD, YAML, Route
from headrace.control.auth import ROLES, Permission
from headrace.model.definition import JobDefinition
from headrace.model.views import ProblemView
from pages.words import GENERATED, anchor, fields_table, prose, records_below, table

INTRO = f"""# REST API

Everything is under `{BASE}`. Every call but the public ones needs `Authorization: Bearer TOKEN` or the cookie of
a session; the token of a local server is in `admin-token` of its data folder. [Roles and permissions](roles.md) says who
may what. Bodies and answers are JSON, [EDN](../howto/edn.md) or MessagePack, by `Content-Type` and `Accept`; definitions may be YAML
too. The same table as OpenAPI 3.1: `GET /api/openapi.json`; as a page of your own server: `/api/docs`.

* A POST with an `Idempotency-Key` may be repeated: the same key and body give the first answer again for 7 days,
  another body gives 409. A secret that is shown once is not repeated, and `token_omitted` says so. What changes nothing
  (`POST /jobs/check`) and `POST /login` answer anew, with a key as without one.
* Lists answer `{{items, next_cursor}}`; ask again with `cursor=` until `next_cursor` is null.
* An error is a problem document (RFC 9457), `application/problem+json` or in the format that `Accept` asks for,
  with every problem at once.
* Unknown fields and unknown query parameters are errors.
* Any call may answer {", ".join(map(str, COMMON))} besides what is listed. 429 and 503 carry `Retry-After`.
"""
TITLES = {
    "jobs": "Jobs",
    "runs": "Runs",
    "tasks": "Tasks",
    "packages": "Packages",
    "agents": "Agents",
    "login": "People",
    "users": "People",
    "tokens": "People",
    "health": "System",
}


def page() -> str:
    """The whole page."""
    routes = all_routes()
    roots = [
        t for r in routes for t in (r.request, r.response) if isinstance(t, type) and issubclass(t, msgspec.Struct)
    ]
    known = {*records_below([JobDefinition])}
    records = [record for record in records_below([*roots, ProblemView]) if record not in known]
    linked = [record.__name__ for record in records]
    parts = [GENERATED, INTRO, "## Calls\n", _overview(routes)]
    for route in routes:
        parts += _route(route, linked)
    parts += ["## Roles\n", _roles(), "## Records\n"]
    parts.append(
        "Records of the definition document are in [its own page](definition.md). Instants are ISO 8601 in UTC.\n"
    )
    for record in records:
        parts += [
            f"### {record.__name__}\n",
            prose(record.__doc__) + "\n",
            fields_table(record, linked, bare=record.__name__.endswith(("View", "Page"))),
        ]
    return "\n".join(part for part in parts if part)


def _overview(routes: tuple[Route, ...]) -> str:
    return table(
        ("call", "does"),
        [(f"[`{r.method} {r.path.removeprefix(BASE)}`](#{anchor(f'{r.method} {r.path}')})", r.summary) for r in routes],
    )


def _route(route: Route, linked: list[str]) -> list[str]:
    roles = [role.value for role, held in ROLES.items() if route.permission in held and role.value != "run"]
    who = "anybody" if route.permission is Permission.public else ", ".join(roles)
    if route.run_token:
        who += "; a run's own token, for its run"
    lines = [f"### {route.method} {route.path}\n", route.summary + ".\n", f"* who: {who} (`{route.permission.value}`)"]
    if route.accepts:
        lines.append(
            f"* body: {_body(route, linked)}, as {_medias(route.accepts)}, at most {route.body_max // 1024:,} KiB"
        )
    lines.append(
        f"* answer: {' '.join(map(str, route.statuses))}, {_type(route.response, linked)}, as {_medias(route.media)}\n"
    )
    lines.append(table(("query", "type", "means"), [(f"`{q.name}`", q.kind.value, q.summary) for q in route.queries]))
    return lines


def _body(route: Route, linked: list[str]) -> str:
    """Routes that take documents read the body themselves, so that problems carry line and column."""
    if route.request is None:
        return _type(JobDefinition, linked) if YAML in route.accepts else "the bytes"
    return _type(route.request, linked)


def _type(kind: Any, linked: list[str]) -> str:
    if kind is None:
        return "no record"
    name = getattr(kind, "__name__", str(kind))
    if name in linked:
        return f"[{name}](#{anchor(name)})"
    return f"[{name}](definition.md#{anchor(name)})" if name == "JobDefinition" else f"`{name}`"


def _medias(medias: tuple[str, ...]) -> str:
    return ", ".join(f"`{media}`" for media in medias if media != MSGPACK_OLD)


def _roles() -> str:
    rows = [
        (f"`{permission.value}`", *("yes" if permission in held else "" for held in ROLES.values()))
        for permission in Permission
    ]
    return table(("permission", *(role.value for role in ROLES)), rows)
