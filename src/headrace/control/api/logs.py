"""Logs of a run, a task or an instance: JSON pages with a cursor, or the bytes as they were written.

Filters and formats only; ``control.api.logbook`` knows where records are. Following ends when what is followed has
ended, and an agent that has the rest and is away is waited for (``logbook.AWAY_S``). That it ends with the credential
is ``control.api.standing``'s business.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from headrace.control.api.call import Call, CutOff, Reply
from headrace.control.api.logbook import PAGE_MAX, Line, Logbook, Page, Position, position_of
from headrace.control.api.lookup import run_of, task_number
from headrace.control.api.table import BASE, RECORDS, TEXT, Kind, Query, Route
from headrace.control.api.times import seconds_of
from headrace.control.api.views import moment
from headrace.control.auth import Permission
from headrace.link.records import AttemptName, LogRecord
from headrace.model.cells import TaskCell
from headrace.model.errors import Invalid, LinkError, NotFound, Refused
from headrace.model.ids import WHOLE
from headrace.model.views import LogPage, LogView

STREAMS = ("stdout", "stderr", "log", "system")
LEVELS = ("debug", "info", "warning", "error", "critical")
WAIT_MAX = 60.0
AGAIN_S = 0.2
"""After so long an agent that is away is looked for again."""
Keep = Callable[[Line], bool]


async def get_logs(call: Call) -> Reply:
    """``GET …/logs``: of the run, or of the task and index in the path."""
    book, names = await _book(call)
    keep = _filter(call)
    position = position_of(call.text("after"))
    follow = call.yes("follow")
    if call.accept == TEXT:
        whole = call.text("stream") is None
        return Reply(media=TEXT, stream=_text(call, book, position, keep, follow=follow, whole=whole))
    wait = seconds_of(call, "wait", WAIT_MAX) or (20.0 if follow else 0.0)
    lines, page = await _page(call, book, position, keep, wait)
    cursor = None if page.over else page.position.text()
    return Reply(LogPage(items=[_view(line, names) for line in lines], next_cursor=cursor))


async def _book(call: Call) -> tuple[Logbook, Sequence[str]]:
    services = call.services
    row, known = await run_of(call)
    names = [node.name for node in known.graph.nodes]
    no = index = None
    if "task" in call.values:
        no = task_number(known, call.values["task"])
        if known.graph.nodes[no].each is None:
            index = WHOLE
    if "index" in call.values:
        if not call.values["index"].isdigit() or len(call.values["index"]) > 9:
            raise Invalid("an instance is named by its number", malformed=True)
        index = int(call.values["index"])
    if index is not None and no is not None and await services.reader.task((row.cell.run, no, index)) is None:
        raise NotFound(f"run {row.cell.run} has no task {names[no]}" + ("" if index < 0 else f"[{index}]") + " yet")
    book = Logbook(row, known, services.reader, services.blobs, services.agents, services.absent, no=no, index=index)
    return book, names


def _filter(call: Call) -> Keep:
    stream, level, text = call.text("stream"), call.text("level"), call.text("q")
    wanted = None if stream is None else frozenset(stream.split(","))
    if wanted is not None and not wanted <= set(STREAMS):
        raise Invalid(f"query parameter stream: one of {', '.join(STREAMS)}", malformed=True)
    if level is not None and level.lower() not in LEVELS:
        raise Invalid(f"query parameter level: one of {', '.join(LEVELS)}", malformed=True)
    least = LEVELS.index(level.lower()) if level is not None else -1
    sought = None if text is None else text.encode()

    def keep(line: Line) -> bool:
        record = line.record
        if wanted is not None and record.stream not in wanted:
            return False
        if least >= 0 and _rank(record.level) < least:
            return False
        return sought is None or sought in record.data

    return keep


def _rank(level: str) -> int:
    word = level.lower()
    return LEVELS.index(word) if word in LEVELS else -1


async def _page(call: Call, book: Logbook, position: Position, keep: Keep, wait: float) -> tuple[list[Line], Page]:
    """A page with at least one line that is kept, unless the time is over or the log is."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + wait
    limit = call.limit(PAGE_MAX)
    while True:
        page = await book.page(position, limit)
        lines = [line for line in page.lines if keep(line)]
        left = 0.0 if call.services.waiters.over else deadline - loop.time()
        waits = page.away and not call.services.waiters.over
        if lines or page.over or (left <= 0 and page.position == position and not waits):
            return lines, page
        if not page.lines and page.position == position:
            await _wait(call, page.live, position, AGAIN_S if waits else left)
        position = page.position
        if left <= 0 and not page.lines and not waits:
            return lines, page


