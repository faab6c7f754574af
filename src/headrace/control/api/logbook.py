"""The log of a run, read from wherever it is: sealed in the cell, in stored segments, or still with the agent.

Gives records in pages with a cursor; never loads a log whole. Records of stream ``system`` (why an attempt did not
succeed) are worked out here from the cells, always the same text under the same number. What an agent has that is not
linked at the moment is waited for, a while; then the log says that it is cut there. Called by ``control.api.logs``.
"""

from __future__ import annotations

import asyncio
import base64
import heapq
from collections.abc import Callable, Iterator

import msgspec
from msgspec import Struct

from headrace.control.api.absent import Absent
from headrace.control.api.system_records import NAMED, attempt_record, cut_record, run_record
from headrace.control.graphs import Known
from headrace.control.values import Values
from headrace.link.port import AgentCalls
from headrace.link.records import AttemptName, LogRecord, Seal
from headrace.model.cells import TaskCell
from headrace.model.errors import Busy, Invalid, LinkError, NotFound, Refused
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.model.states import RUN_FINAL, TASK_FINAL, TASK_LEASED
from headrace.store.port import Blobs, Reader
from headrace.store.rows import RunRow

WINDOW = 64
"""Tasks whose logs are merged by time at once; tasks further on follow when these are read."""

PAGE_MAX = 500
WINDOWS_MAX = 200
"""Windows without a record that one page may pass over."""

AWAY_S = 5.0
"""So long a reader waits for an agent that has the rest of a log and does not answer."""

GONE = "the agent's copy is gone"
AWAY = "the agent that has the rest is not linked now; read the log again when it is back"

_RECORDS = msgspec.msgpack.Decoder(list[LogRecord])
_SEAL = msgspec.msgpack.Decoder(Seal)
AgentOf = Callable[[int], AgentCalls | None]


class Place(Struct, frozen=True, array_like=True):
    """How far one task's log was read: up to record ``seq`` of ``attempt``."""

    no: int
    index: int
    attempt: int = 0
    seq: int = 0


class Position(Struct, frozen=True, array_like=True):
    """How far a run's log was read: everything up to (no, index), and these places in tasks behind it."""

    no: int = -1
    index: int = -2
    places: list[Place] = []
    over: bool = False

    def text(self) -> str:
        """The cursor of this position."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode(self)).decode().rstrip("=")


class Line(Struct, frozen=True):
    """A record and whose it is; ``no`` is RUN_ITSELF for the run's own."""

    no: int
    index: int
    attempt: int
    record: LogRecord


class Page(Struct, frozen=True):
    """Some lines, where the next begin, and whether there will never be more. ``live``: attempts that may still write.

    ``away``: the next lines are written, but the agent that has them does not answer: ask again, for ``AWAY_S`` at most.
    """

    lines: list[Line]
    position: Position
    over: bool
    live: list[TaskCell] = []
    away: bool = False


class _Away(Exception):
    """Records that are nowhere else are with an agent that does not answer now."""


def position_of(cursor: str | None) -> Position:
    """The position of a cursor. Raises Invalid (400) when it is none of ours."""
    if not cursor:
        return Position()
    try:
        raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        return msgspec.msgpack.decode(raw, type=Position)
    except (ValueError, msgspec.DecodeError) as error:
        raise Invalid("the cursor is not one of ours", malformed=True) from error


