"""Named limits: put, change, pause, read. What is in use is counted over what live attempts hold, never kept.

Called through the route table only.
"""

from __future__ import annotations

import re
from functools import partial
from typing import Any

from headrace.control.api.answers import Told, ask_named
from headrace.control.api.call import Call, Reply
from headrace.control.api.records import Why
from headrace.control.api.table import BASE, PAGE, RECORDS, Handler, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.changes.limits import DeleteLimit, LimitSaved, PatchLimit, PauseLimit, PutLimit, read_limit
from headrace.control.changes.result import Result
from headrace.core.limits import limit_of
from headrace.model.errors import HeadraceError, Invalid, NotFound, Problem
from headrace.model.ids import WHOLE
from headrace.model.limits import LIMIT, LimitBody
from headrace.model.naming import did_you_mean
from headrace.model.views import HolderView, LimitPage, LimitView
from headrace.store.rows import Entity, HolderRow

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


async def put_limit(call: Call) -> Reply:
    """``PUT /limits/{name}``: new 201, else 200. Counts at once for what has not begun."""
    name = call.values["name"]
    if not _NAME.fullmatch(name):
        raise Invalid("1 problem", problems=(Problem("name", "lower-case letters, digits, _ and -, at most 63"),))
    body: LimitBody = call.body
    return await ask_named(call, PutLimit(name, limit_of(body)), partial(_told, await _in_use(call)))


async def patch_limit(call: Call) -> Reply:
    """``PATCH /limits/{name}``: a JSON merge patch."""
    patch: Any = call.body
    return await ask_named(call, PatchLimit(call.values["name"], patch), partial(_told, await _in_use(call)))


async def pause_limit(call: Call, *, paused: bool) -> Reply:
    """``POST /limits/{name}/pause`` and ``…/resume``: nothing that takes from it begins; what runs goes on."""
    body: Why = call.body
    change = PauseLimit(call.values["name"], paused, body.reason or "")
    return await ask_named(call, change, partial(_told, await _in_use(call), accepted=True))


async def delete_limit(call: Call) -> Reply:
    """``DELETE /limits/{name}``: work that names it waits until it is put again."""
    return await ask_named(call, DeleteLimit(call.values["name"]), lambda _: Told(204, None))


async def list_limits(call: Call) -> Reply:
    """``GET /limits``: by name, with what is in use."""
    limit = call.limit()
    rows = await call.services.reader.entities(LIMIT, after=call.text("cursor") or "", limit=limit)
    items = [_view(row, await call.services.reader.in_use(row.name)) for row in rows]
    return Reply(LimitPage(items=list(items), next_cursor=rows[-1].name if len(rows) == limit else None))


async def get_limit(call: Call) -> Reply:
    """``GET /limits/{name}``: with who holds it."""
    name, reader = call.values["name"], call.services.reader
    row = await reader.entity((LIMIT, name))
    if row is None or row.deleted_at:
        known = [row.name for row in await reader.entities(LIMIT)]
        raise NotFound(f"there is no limit {name[:100]!r}{did_you_mean(name[:100], known)}")
    holders = [await holder_view(call, holder) for holder in await reader.holders(name)]
    return Reply(_view(row, await reader.in_use(name), holders))


async def holder_view(call: Call, row: HolderRow) -> HolderView:
    """Who holds, by the names that people know."""
    index = None if row.index == WHOLE else row.index
    return HolderView(run=row.run, task=await _task(call, row.run, row.no), index=index, units=row.units, key=row.key)


async def _task(call: Call, run: int, no: int) -> str:
    found = await call.services.reader.run(run)
    if found is None or no < 0:
        return ""
    try:
        return (await call.services.graphs.load(found.cell.graph)).graph.nodes[no].name
    except HeadraceError:
        return str(no)


async def _in_use(call: Call) -> int:
    """What live attempts hold of the limit in the path, as the answer to a change tells it."""
    return await call.services.reader.in_use(call.values["name"])


def _told(in_use: int, results: list[Result], *, accepted: bool = False) -> Told:
    saved: LimitSaved = results[0].value
    status = 202 if accepted else 201 if saved.outcome == "new" else 200
    return Told(status, _view(saved.entity, in_use), f"{BASE}/limits/{saved.entity.name}")


def _view(row: Entity, in_use: int, holders: list[HolderView] | None = None) -> LimitView:
    limit = read_limit(row.image)
    return LimitView(
        name=row.name,
        slots=limit.slots,
        rate=limit.rate or None,
        burst=limit.burst if limit.count else None,
        key=limit.key or None,
        description=limit.description,
        paused=limit.paused,
        reason=limit.reason or None,
        in_use=in_use,
        holders=holders or [],
        version=row.version,
        created_at=moment(row.created_at),
        updated_at=moment(row.updated_at),
    )


def _route(method: str, more: str, permission: Permission, handler: Handler, summary: str, **fields: Any) -> Route:
    return Route(
        method=method, path=f"{BASE}/limits{more}", permission=permission, handler=handler, summary=summary, **fields
    )


_WRITES = {"accepts": RECORDS, "response": LimitView}

ROUTES = (
    _route("GET", "", Permission.limits_read, list_limits, "Named limits, by name", response=LimitPage, query=PAGE, as_of=True),
    _route("GET", "/{name}", Permission.limits_read, get_limit, "A limit and who holds it", response=LimitView, as_of=True),
    _route(
        "PUT", "/{name}", Permission.limits_write, put_limit, "Make or change a limit: slots, or a rate with a burst",
        statuses=(200, 201, 422), request=LimitBody, **_WRITES,
    ),
    _route(
        "PATCH", "/{name}", Permission.limits_write, patch_limit, "Change some fields of a limit (a JSON merge patch)",
        statuses=(200, 404, 422), request=dict[str, Any], **_WRITES,
    ),
    _route(
        "DELETE", "/{name}", Permission.limits_write, delete_limit, "Delete a limit; work that names it waits",
        statuses=(204, 404),
    ),
    _route(
        "POST", "/{name}/pause", Permission.limits_pause, partial(pause_limit, paused=True),
        "Let nothing that takes from the limit begin", statuses=(202, 404), request=Why, **_WRITES,
    ),
    _route(
        "POST", "/{name}/resume", Permission.limits_pause, partial(pause_limit, paused=False),
        "Let work that takes from the limit begin again", statuses=(202, 404), request=Why, **_WRITES,
    ),
)  # fmt: skip
