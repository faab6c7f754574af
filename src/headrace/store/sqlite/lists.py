"""Lists of runs on SQLite: bounded walks along an index each. Reads only. A part of ``SqliteReader``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeVar

import apsw
import msgspec

from headrace.model.states import RunState
from headrace.store.images import decode_run, input_of
from headrace.store.listing import (
    FAR,
    LAST_NAME,
    ROWS_MAX,
    Place,
    Walk,
    begin,
    few_states,
    merged,
    scan_of,
    until,
    walked,
    whole,
)
from headrace.store.rows import Entity, Logged, RunFilter, RunRow, RunsPage
from headrace.store.seen import SeenRuns
from headrace.store.touched import bounded

T = TypeVar("T")
Row = tuple[Any, ...]


class SqliteLists(ABC):
    """The part of ``store.port.Reader`` that lists runs."""

    _sql: dict[str, str]
    _seen: SeenRuns

    async def runs(self, where: RunFilter) -> list[RunRow]:
        """The rows of ``runs_page``."""
        return (await self.runs_page(where)).rows

    async def runs_page(self, where: RunFilter) -> RunsPage:
        """A page of runs in (created_at, id) order."""
        return await self._with(lambda conn: self._page(conn, where))

    async def runs_by_id(self, runs: Sequence[int]) -> list[RunRow]:
        """These runs, as far as they are there."""

        def work(conn: apsw.Connection) -> list[RunRow]:
            if not runs:
                return []
            ids = [(run,) for run in runs[:ROWS_MAX]]
            rows: list[Row] = conn.executemany(self._sql["runs_by_id"], ids).fetchall()
            return [self._row(conn, row) for row in rows]

        return await self._with(work)

    async def commits_at(
        self, since: int, until: int, after: tuple[int, int], *, ascending: bool, limit: int
    ) -> list[Logged]:
        """Commits of history by their instant."""
        text = self._sql["commits_oldest" if ascending else "commits_newest"]
        limit = min(limit, ROWS_MAX)
        values = (since, until, *after, limit)
        return await self._with(lambda conn: bounded(conn.execute(text, values), limit).entries)

    async def jobs_by(self, order: str, after: tuple[int, str] | None, *, ascending: bool, limit: int) -> list[Entity]:
        """Jobs in this order."""
        text = self._sql[f"jobs_by_{order}_{'up' if ascending else 'down'}"]
        place = after or ((0, "") if ascending else (FAR, LAST_NAME))
        values = (*place, min(limit, ROWS_MAX))
        rows: list[Row] = await self._with(lambda conn: conn.execute(text, values).fetchall())
        return [Entity(*row) for row in rows]

    async def open_by_state(self) -> dict[int, int]:
        """Runs that have not ended, by state."""
        rows: list[Row] = await self._with(lambda conn: conn.execute(self._sql["open_by_state"]).fetchall())
        return {row[0]: row[1] for row in rows}

    def _page(self, conn: apsw.Connection, where: RunFilter) -> RunsPage:
        if where.parent is not None:
            return self._children(conn, where, where.parent)
        return merged([self._walk(conn, where, name, more) for name, more in _walks(where)], where)

    def _walk(self, conn: apsw.Connection, where: RunFilter, name: str, more: dict[str, Any]) -> Walk:
        whole = where.job is None if name in {"open_runs", "other_runs"} else not where.states
        scan = scan_of(where, walked=whole)
        values = _values(where) | more | {"scan": scan}
        text = self._sql[f"{name}_{'oldest' if where.ascending else 'newest'}"]

        def found() -> Iterator[tuple[Place, RunRow | None]]:
            for row in conn.execute(text, values):
                yield (row[1], row[0]), None if row[2] is None else self._row(conn, row)

        return walked(found(), where, scan)

    def _children(self, conn: apsw.Connection, where: RunFilter, parent: int) -> RunsPage:
        at, run = where.after or (0, 0)
        limit = min(where.limit, ROWS_MAX)
        values = {"parent": parent, "at": at, "id": run, "limit": limit}

        def found() -> Iterator[tuple[Place, RunRow]]:
            for job, created, rest, params, aside, image in conn.execute(self._sql["child_runs"], values):
                cell = decode_run(image)
                yield (created, cell.run), RunRow(input_of(cell.run, job, created, rest, aside or params), cell)

        return whole(found(), limit)

    def _row(self, conn: apsw.Connection, row: Row) -> RunRow:
        def aside(run: int) -> bytes | None:
            found: list[Row] = conn.execute(self._sql["params_aside"], (run,)).fetchall()
            return found[0][1] if found else None

        return self._seen.row(row, aside)

    @abstractmethod
    async def _with(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do the work with a connection of one's own; the reader has them."""


def _walks(where: RunFilter) -> list[tuple[str, dict[str, Any]]]:
    """The statements to walk by, and what each needs besides."""
    if few_states(where):
        return [
            ("open_runs" if state < RunState.succeeded else "other_runs", {"state": int(state)})
            for state in dict.fromkeys(where.states)
        ]
    return [("job_runs" if where.job is not None else "runs", {})]


def _values(where: RunFilter) -> dict[str, Any]:
    at, run = begin(where)
    return {
        "since": 0 if where.since is None else where.since,
        "until": min(until(where), FAR),
        "at": at,
        "id": run,
        "job": where.job,
        "states": _json(list(map(int, where.states))) if where.states else None,
        "text": where.text,
        "labels": _json(dict(where.labels)) if where.labels else None,
    }


def _json(value: Any) -> str:
    return msgspec.json.encode(value).decode()
