"""Which index a list of runs walks, and how the pages of several walks become one. Pure; called by both stores' readers.

A walk looks at a bounded number of runs in (created_at, id) order. What it could not look at any more bounds what the
page may show: nothing is ever shown behind a run that was not looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase

from msgspec import Struct

from headrace.model.cells import RunCell
from headrace.model.states import RUN_FINAL, RunState
from headrace.store.rows import RunFilter, RunRow, RunsPage

Place = tuple[int, int]
FAR = 2**62
LAST_NAME = "z" * 64
"""Comes after every name, in any collation: names are lower-case letters, digits, _ and -, at most 63 of them."""
ROWS_MAX = 500
PAGE_SIZE = 16 * 1024 * 1024
"""Bytes of parameters and labels of one page: it ends behind the run that goes beyond, and has a next one."""


class Walk(Struct, frozen=True):
    """What one walk found: rows in order, and the last place it looked at when it had to stop; None: it came to its end."""

    rows: list[RunRow]
    last: Place | None


def begin(where: RunFilter) -> Place:
    """The place to start behind."""
    return where.after or ((-1, -1) if where.ascending else (FAR, FAR))


def until(where: RunFilter) -> int:
    """The latest instant of creation that can fit: nothing begins or ends before it is made."""
    known = [t for t in (where.until, where.started[1], where.ended[1]) if t is not None]
    return min(known, default=FAR)


def few_states(where: RunFilter) -> bool:
    """Only states in which few runs are: those still open, and those that did not succeed."""
    return bool(where.states) and RunState.succeeded not in where.states


def by_cell(where: RunFilter) -> bool:
    """Whether the cell itself must be looked at."""
    return where.exit_status is not None or where.started != (None, None) or where.ended != (None, None)


def scan_of(where: RunFilter, *, walked: bool) -> int:
    """How many runs to look at. ``walked``: what the walk goes by is all that is asked for."""
    limit = min(where.limit, ROWS_MAX)
    if by_cell(where) or where.labels or where.text is not None or not walked:
        return max(limit, where.scan)
    return limit


def fits(where: RunFilter, cell: RunCell) -> bool:
    """The filters that only a cell can answer."""
    if where.exit_status is not None:
        said = cell.exit_status
        if cell.state not in RUN_FINAL or said is None or not fnmatchcase(said, where.exit_status):
            return False
    return within(where.started, cell.started_at) and within(where.ended, cell.ended_at)


def within(bounds: tuple[int | None, int | None], at: int) -> bool:
    """Whether an instant lies there; one that has not come (0) lies nowhere."""
    low, high = bounds
    if low is None and high is None:
        return True
    return at > 0 and (low is None or at >= low) and (high is None or at <= high)


def walked(found: Iterator[tuple[Place, RunRow | None]], where: RunFilter, scan: int) -> Walk:
    """One walk: places in order, each with its run if that is wanted so far."""
    rows: list[RunRow] = []
    looked = size = 0
    last: Place | None = None
    for place, row in found:
        looked += 1
        last = place
        if row is not None and fits(where, row.cell):
            rows.append(row)
            size += size_of(row)
            if len(rows) >= min(where.limit, ROWS_MAX) or size >= PAGE_SIZE:
                return Walk(rows, last)
    return Walk(rows, last if looked >= scan else None)


def whole(found: Iterator[tuple[Place, RunRow]], limit: int) -> RunsPage:
    """A page of all that is found, in order."""
    rows: list[RunRow] = []
    size = 0
    for place, row in found:
        rows.append(row)
        size += size_of(row)
        if len(rows) == limit or size >= PAGE_SIZE:
            return RunsPage(rows, place)
    return RunsPage(rows, None)


def size_of(row: RunRow) -> int:
    """Bytes of what a user gave with a run, near enough."""
    labels = _labels(row)
    return len(row.input.params) + (sum(len(name) + len(value) for name, value in labels.items()) if labels else 0)


def merged(walks: Iterable[Walk], where: RunFilter) -> RunsPage:
    """One page of several walks in the same direction."""
    walks = list(walks)
    stops = [walk.last for walk in walks if walk.last is not None]
    rows = sorted((row for walk in walks for row in walk.rows), key=place_of, reverse=not where.ascending)
    stop: Place | None = None
    if stops:
        stop = min(stops) if where.ascending else max(stops)
        rows = [row for row in rows if (place_of(row) <= stop if where.ascending else place_of(row) >= stop)]
    limit = min(where.limit, ROWS_MAX)
    if len(rows) > limit or (len(rows) == limit and stop is not None):
        rows = rows[:limit]
        return RunsPage(rows, place_of(rows[-1]))
    return RunsPage(rows, stop)


def place_of(row: RunRow) -> Place:
    """Where a run stands in lists."""
    return row.cell.created_at, row.cell.run


def matches(where: RunFilter, row: RunRow) -> bool:
    """Every filter, of a run that was found by another way than a walk by its creation."""
    given, cell = row.input, row.cell
    labels = _labels(row)
    if where.job is not None and given.job != where.job:
        return False
    if where.states and cell.state not in where.states:
        return False
    if any(labels.get(name) != value for name, value in where.labels):
        return False
    if where.text is not None and not _has(where.text, row):
        return False
    return within((where.since, where.until), cell.created_at) and fits(where, cell)


def _has(text: str, row: RunRow) -> bool:
    sought = text.lower()
    given = row.input
    labels = _labels(row)
    texts = (given.job or "", *labels, *labels.values())
    return any(sought in part.lower() for part in texts) or text == str(given.run)


def _labels(row: RunRow) -> dict[str, str]:
    more = row.cell.more
    return row.input.labels if more is None or more.labels is None else more.labels