class Logbook:
    """The log of one run, or of one task of it (``no``), or of one instance (``index``); one per reader.

    It waits for agents that are away ``AWAY_S`` in all, then goes on without what they have; the readers behind it
    find in ``absent`` that they need not wait.
    """

    def __init__(
        self,
        row: RunRow,
        known: Known,
        reader: Reader,
        blobs: Blobs,
        agents: AgentOf,
        absent: Absent,
        *,
        no: int | None = None,
        index: int | None = None,
    ) -> None:
        self._row = row
        self._known = known
        self._reader = reader
        self._blobs = blobs
        self._agents = agents
        self._absent = absent
        self._values = Values(reader, blobs)
        self._no = no
        self._index = index
        self._away_since: float | None = None

    async def page(self, position: Position, limit: int) -> Page:
        """The next lines after a position, at most ``limit``; merged by time within a window of tasks."""
        for _ in range(WINDOWS_MAX):
            row = await self._reader.run(self._row.cell.run)
            if row is not None:
                self._row = row
            cells = await self._cells(position)
            page = await self._window(position, cells, limit)
            if page.lines or page.over or page.position == position:
                return page
            position = page.position
        return Page([], position, over=False)

    async def _cells(self, position: Position) -> list[TaskCell]:
        run = self._row.cell.run
        after = (position.no, position.index)
        if self._index is not None and self._no is not None:
            cell = await self._reader.task((run, self._no, self._index))
            return [cell] if cell is not None and after < (self._no, self._index) else []
        return await self._reader.tasks(run, no=self._no, after=after, limit=WINDOW)

    async def _window(self, position: Position, cells: list[TaskCell], limit: int) -> Page:
        places = {(p.no, p.index): p for p in position.places}
        heads = []
        for cell in cells:
            place = places.get((cell.no, cell.index), Place(cell.no, cell.index))
            heads.append(await self._pull(cell, place, limit))
        lines: list[Line] = []
        for line in heapq.merge(*[_keyed(h.lines) for h in heads]):
            if len(lines) == limit:
                break
            lines.append(line[-1])
            at = (line[-1].no, line[-1].index)
            places[at] = Place(*at, line[-1].attempt, line[-1].record.seq)
        return await self._advance(position, heads, places, lines, limit)

    async def _advance(
        self, before: Position, heads: list[_Head], places: dict[tuple[int, int], Place], lines: list[Line], limit: int
    ) -> Page:
        no, index = before.no, before.index
        behind = False
        for head in heads:
            cell = head.cell
            shown = places.get((cell.no, cell.index), Place(cell.no, cell.index))
            if not head.whole or (head.last is not None and (shown.attempt, shown.seq) != head.last):
                behind = True
                break
            if cell.no != no and index >= 0 and not await self._group_over(no):
                behind = True
                break
            no, index = cell.no, cell.index
            places.pop((no, index), None)
        away = any(head.away for head in heads)
        kept = [p for key, p in sorted(places.items()) if key > (no, index) and (p.attempt or p.seq)]
        live = [h.cell for h in heads if h.cell.state in TASK_LEASED and h.cell.agent]
        position = Position(no, index, kept)
        full = len(heads) == WINDOW and self._index is None
        if behind or full or not await self._whole_over() or len(lines) >= limit:
            return Page(lines, position, over=False, live=live, away=away)
        if self._no is None and (record := run_record(self._row, self._known, await self._skipped())) is not None:
            lines.append(Line(RUN_ITSELF, WHOLE, 0, record))
        return Page(lines, position, over=True)

    async def _group_over(self, no: int) -> bool:
        group = await self._reader.task((self._row.cell.run, no, WHOLE))
        return group is None or group.state in TASK_FINAL

    async def _whole_over(self) -> bool:
        if self._row.cell.state in RUN_FINAL:
            return True
        if self._no is None:
            return False
        cell = await self._reader.task((self._row.cell.run, self._no, WHOLE if self._index is None else self._index))
        return cell is not None and cell.state in TASK_FINAL

    async def _skipped(self) -> list[TaskCell]:
        """The tasks that the run's last record names."""
        found: list[TaskCell] = []
        after = (-1, -2)
        run = self._row.cell.run
        while page := await self._reader.tasks(run, groups_only=True, after=after, limit=PAGE_MAX, states=NAMED):
            found += page
            if len(page) < PAGE_MAX:
                break
            after = (page[-1].no, page[-1].index)
        return found

    async def _pull(self, cell: TaskCell, place: Place, limit: int) -> _Head:
        """Up to ``limit`` records of one task after a place."""
        lines: list[Line] = []
        attempt, seq = max(place.attempt, 1), place.seq if place.attempt else 0
        earlier = {}
        if cell.attempt > 1 and attempt < cell.attempt:
            earlier = {r.attempt: r.cell for r in await self._reader.attempts(cell.key)}
        while attempt <= cell.attempt and len(lines) < limit:
            newest = attempt == cell.attempt
            image = cell if newest else earlier.get(attempt)
            if image is not None:
                try:
                    records, over = await self._records(image, attempt, seq, limit - len(lines), newest=newest)
                except _Away:
                    return _Head(cell, lines, whole=False, away=True)
                lines.extend(Line(cell.no, cell.index, attempt, r) for r in records)
                if not over:
                    return _Head(cell, lines, whole=False)
            if newest:
                return _Head(cell, lines, whole=cell.state in TASK_FINAL, last=_last(lines, place))
            attempt, seq = attempt + 1, 0
        if cell.attempt == 0:
            return await self._never_began(cell, place)
        return _Head(cell, lines, whole=False)

    async def _never_began(self, cell: TaskCell, place: Place) -> _Head:
        if cell.state not in TASK_FINAL:
            return _Head(cell, [], whole=False)
        record = None
        if place.seq == 0 and (cell.counts is None or not cell.counts.created):
            record = attempt_record(cell, self._known, 1, await self._values.error(cell))
        lines = [] if record is None else [Line(cell.no, cell.index, 0, record)]
        return _Head(cell, lines, whole=True, last=_last(lines, place))

    async def _records(
        self, image: TaskCell, attempt: int, after: int, limit: int, *, newest: bool
    ) -> tuple[list[LogRecord], bool]:
        """Records of one attempt with ``seq > after``; and whether these are its last ever."""
        if newest and image.state in TASK_LEASED:
            if not image.agent and image.seal:  # it runs elsewhere: others have told its log
                records, _ = await self._sealed(image, attempt, _SEAL.decode(image.seal), after, limit)
                return records, False
            return await self._from_agent(image, after, limit), False
        seal = _SEAL.decode(image.seal) if image.seal else Seal()
        records, why = await self._sealed(image, attempt, seal, after, limit)
        reached = records[-1].seq if records else after
        if len(records) >= limit or (records and reached < seal.last):
            return records, False
        if after <= seal.last:
            cut = seal.cut or (why if reached < seal.last else "")
            error = await self._values.error(image)
            record = attempt_record(image, self._known, seal.last + 1, error, cut=cut, last=newest)
            if record is None and reached < seal.last:
                record = cut_record(image, seal.last + 1, cut)
            if record is not None:
                records.append(record)
        return records, True

    async def _sealed(
        self, image: TaskCell, attempt: int, seal: Seal, after: int, limit: int
    ) -> tuple[list[LogRecord], str]:
        """Records of an ended attempt with ``seq > after``; when there are none, why. Raises _Away."""
        if after >= seal.last:
            return [], ""
        if seal.inline:
            return [r for r in _RECORDS.decode(seal.inline) if r.seq > after][:limit], ""
        if found := await self._segments(image, attempt, after, limit):
            return found, ""
        why = GONE
        try:
            found = await self._asked(image, after, limit)
        except NotFound:
            # It drops its copy when ours is committed: that may be since we looked.
            found = await self._segments(image, attempt, after, limit)
        except _Away:
            if not self._give_up(image.agent):
                raise
            why = AWAY
        return found, why

    async def _segments(self, image: TaskCell, attempt: int, after: int, limit: int) -> list[LogRecord]:
        found: list[LogRecord] = []
        for segment in await self._reader.segments(image.key, attempt):
            if segment.last <= after or len(found) >= limit:
                continue
            data = segment.data if segment.data is not None else await self._blobs.get(segment.digest)
            found.extend(r for r in _RECORDS.decode(data) if r.seq > after)
        return found[:limit]

    def _give_up(self, agent: int) -> bool:
        """Whether this reader has waited long enough for agents that are away, or another has for this one just now."""
        now = asyncio.get_running_loop().time()
        if self._absent.known(agent, now):
            return True
        if self._away_since is None:
            self._away_since = now
        if now - self._away_since < AWAY_S:
            return False
        self._absent.note(agent, now)
        return True

    async def _from_agent(self, image: TaskCell, after: int, limit: int) -> list[LogRecord]:
        """What a live attempt has written, as far as it can be had now."""
        try:
            return await self._asked(image, after, limit)
        except (NotFound, _Away):
            return []

    async def _asked(self, image: TaskCell, after: int, limit: int) -> list[LogRecord]:
        """The agent's records. Raises NotFound when it has no such log, _Away when it cannot be asked now."""
        if not image.agent:
            raise NotFound("it ran on no agent of ours")
        calls = self._agents(image.agent)
        if calls is None:
            raise _Away
        name = AttemptName(image.run, image.no, image.index, image.epoch)
        try:
            page = await calls.logs(name, after, limit, 0)
        except (LinkError, Refused, Busy) as error:
            raise _Away from error
        self._absent.answered(image.agent)
        return list(page.records)


class _Head(Struct, frozen=True):
    """What was pulled of one task. ``whole``: nothing will ever follow ``last``. ``away``: more is with an agent."""

    cell: TaskCell
    lines: list[Line]
    whole: bool
    last: tuple[int, int] | None = None
    away: bool = False


def _last(lines: list[Line], place: Place) -> tuple[int, int] | None:
    if lines:
        return lines[-1].attempt, lines[-1].record.seq
    return (place.attempt, place.seq) if place.attempt or place.seq else None


def _keyed(lines: list[Line]) -> Iterator[tuple[int, int, int, int, int, Line]]:
    """Sort keys that never fall within a task, whatever its clock did."""
    latest = 0
    for line in lines:
        latest = max(latest, line.record.at)
        yield latest, line.no, line.index, line.attempt, line.record.seq, line
