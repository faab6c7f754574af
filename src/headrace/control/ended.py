"""Runs by the instant at which they ended: found through what was committed then, because no run pays for an index of it.

A run's end is written at the instant that it is given, so commits by their instant are ends in order. Looks at a bounded
number of rows a page. Reads only. Called by the list of runs.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.ids import RUN_ITSELF
from headrace.store.listing import FAR, PAGE_SIZE, matches, size_of
from headrace.store.port import Reader
from headrace.store.rows import HistoryAt, Logged, RunFilter, RunRow

Ended = tuple[int, int, int]
"""Where an ended run stands: (its end, the commit, the run)."""

COMMITS = 100
ROWS_MAX = 500
READS_MAX = 6
PIECE = 100
"""Runs that are read at once: each may have large parameters."""


async def ended_runs(reader: Reader, where: RunFilter, after: Ended | None) -> tuple[list[RunRow], Ended | None]:
    """A page by end; second: the place behind which to go on, None at the end of it all."""
    low, high = where.ended
    since, until = 0 if low is None else low, FAR if high is None else high
    up = where.ascending
    # the commit that was begun is looked at again, from where it was left
    place = (0, 0) if up else (FAR, FAR)
    if after is not None:
        place = (after[0], after[1] - 1 if up else after[1] + 1)
    rows: list[RunRow] = []
    size = 0
    for _ in range(READS_MAX):
        commits = await reader.commits_at(since, until, place, ascending=up, limit=COMMITS)
        if not commits:
            return rows, None
        keys, whole = _keys(commits, after, up=up)
        for start in range(0, len(keys), PIECE):
            for at, found in await _ends(reader, keys[start : start + PIECE]):
                if matches(where, found):
                    rows.append(found)
                    size += size_of(found)
                    if len(rows) == where.limit or size >= PAGE_SIZE:
                        return rows, at
        last = commits[whole - 1]
        place = (last.at, last.commit)
        after = keys[-1][0] if keys else None
    return rows, after or (place[0], place[1], 0 if not up else FAR)


def _keys(commits: Sequence[Logged], after: Ended | None, *, up: bool) -> tuple[list[tuple[Ended, HistoryAt]], int]:
    """The rows of runs themselves in these commits, in order, and how many commits are in that whole."""
    keys: list[tuple[Ended, HistoryAt]] = []
    for count, entry in enumerate(commits, 1):
        mine = sorted({key for key in entry.touched.history if key[1] == RUN_ITSELF}, reverse=not up)
        newest = {key[0]: key for key in (mine if up else reversed(mine))}
        for run, key in newest.items() if up else reversed(newest.items()):
            at = (entry.at, entry.commit, run)
            if after is None or (at > after if up else at < after):
                keys.append((at, key))
        if len(keys) >= ROWS_MAX:
            return keys, count
    return keys, len(commits)


async def _ends(reader: Reader, keys: Sequence[tuple[Ended, HistoryAt]]) -> list[tuple[Ended, RunRow]]:
    """Of these rows those that ended a run, with the run."""
    history = await reader.history_at([key for _, key in keys])
    ended = {h.run for h, _, _ in history if h.run_image is not None and h.run_image.ended_at == h.at}
    runs = {row.cell.run: row for row in await reader.runs_by_id(sorted(ended))}
    return [(at, runs[at[2]]) for at, _ in keys if at[2] in runs and runs[at[2]].cell.ended_at == at[0]]
