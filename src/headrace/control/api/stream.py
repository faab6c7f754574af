"""``/events/stream``: events as they happen, over a WebSocket. Resumes behind any cursor.

One message an event. A watcher that takes its messages slowly reads the store at its own pace; it is never buffered for.
Ends when the caller's credential does. Called through the route table.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from functools import partial

from headrace.control.api.call import Call, Reply
from headrace.control.api.negotiate import encode
from headrace.control.api.table import BASE, RECORDS, Query, Route
from headrace.control.auth import Permission
from headrace.control.events.cursor import Cursor, Gone, read_cursor
from headrace.control.events.feed import Event
from headrace.control.events.subjects import Wanted
from headrace.control.events.tail import Shared, Tail
from headrace.control.events.views import gap_event
from headrace.control.sockets import ServerSocket, SocketClosed, accepted
from headrace.link.websocket import BINARY, TEXT, unmasked_frame
from headrace.model.errors import Busy, HeadraceError
from headrace.model.views import FeedEvent

WATCHERS_MAX = 2_000
PIECE = 200
"""Events that are written at once."""
JOINED_MAX = 64
"""So many different pieces are kept put together."""
LATEST = "latest"
_BINARY_MEDIA = "msgpack"


async def start_of(call: Call) -> tuple[Cursor, str]:
    """Where the caller wants to begin; second: why not there, when what follows it is not whole any more."""
    feed, text = call.services.tail.feed, call.text("after")
    if not text:
        return await feed.oldest(), ""
    if text == LATEST:
        return await feed.latest(), ""
    cursor = read_cursor(text)
    try:
        await feed.check(cursor)
    except Gone as gone:
        return await feed.oldest(), gone.message
    return cursor, ""


def view_of(event: Event) -> FeedEvent:
    """The event with its cursor."""
    v = event.view
    return FeedEvent(
        sequence=v.sequence, at=v.at, actor=v.actor, kind=v.kind, subject=v.subject, body=v.body,
        cursor=event.cursor.text(),
    )  # fmt: skip


async def stream_events(call: Call) -> Reply:
    """Open the stream; everything that can be wrong is said before."""
    accepted(dict(call.scope["headers"]))
    tail = call.services.tail
    if tail.watchers >= WATCHERS_MAX or tail.over:
        raise Busy("too many watch here already", retry_after=5)
    wanted = Wanted(call.query.get("subject", ()), call.caller.may)
    cursor, gap = await start_of(call)
    return Reply(socket=partial(_watch, call, cursor, gap, wanted))


async def _watch(call: Call, cursor: Cursor, gap: str, wanted: Wanted, socket: ServerSocket) -> None:
    watcher = _Watcher(call, cursor, wanted, socket)
    socket.closed.add_done_callback(watcher.wake)
    tail = call.services.tail
    tail.enter()
    try:
        if gap:
            await watcher.gap(gap)
        await watcher.run()
    except SocketClosed:
        pass
    except HeadraceError as error:
        socket.close(1011, error.message)
    finally:
        tail.leave()


class _Watcher:
    """One who watches: where it stands and what it wants."""

    def __init__(self, call: Call, cursor: Cursor, wanted: Wanted, socket: ServerSocket) -> None:
        self._call = call
        self._tail: Tail = call.services.tail
        self._cursor = cursor
        self._wanted = wanted
        self._socket = socket
        self._media = call.accept
        self._news: asyncio.Future[None] | None = None
        self._opcode = BINARY if _BINARY_MEDIA in call.accept else TEXT

    async def run(self) -> None:
        """Until the socket ends, or whoever called this."""
        while not self._tail.over and not self._socket.closed.done():
            self._news = self._tail.news()
            try:
                if not await self._step():
                    await self._news
            finally:
                self._tail.forget(self._news)
        self._socket.close(1001, "the server ends")

    def wake(self, _closed: object) -> None:
        """The socket is gone: wait for nothing any more."""
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def gap(self, reason: str) -> None:
        """Say that something is told no more, and go on with what is kept."""
        event = gap_event("", self._call.services.clock.now(), reason)
        await self._send([Event(self._cursor, event, 0)])

    async def _step(self) -> bool:
        """Send what is there, a piece at most; whether there was something, or may be more."""
        shared = self._tail.since(self._cursor)
        if shared is not None:
            piece = shared[:PIECE]
            if not piece:
                return False
            await self._send_shared(piece)
            self._cursor = piece[-1].cursor
            return True
        feed = self._tail.feed
        try:
            await feed.check(self._cursor)
        except Gone as gone:
            self._cursor = await feed.oldest()
            await self.gap(gone.message)
        page = await feed.page(self._cursor, PIECE, self._wanted)
        await self._send(page.events)
        self._cursor = page.cursor
        return page.more or bool(page.events)

    async def _send_shared(self, piece: Sequence[Shared]) -> None:
        key = (piece[0].cursor, piece[-1].cursor, self._media, self._wanted.key)
        frames = self._tail.joined.get(key)
        if frames is None:
            frames = b"".join(self._frames(piece))
            if len(self._tail.joined) < JOINED_MAX:
                self._tail.joined[key] = frames
        if frames:
            await self._socket.send(frames)

    def _frames(self, piece: Sequence[Shared]) -> Iterator[bytes]:
        for shared in piece:
            event = shared.event
            if self._wanted.takes(event.run, event.thing, event.view.subject):
                text = shared.texts.get(self._media)
                if text is None:
                    text = shared.texts[self._media] = self._frame(event)
                yield text

    async def _send(self, events: Iterable[Event]) -> None:
        await self._write([self._frame(event) for event in events])

    async def _write(self, frames: list[bytes]) -> None:
        if frames:
            await self._socket.send(b"".join(frames))

    def _frame(self, event: Event) -> bytes:
        return unmasked_frame(self._opcode, encode(view_of(event), self._media))


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/events/stream",
        permission=Permission.events_read,
        handler=stream_events,
        summary="A WebSocket: events as they happen, one a message",
        statuses=(101, 426),
        socket=True,
        media=RECORDS,
        query=(
            Query("after", "the `cursor` of the last event that was read, or `latest`; absent: from the oldest kept"),
            Query("subject", "`runs/12`, `jobs/nightly`, or the beginning of one: `jobs/night*`; may be repeated"),
        ),
    ),
)
