"""History in commit order, on PostgreSQL: commits in their places up to the horizon, history found by key. Reads only.

A part of ``PostgresReader``. The horizon is ``pg_snapshot_xmin``: whoever is still at work will stand behind it (how a
place is chosen: migrations/0006_events.sql). Transactions of other programs on the same server hold it up too.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.model.ids import TaskKey
from headrace.store.images import with_graphs
from headrace.store.postgres.arrays import Ints, Texts
from headrace.store.postgres.pool import Pool
from headrace.store.rows import Entity, EntityAt, EntityKey, HistoryAt, HistoryRow, LogPage, Place
from headrace.store.touched import bounded, pruned_until

ROWS_MAX = 500


class PostgresLog:
    """The part of ``store.port.Reader`` that events are made of."""

    _pool: Pool
    _incarnation: int

    async def log(self, after: Place, limit: int) -> LogPage:
        """Commits after this place, in order, up to the horizon."""
        limit = min(limit, ROWS_MAX)
        rows = await self._pool.rows("log", [after.position, after.second, limit, self._incarnation])
        found = ((r[1], r[2], r[3], r[4], r[5]) for r in rows if r[1] is not None)
        return bounded(found, limit, ahead=bool(rows) and rows[0][0])

    async def log_end(self) -> Place:
        """The newest place before the horizon."""
        row = await self._pool.row("log_end", [self._incarnation])
        return Place() if row is None else Place(row[0], row[1])

    async def pruned(self) -> tuple[Place, int]:
        """Kept under one key of ``meta``."""
        row = await self._pool.row("pruned", [])
        return pruned_until(None if row is None else row[0])

    async def cells_at(self, keys: Sequence[TaskKey], at: int) -> list[HistoryRow]:
        """The last history row until this instant of each."""
        if not keys:
            return []
        columns = [Ints(column) for column in zip(*keys[:ROWS_MAX], strict=True)]
        rows = await self._pool.rows("cells_at", [*columns, at])
        images = await self._pool.rows("run_images", [Ints({row[0] for row in rows})])
        seven = ((r[0], r[1], r[2], r[3], r[4], r[5], r[6]) for r in rows)
        return [row for row, _ in with_graphs(seven, ((r[0], r[1]) for r in images))]

    async def entity_at(self, key: EntityKey, at: int) -> Entity | None:
        """Its last version until this instant."""
        row = await self._pool.row("entity_at", [*key, at])
        return None if row is None else Entity(*row)

    async def entities_at_instant(
        self, kind: str, at: int, *, after: str = "", limit: int = ROWS_MAX, deleted: bool = False
    ) -> list[Entity]:
        """By name, as they were."""
        values = [kind, at, after, deleted, min(limit, ROWS_MAX)]
        return [Entity(*row) for row in await self._pool.rows("entities_at_instant", values)]

    async def history_at(self, keys: Sequence[HistoryAt]) -> list[tuple[HistoryRow, int, str]]:
        """These rows, as far as they are there, with the graphs of their runs and who asked."""
        if not keys:
            return []
        rows = await self._pool.rows("history_at", [Ints(column) for column in zip(*keys[:ROWS_MAX], strict=True)])
        actors = {row[5]: row[7] or "" for row in rows}
        seven = ((r[0], r[1], r[2], r[3], r[4], r[5], r[6]) for r in rows)
        whole = with_graphs(seven, {row[0]: row[8] for row in rows}.items())
        return [(history, graph, actors[history.commit]) for history, graph in whole]

    async def entities_at(self, keys: Sequence[EntityAt]) -> list[tuple[Entity, str]]:
        """These versions, as far as they are there, with who asked."""
        if not keys:
            return []
        kinds, names, versions = zip(*keys[:ROWS_MAX], strict=True)
        rows = await self._pool.rows("entities_at", [Texts(kinds), Texts(names), Ints(versions)])
        return [(Entity(*row[:10]), row[10] or "") for row in rows]
