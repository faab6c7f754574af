"""History in commit order, on SQLite: commit rows say what they wrote, history is found by key. Reads only.

A part of ``SqliteReader``. Commit numbers rise in commit order, because one process commits one group after the other.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import apsw

from headrace.model.ids import TaskKey
from headrace.store.images import with_graphs
from headrace.store.rows import Entity, EntityAt, EntityKey, HistoryAt, HistoryRow, LogPage, Place
from headrace.store.touched import bounded, pruned_until

T = TypeVar("T")
Row = tuple[Any, ...]
ROWS_MAX = 500


class SqliteLog(ABC):
    """The part of ``store.port.Reader`` that events are made of."""

    _sql: dict[str, str]

    async def log(self, after: Place, limit: int) -> LogPage:
        """Commits after this place, in order."""
        limit = min(limit, ROWS_MAX)
        values = (after.position, after.second, limit)
        return await self._with(lambda conn: bounded(conn.execute(self._sql["log"], values), limit))

    async def log_end(self) -> Place:
        """The last commit's place."""
        rows: list[Row] = await self._with(lambda conn: conn.execute(self._sql["log_end"]).fetchall())
        return Place(rows[0][0], rows[0][1]) if rows else Place()

    async def pruned(self) -> tuple[Place, int]:
        """Kept under one key of ``meta``."""
        rows: list[Row] = await self._with(lambda conn: conn.execute(self._sql["pruned"]).fetchall())
        return pruned_until(rows[0][0] if rows else None)

    async def cells_at(self, keys: Sequence[TaskKey], at: int) -> list[HistoryRow]:
        """The last history row until this instant of each."""
        values = [(*key, at) for key in keys[:ROWS_MAX]]

        def work(conn: apsw.Connection) -> list[HistoryRow]:
            found: list[Row] = conn.executemany(self._sql["cell_at"], values).fetchall()
            ids = [(run,) for run in {row[0] for row in found}]
            images: list[Row] = conn.executemany(self._sql["run_images"], ids).fetchall() if ids else []
            return [row for row, _ in with_graphs(found, images)]

        return await self._with(work) if values else []

    async def entity_at(self, key: EntityKey, at: int) -> Entity | None:
        """Its last version until this instant."""
        values = (*key, at)
        rows: list[Row] = await self._with(lambda conn: conn.execute(self._sql["entity_at"], values).fetchall())
        return Entity(*rows[0]) if rows else None

    async def entities_at_instant(
        self, kind: str, at: int, *, after: str = "", limit: int = ROWS_MAX, deleted: bool = False
    ) -> list[Entity]:
        """By name, as they were."""
        text, values = self._sql["entities_at_instant"], (kind, at, after, deleted, min(limit, ROWS_MAX))
        rows: list[Row] = await self._with(lambda conn: conn.execute(text, values).fetchall())
        return [Entity(*row) for row in rows]

    async def history_at(self, keys: Sequence[HistoryAt]) -> list[tuple[HistoryRow, int, str]]:
        """These rows, as far as they are there, with the graphs of their runs and who asked."""

        def work(conn: apsw.Connection) -> list[tuple[HistoryRow, int, str]]:
            found: list[Row] = conn.executemany(self._sql["history_at"], keys[:ROWS_MAX]).fetchall()
            ids = [(run,) for run in {row[0] for row in found}]
            images: list[Row] = conn.executemany(self._sql["run_images"], ids).fetchall() if ids else []
            actors = {row[5]: row[7] or "" for row in found}
            whole = with_graphs((row[:7] for row in found), images)
            return [(history, graph, actors[history.commit]) for history, graph in whole]

        return await self._with(work) if keys else []

    async def entities_at(self, keys: Sequence[EntityAt]) -> list[tuple[Entity, str]]:
        """These versions, as far as they are there, with who asked."""
        text = self._sql["entities_at"]
        rows: list[Row] = []
        if keys:
            rows = await self._with(lambda conn: conn.executemany(text, keys[:ROWS_MAX]).fetchall())
        return [(Entity(*row[:10]), row[10] or "") for row in rows]

    @abstractmethod
    async def _with(self, work: Callable[[apsw.Connection], T]) -> T:
        """Do the work with a connection of one's own; the reader has them."""
