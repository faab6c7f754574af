"""What happened: events of one run, oldest first; and all events in commit order. Reads only."""

from __future__ import annotations

import asyncio
import base64

import msgspec

from headrace.control.api.call import Call, Reply
from headrace.control.api.lookup import run_of
from headrace.control.api.stream import start_of, view_of
from headrace.control.api.table import BASE, PAGE, Kind, Query, Route
from headrace.control.api.times import seconds_of
from headrace.control.auth import Permission
from headrace.control.events.cursor import Gone
from headrace.control.events.feed import Page
from headrace.control.events.subjects import Wanted
from headrace.control.events.views import run_event
from headrace.model.errors import Invalid
from headrace.model.views import EventPage, FeedPage
from headrace.store.rows import HistoryRow

WAIT_MAX = 60.0


async def get_events(call: Call) -> Reply:
    """``GET /runs/{id}/events``: in commit order."""
    row, known = await run_of(call)
    limit = call.limit()
    cursor = call.text("cursor") or call.text("after")
    after = _position(cursor)
    rows = await call.services.reader.history(row.cell.run, after=after, limit=limit)
    commits = await call.services.reader.commits(sorted({h.commit for h in rows}))
    actors = {c.commit: c.actor for c in commits}
    told = sorted(rows, key=lambda h: (h.commit, h.at, _ended(h)))
    items = [run_event(h, fact, known, actors.get(h.commit, "")) for h in told for fact in h.facts]
    following = _text(after + len(rows)) if len(rows) == limit else None
    return Reply(EventPage(items=items, next_cursor=following))


def _ended(row: HistoryRow) -> bool:
    """Whether the run is over by this row: of one commit that is told last."""
    return row.run_image is not None and row.run_image.ended_at > 0


async def list_events(call: Call) -> Reply:
    """``GET /events``: in commit order, from the oldest kept or behind a cursor; ``wait=20s`` waits for the first."""
    limit, wait = call.limit(), seconds_of(call, "wait", WAIT_MAX)
    wanted = Wanted(call.query.get("subject", ()), call.caller.may)
    cursor, gap = await start_of(call)
    if gap:
        raise Gone(gap)
    tail = call.services.tail
    page = await tail.feed.page(cursor, limit, wanted)
    if wait and not page.events and not page.more:
        tail.enter()
        try:
            page = await _first(call, page, limit, wanted, wait)
        finally:
            tail.leave()
    text = page.cursor.text()
    following = text if page.events or page.more else None
    return Reply(FeedPage(items=[view_of(event) for event in page.events], next_cursor=following, cursor=text))


async def _first(call: Call, page: Page, limit: int, wanted: Wanted, wait: float) -> Page:
    """The next page that is not empty, or the last one when the time is over."""
    loop, tail = asyncio.get_running_loop(), call.services.tail
    deadline = loop.time() + wait
    while not page.events and (left := deadline - loop.time()) > 0 and not tail.over:
        news = tail.news()
        try:
            page = await tail.feed.page(page.cursor, limit, wanted)
            if not page.events and not page.more:
                await asyncio.wait({news}, timeout=left)
        finally:
            tail.forget(news)
    return page


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
        path=BASE + "/events",
        permission=Permission.events_read,
        handler=list_events,
        summary="What happened, of everything, in commit order; `next_cursor` is null when there is nothing new",
        statuses=(200, 410),
        response=FeedPage,
        query=(
            Query("limit", "at most this many events (1 to 500, default 100)", Kind.whole),
            Query("after", "`next_cursor` or an event's `cursor`, or `latest`; absent: from the oldest kept"),
            Query("wait", "when there is nothing new: wait so long for the first event (`20s`; at most 60s)"),
            Query("subject", "`runs/12`, `jobs/nightly`, or the beginning of one: `jobs/night*`; may be repeated"),
        ),
    ),
    Route(
        method="GET",
        path=BASE + "/runs/{id}/events",
        permission=Permission.runs_read,
        handler=get_events,
        summary="What happened to the run, in order",
        response=EventPage,
        query=(*PAGE, Query("after", "the same as cursor")),
        run_token=True,
    ),
)
