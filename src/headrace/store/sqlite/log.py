"""History in commit order, on SQLite: commit rows say what they wrote, history is found by key. Reads only.

A part of ``SqliteReader``. Commit numbers rise in commit order, because one process commits one group after the other.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeVar

import apsw

from headrace.store.images import with_graphs
from headrace.store.rows import Entity, EntityAt, HistoryAt, HistoryRow, Logged, Place
from headrace.store.touched import bounded

T = TypeVar("T")
Row = tuple[Any, ...]
ROWS_MAX = 500


class SqliteLog:
    """The part of ``store.port.Reader`` that events are made of."""

    _sql: dict[str, str]

    async def log(self, after: Place, limit: int) -> list[Logged]:
        """Commits after this place, in order."""
        values = (after.position, after.second, min(limit, ROWS_MAX))
        return await self._with(lambda conn: bounded(conn.execute(self._sql["log"], values)))

    async def log_end(self) -> tuple[Place, bool]:
        """The last commit's place; there is nobody else whom it could wait for."""
        rows: list[Row] = await self._with(lambda conn: conn.execute(self._sql["log_end"]).fetchall())
        return (Place(rows[0][0], rows[0][1]) if rows else Place()), False

    async def pruned(self) -> Place:
        """Kept under one key of ``meta``."""
        rows: list[Row] = await self._with(lambda conn: conn.execute(self._sql["pruned"]).fetchall())
        return Place(*map(int, rows[0][0].split())) if rows else Place()

    async def history_at(self, keys: Sequence[HistoryAt]) -> list[tuple[HistoryRow, int]]:
        """These rows, as far as they are there."""

        def work(conn: apsw.Connection) -> list[tuple[HistoryRow, int]]:
            found: list[Row] = conn.executemany(self._sql["history_at"], keys[:ROWS_MAX]).fetchall()
            ids = [(run,) for run in {row[0] for row in found}]
            images: list[Row] = conn.executemany(self._sql["run_images"], ids).fetchall() if ids else []
            return with_graphs(found, images)

        return await self._with(work) if keys else []

    async def entities_at(self, keys: Sequence[EntityAt]) -> list[Entity]:
        """These versions, as far as they are there."""
        text = self._sql["entities_at"]
        rows: list[Row] = []
        if keys:
            rows = await self._with(lambda conn: conn.executemany(text, keys[:ROWS_MAX]).fetchall())
        return [Entity(*row) for row in rows]

    async def _with(self, work: Callable[[apsw.Connection], T]) -> T:
        raise NotImplementedError
