"""Lists of runs on PostgreSQL: bounded walks along an index each. Reads only. A part of ``PostgresReader``."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from msgspec import structs

from headrace.model.states import RunState
from headrace.store.images import decode_run, input_of
from headrace.store.listing import (
    FAR,
    LAST_NAME,
    PAGE_SIZE,
    ROWS_MAX,
    Walk,
    begin,
    few_states,
    merged,
    place_of,
    scan_of,
    size_of,
    until,
    walked,
)
from headrace.store.postgres.arrays import Ints
from headrace.store.postgres.pool import Pool
from headrace.store.rows import Entity, Logged, RunFilter, RunRow, RunsPage
from headrace.store.seen import SeenRuns
from headrace.store.touched import bounded


class PostgresLists:
    """The part of ``store.port.Reader`` that lists runs."""

    _pool: Pool
    _seen: SeenRuns

    async def runs(self, where: RunFilter) -> list[RunRow]:
        """The rows of ``runs_page``."""
        return (await self.runs_page(where)).rows

    async def runs_page(self, where: RunFilter) -> RunsPage:
        """A page of runs in (created_at, id) order."""
        if where.parent is not None:
            return await self._children(where, where.parent)
        return merged([await self._walk(where, name) for name in _walks(where)], where)

    async def runs_by_id(self, runs: Sequence[int]) -> list[RunRow]:
        """These runs, as far as they are there."""
        rows = await self._pool.rows("runs_by_id", [Ints(runs[:ROWS_MAX])]) if runs else []
        return [self._seen.row(row) for row in rows]

    async def commits_at(
        self, since: int, until: int, after: tuple[int, int], *, ascending: bool, limit: int
    ) -> list[Logged]:
        """Commits of history by their instant."""
        values = [since, until, *after, min(limit, ROWS_MAX)]
        rows = await self._pool.rows("commits_oldest" if ascending else "commits_newest", values)
        return bounded(((r[0], r[1], r[2], r[3], r[4]) for r in rows), limit).entries

    async def jobs_by(self, order: str, after: tuple[int, str] | None, *, ascending: bool, limit: int) -> list[Entity]:
        """Jobs in this order."""
        place = after or ((0, "") if ascending else (FAR, LAST_NAME))
        name = f"jobs_by_{order}_{'up' if ascending else 'down'}"
        return [Entity(*row) for row in await self._pool.rows(name, [*place, min(limit, ROWS_MAX)])]

    async def open_by_state(self) -> dict[int, int]:
        """Runs that have not ended, by state."""
        return {row[0]: row[1] for row in await self._pool.rows("open_by_state", [])}

    async def _walk(self, where: RunFilter, name: str) -> Walk:
        short = name in {"open_runs", "other_runs"}
        scan = scan_of(where, walked=where.job is None and _whole(where, name) if short else not where.states)
        values = [
            where.since if where.since is not None else 0,
            min(until(where), FAR),
            *begin(where),
            where.job,
            Ints(where.states) if where.states else None,
            msgspec.json.encode(dict(where.labels)).decode() if where.labels else None,
            where.text,
            scan,
        ]
        rows = await self._pool.rows(f"{name}_{'oldest' if where.ascending else 'newest'}", values)
        walk = walked((((r[1], r[0]), None if r[2] is None else self._seen.row(r)) for r in rows), where, scan)
        large = {r[0] for r in rows if r[5] == b""}
        return await self._filled(walk, large) if large else walk

    async def _children(self, where: RunFilter, parent: int) -> RunsPage:
        limit = min(where.limit, ROWS_MAX)
        rows = await self._pool.rows("child_runs", [parent, *(where.after or (-1, -1)), limit])
        found = [RunRow(input_of(*row[:5]), decode_run(row[5])) for row in rows]
        walk = Walk(found, place_of(found[-1]) if len(found) == limit else None)
        walk = await self._filled(walk, {row[0] for row in rows if row[4] == b""})
        return RunsPage(walk.rows, walk.last)

    async def _filled(self, walk: Walk, large: set[int]) -> Walk:
        """The same with their large params, as far as one page takes them."""
        found: list[RunRow] = []
        size = 0
        for row in walk.rows:
            if row.cell.run in large:
                fetched = await self._pool.rows("params_of", [row.cell.run])
                params = fetched[0][0] if fetched else b"{}"
                row = structs.replace(row, input=structs.replace(row.input, params=params))
            found.append(row)
            size += size_of(row)
            if size >= PAGE_SIZE:
                return Walk(found, place_of(row) if len(found) < len(walk.rows) else walk.last)
        return Walk(found, walk.last)


_OPEN = frozenset(state for state in RunState if state < RunState.succeeded)
_OTHER = frozenset(state for state in RunState if state > RunState.succeeded)


def _walks(where: RunFilter) -> list[str]:
    """Which lists to walk: those of runs in uncommon states, the job's own, or all by time."""
    if few_states(where):
        states = set(where.states)
        return [name for name, known in (("open_runs", _OPEN), ("other_runs", _OTHER)) if states & known]
    return ["job_runs" if where.job is not None else "runs"]


def _whole(where: RunFilter, name: str) -> bool:
    """Whether all that stands on the list of uncommon states is wanted."""
    return set(where.states) >= (_OPEN if name == "open_runs" else _OTHER)
