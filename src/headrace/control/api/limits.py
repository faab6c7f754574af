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
from headrace.control.api.table import BASE, PAGE, RECORDS, Handler, Query, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.changes.limits import (
    DeleteLimit,
    LimitSaved,
    PatchLimit,
    PauseLimit,
    PutLimit,
    RestoreLimit,
    read_limit,
)
from headrace.control.changes.result import Result
from headrace.core.limits import limit_of
from headrace.model.errors import HeadraceError, Invalid, NotFound, Problem
from headrace.model.ids import WHOLE
from headrace.model.limits import LIMIT, LimitBody, NewLimit
from headrace.model.naming import did_you_mean
from headrace.model.views import HolderView, LimitPage, LimitView
from headrace.store.rows import Entity, HolderRow

LOOKED_PAGES = 10
"""So many pages are looked at for one in which a text is sought; it may end short and have a next one."""
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


async def post_limit(call: Call) -> Reply:
    """``POST /limits``: new 201, the same content again 200, other content 409."""
    body: NewLimit = call.body
    change = PutLimit(_checked(body.name), limit_of(body), create=True)
    return await ask_named(call, change, partial(_told, await call.services.reader.in_use(body.name)))


async def put_limit(call: Call) -> Reply:
    """``PUT /limits/{name}``: new 201, else 200. Counts at once for what has not begun."""
    body: LimitBody = call.body
    change = PutLimit(_checked(call.values["name"]), limit_of(body))
    return await ask_named(call, change, partial(_told, await _in_use(call)))


def _checked(name: str) -> str:
    if not _NAME.fullmatch(name):
        raise Invalid("1 problem", problems=(Problem("name", "lower-case letters, digits, _ and -, at most 63"),))
    return name


async def restore_limit(call: Call) -> Reply:
    """``POST /limits/{name}/restore``: a deleted one is there again, as it was."""
    return await ask_named(call, RestoreLimit(call.values["name"]), partial(_told, await _in_use(call)))


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
    limit, sought, after = call.limit(), (call.text("q") or "").lower(), call.text("cursor") or ""
    reader = call.services.reader
    items: list[LimitView] = []
    for _ in range(LOOKED_PAGES):
        rows = await reader.entities(LIMIT, after=after, limit=limit)
        for row in rows:
            after = row.name
            if sought in row.name or sought in read_limit(row.image).description.lower():
                items.append(_view(row, await reader.in_use(row.name)))
                if len(items) == limit:
                    return Reply(LimitPage(items=items, next_cursor=after))
        if len(rows) < limit:
            return Reply(LimitPage(items=items))
    return Reply(LimitPage(items=items, next_cursor=after))


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
_RESTORES = {"response": LimitView}
_LIST = (Query("q", "with this text in name or description"), *PAGE)

ROUTES = (
    _route("GET", "", Permission.limits_read, list_limits, "Named limits, by name", response=LimitPage, query=_LIST, as_of=True),
    _route(
        "POST", "", Permission.limits_write, post_limit,
        "Make a limit; the same content again changes nothing, other content is refused (use PUT)",
        statuses=(201, 200, 409, 422), request=NewLimit, **_WRITES,
    ),
    _route(
        "POST", "/{name}/restore", Permission.limits_write, restore_limit, "Bring a deleted limit back, as it was",
        statuses=(200, 404), **_RESTORES,
    ),
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
