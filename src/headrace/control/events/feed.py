"""All events in commit order, a page at a time: commit rows say what was written, history is read by key.

Bounded whatever is asked for: a page that wants little of much ends where it has looked long enough, and says where to go
on. Never passes the store's horizon, so nothing appears behind a cursor. Called by the API and the tailer.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from headrace.control.events.cursor import ALL, Cursor, Gone
from headrace.control.events.fresh import Fresh
from headrace.control.events.subjects import Wanted
from headrace.control.events.views import entity_event, gap_event, noun_of, run_event
from headrace.control.graphs import Graphs
from headrace.model.errors import NotFound
from headrace.model.views import EventView
from headrace.store.port import Reader
from headrace.store.rows import Entity, EntityAt, HistoryAt, HistoryRow, Logged, Place

KEYS_MAX = 50_000
"""So many keys of history a page looks at."""
ROWS_MAX = 500
"""So many rows of history are read at once."""
READS_MAX = 4
"""So often a page reads rows that turn out to be of other tasks than those wanted."""
COMMITS_MAX = 200
_NO_THING = ("", "")


class Event(Struct, frozen=True, gc=False):
    """An event with the cursor behind it; ``run`` or else ``thing`` (kind, name) says what it is about."""

    cursor: Cursor
    view: EventView
    at: int
    run: int = 0
    thing: tuple[str, str] = ("", "")


class Page(Struct, frozen=True):
    """Events in order, and where to go on. ``more``: the end of what can be told now was not reached; ``ahead``: it was,
    and there are commits that cannot be told yet, because others may still come to stand before them.
    """

    events: list[Event]
    cursor: Cursor
    more: bool
    ahead: bool = False


class _Row(Struct, frozen=True, gc=False):
    """A row of history that may be wanted: the commit that wrote it, which of its rows it is, its key."""

    place: Place
    at: int
    item: int
    history: HistoryAt | None = None
    entity: EntityAt | None = None


class _Read(Struct, frozen=True):
    """The rows that were read, by key, each with who asked for it; those of runs with the run's graph number."""

    history: dict[HistoryAt, tuple[HistoryRow, int, str]]
    things: dict[EntityAt, tuple[Entity, str]]


class Feed:
    """Reads pages. Keeps nothing but what this node has just committed (``fresh``)."""

    def __init__(self, reader: Reader, graphs: Graphs, incarnation: int) -> None:
        self._reader = reader
        self._graphs = graphs
        self._incarnation = incarnation
        self.fresh = Fresh()

    async def oldest(self) -> Cursor:
        """The cursor before the oldest event that is kept."""
        place, _ = await self._reader.pruned()
        return Cursor(self._incarnation, place.position, place.second)

    async def latest(self) -> Cursor:
        """The cursor behind the newest event that can be told."""
        place = await self._reader.log_end()
        place = max(place, (await self._reader.pruned())[0])
        return Cursor(self._incarnation, place.position, place.second)

    async def check(self, cursor: Cursor) -> None:
        """Raise Gone when what follows this cursor is not whole any more."""
        if cursor.incarnation != self._incarnation:
            raise Gone("the store was restored from a backup since this cursor was given: begin again without one")
        pruned, _ = await self._reader.pruned()
        if cursor.before < pruned:
            raise Gone("what follows this cursor is older than what is kept: begin again without one")

    async def page(self, after: Cursor, limit: int, wanted: Wanted) -> Page:
        """The next events that are wanted, at most ``limit``."""
        events: list[Event] = []
        cursor, looked, reads = after, 0, 0
        while True:
            log = await self._reader.log(cursor.before, COMMITS_MAX)
            most = min(ROWS_MAX, max(16, limit - len(events)))
            rows, behind, count = _wanted_rows(log.entries, cursor, wanted, most)
            looked += count
            if rows:
                reads += 1
                cut = await self._take(rows, cursor, events, limit, wanted)
                if cut is not None:
                    return Page(events, cut, more=True)
            cursor = behind
            if not log.more and (not log.entries or cursor.before == log.entries[-1].place):
                return Page(events, cursor, more=False, ahead=log.ahead)
            if looked >= KEYS_MAX or reads >= READS_MAX or len(events) >= limit:
                return Page(events, cursor, more=True)

    async def _take(
        self, rows: Sequence[_Row], after: Cursor, events: list[Event], limit: int, wanted: Wanted
    ) -> Cursor | None:
        """Add the events of these rows; gives where to go on if not all of them fitted."""
        read = await self._read(rows)
        for row in rows:
            for fact, (thing, view) in enumerate(await self._told(row, read)):
                cursor = Cursor(self._incarnation, row.place.position, row.place.second, row.item, fact)
                if cursor <= after or not wanted.subject(view.subject):
                    continue
                if len(events) == limit:
                    return events[-1].cursor
                run = row.history[0] if row.history is not None else 0
                events.append(Event(cursor, view, row.at, run, thing))
        return None

    async def _read(self, rows: Sequence[_Row]) -> _Read:
        found, missing = self.fresh.split([row.history for row in rows if row.history is not None])
        if missing:
            found += await self._reader.history_at(missing)
        entities = await self._reader.entities_at([row.entity for row in rows if row.entity is not None])
        return _Read(
            {(h.run, h.no, h.index, h.version): (h, graph, actor) for h, graph, actor in found},
            {(e.kind, e.name, e.version): (e, actor) for e, actor in entities},
        )

    async def _told(self, row: _Row, read: _Read) -> list[tuple[tuple[str, str], EventView]]:
        """What one row tells. One that is not kept any more tells of a gap."""
        if row.entity is not None:
            kind, name, version = row.entity
            thing = read.things.get(row.entity)
            if thing is None:
                return [((kind, name), gap_event(f"{noun_of(kind)}/{name}", row.at, "pruned", version))]
            return [((kind, name), entity_event(*thing))]
        if row.history is None:
            return []
        found = read.history.get(row.history)
        if found is None:
            return [(_NO_THING, gap_event(f"runs/{row.history[0]}", row.at, "pruned", row.history[3]))]
        history, graph, actor = found
        try:
            known = await self._graphs.load(graph)
        except NotFound:
            # nothing that is missing may stop the feed
            return [(_NO_THING, gap_event(f"runs/{row.history[0]}", row.at, "pruned", row.history[3]))]
        return [(_NO_THING, run_event(history, fact, known, actor)) for fact in history.facts]


def _wanted_rows(entries: Sequence[Logged], after: Cursor, wanted: Wanted, most: int) -> tuple[list[_Row], Cursor, int]:
    """Rows that may be wanted, at most so many; where to go on behind them; how many were looked at."""
    found: list[_Row] = []
    looked = 0
    behind = after
    for entry in entries:
        place, at = entry.place, entry.at
        begun = (after.position, after.second) == (place.position, place.second)
        first = after.item if begun else 0
        entities = entry.touched.entities
        for item, key in enumerate(entities[first:], first):
            if wanted.thing(key[0], key[1]):
                found.append(_Row(place, at, item, entity=key))
        before = len(entities)
        skip = max(0, first - before)
        for item, row in enumerate(entry.touched.history[skip:], before + skip):
            looked += 1
            if wanted.run(row[0]):
                found.append(_Row(place, at, item, history=row))
                if len(found) >= most:
                    return found, Cursor(after.incarnation, place.position, place.second, item, ALL), looked
        looked += len(entities)
        behind = Cursor(after.incarnation, place.position, place.second)
    return found, behind, looked