async def _wait(call: Call, live: Sequence[TaskCell], position: Position, left: float) -> None:
    """Until an attempt wrote something, the run changed, or a second is over."""
    waiters, run = call.services.waiters, call.run_id()
    future = waiters.subscribe(run)
    places = {(p.no, p.index): p.seq for p in position.places}
    asked = [
        asyncio.ensure_future(_written(call, cell, places.get((cell.no, cell.index), 0), min(left, 1.0)))
        for cell in live[:8]
    ]
    try:
        await asyncio.wait({future, *asked}, timeout=min(left, 1.0), return_when=asyncio.FIRST_COMPLETED)
    finally:
        waiters.drop(run, future)
        future.cancel()
        if asked:
            # Not cancelled: the agent's connection is shared, and each of these ends by itself within a second.
            await asyncio.wait(asked)


async def _written(call: Call, cell: TaskCell, after: int, seconds: float) -> None:
    calls = call.services.agents(cell.agent)
    if calls is None:
        await asyncio.sleep(seconds)
        return
    try:
        await calls.logs(AttemptName(cell.run, cell.no, cell.index, cell.epoch), after, 1, int(seconds * 1000))
    except (LinkError, NotFound, Refused):
        await asyncio.sleep(seconds)


async def _text(
    call: Call, book: Logbook, position: Position, keep: Keep, *, follow: bool, whole: bool
) -> AsyncIterator[bytes]:
    ended = True
    while True:
        page = await book.page(position, PAGE_MAX)
        piece = bytearray()
        for line in page.lines:
            if keep(line):
                ended = _append(piece, line.record, ended=ended, whole=whole)
        yield bytes(piece)
        if page.over or (not (follow or page.away) and not page.lines and page.position == position):
            return
        if not page.lines and page.position == position:
            if call.services.waiters.over:
                raise CutOff
            await _wait(call, page.live, position, AGAIN_S if page.away else 1.0)
        position = page.position


def _append(piece: bytearray, record: LogRecord, *, ended: bool, whole: bool) -> bool:
    """Add a record's bytes. Streams keep their bytes as they were; structured records get lines of their own."""
    if record.stream in {"stdout", "stderr"}:
        piece += record.data
        return record.data.endswith(b"\n") if record.data else ended
    if not ended and whole:
        piece += b"\n"
    if record.stream == "log" and record.level:
        piece += f"{record.level.upper()} {record.logger}: ".encode()
    piece += record.data
    if not record.data.endswith(b"\n"):
        piece += b"\n"
    return True


def _view(line: Line, names: Sequence[str]) -> LogView:
    record = line.record
    return LogView(
        seq=record.seq,
        at=moment(record.at),
        stream=record.stream,
        level=record.level,
        logger=record.logger,
        text=record.data.decode("utf-8", "replace"),
        fields=record.fields,
        task=names[line.no] if line.no >= 0 else "",
        index=None if line.index == WHOLE else line.index,
        attempt=line.attempt,
    )


_QUERY = (
    Query("stream", "stdout, stderr, log or system; several with commas"),
    Query("level", "records of this level or above: debug, info, warning, error, critical"),
    Query("q", "records that contain this text"),
    Query("after", "`next_cursor` of the page before"),
    Query("limit", "at most this many records (1 to 500, default 500)", Kind.whole),
    Query("follow", "wait for more: as text a stream until the end, as JSON a page when something came", Kind.yes),
    Query("wait", "as JSON: wait up to this long for the first record (`20s`; at most 60s)"),
)


def _route(path: str, summary: str) -> Route:
    return Route(
        method="GET",
        path=BASE + path,
        permission=Permission.runs_read,
        handler=get_logs,
        summary=summary,
        response=LogPage,
        media=(*RECORDS, TEXT),
        query=_QUERY,
        run_token=True,
    )


ROUTES = (
    _route("/runs/{id}/logs", "The log of a run: all tasks merged by time, with why things failed"),
    _route("/runs/{id}/tasks/{task}/logs", "The log of one task, all attempts"),
    _route("/runs/{id}/tasks/{task}/{index}/logs", "The log of one instance of a task with `each`"),
)
