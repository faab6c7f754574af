"""What happened to a run: its history as events, oldest first. Reads only."""

from __future__ import annotations

import base64
from typing import Any

import msgspec

from headrace.control.api.call import Call, Reply
from headrace.control.api.lookup import run_of
from headrace.control.api.records import Items
from headrace.control.api.table import BASE, PAGE, Query, Route
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.control.graphs import Known
from headrace.model.errors import Invalid
from headrace.model.facts import Fact, RunSubmitted
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.views import EventView
from headrace.store.rows import HistoryRow

KINDS = {
    "RunSubmitted": "run.submitted",
    "RunChanged": "run.changed",
    "RunEnded": "run.ended",
    "TaskReadied": "task.ready",
    "TaskDispatched": "task.dispatched",
    "TaskStarted": "task.started",
    "TaskRetrying": "task.retrying",
    "TaskHeld": "task.held",
    "TaskEnded": "task.ended",
    "GroupExpanded": "group.expanded",
    "OutcomeRejected": "outcome.rejected",
}
_STATES = frozenset({"state"})


async def get_events(call: Call) -> Reply:
    """``GET /runs/{id}/events``: in commit order."""
    row, known = await run_of(call)
    limit = call.limit()
    cursor = call.text("cursor") or call.text("after")
    after = _position(cursor)
    rows = await call.services.reader.history(row.cell.run, after=after, limit=limit)
    commits = await call.services.reader.commits(sorted({h.commit for h in rows}))
    actors = {c.commit: c.actor for c in commits}
    items = [_event(h, fact, known, row.input.actor, actors) for h in rows for fact in h.facts]
    following = _text(after + len(rows)) if len(rows) == limit else None
    return Reply(Items(items=items, next_cursor=following))


def _event(row: HistoryRow, fact: Fact, known: Known, submitter: str, actors: dict[int, str]) -> EventView:
    subject = f"runs/{row.run}"
    no, index = (row.no, row.index) if fact.no == RUN_ITSELF and row.no != RUN_ITSELF else (fact.no, fact.index)
    if no != RUN_ITSELF:
        subject += f"/tasks/{known.graph.nodes[no].name}" + ("" if index == WHOLE else f"/{index}")
    kind = KINDS.get(type(fact).__name__, type(fact).__name__)
    return EventView(
        sequence=row.version,
        at=moment(row.at),
        actor=submitter if isinstance(fact, RunSubmitted) else actors.get(row.commit, ""),
        kind=kind,
        subject=subject,
        body=_body(fact),
    )


def _body(fact: Fact) -> dict[str, Any]:
    body = {}
    for name in fact.__struct_fields__:
        value = getattr(fact, name)
        if name in {"no", "index"}:
            continue
        if name in _STATES:
            value = value.name
        elif name == "at" or name.endswith("_at"):
            value = moment(value).isoformat() if value else None
        body[name] = value
    return body


def _text(count: int) -> str:
    return base64.urlsafe_b64encode(msgspec.msgpack.encode(count)).decode().rstrip("=")


def _position(cursor: str | None) -> int:
    if not cursor:
        return 0
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=int)
    except (ValueError, msgspec.DecodeError) as error:
        raise Invalid("the cursor is not one of ours", malformed=True) from error


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/runs/{id}/events",
        permission=Permission.runs_read,
        handler=get_events,
        summary="What happened to the run, in order",
        response=Items,
        query=(*PAGE, Query("after", "the same as cursor")),
        run_token=True,
    ),
)
