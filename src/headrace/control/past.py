"""The store as it was at an instant: a reader that answers each question about one thing from its history.

Every handler works with it as with the present one; it reads one row of history a thing, never a fold. What history does
not repeat (values, items, labels) comes from rows that never change, as far as it was there at that instant. Questions
that have no past (live work, logs) are answered as of now. Made by ``control.api.dispatch`` for calls with ``as_of``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from msgspec import structs

from headrace.model.cells import TaskCell, Value
from headrace.model.ids import RUN_ITSELF, WHOLE, TaskKey
from headrace.model.states import TASK_FINAL, TASK_LEASED
from headrace.store.listing import ROWS_MAX, matches, place_of
from headrace.store.port import Reader
from headrace.store.rows import AttemptRow, Entity, EntityKey, HistoryRow, HolderRow, RunFilter, RunRow, RunsPage

BACK = 100
"""So many versions are read at once where changes of a run did not touch its task."""
PAGES_MAX = 6
"""So many pages of runs are looked at for one page of how they were."""


class PastReader:
    """``store.port.Reader`` as of ``at`` (µs)."""

    def __init__(self, reader: Reader, at: int) -> None:
        self._reader = reader
        self._at = at

    def __getattr__(self, name: str) -> Any:
        """Whatever has no past."""
        return getattr(self._reader, name)

    async def entity(self, key: EntityKey) -> Entity | None:
        """Its last version until then."""
        return await self._reader.entity_at(key, self._at)

    async def entities(self, kind: str, *, after: str = "", limit: int = 500, deleted: bool = False) -> list[Entity]:
        """By name, as they were."""
        return await self._reader.entities_at_instant(kind, self._at, after=after, limit=limit, deleted=deleted)

    async def entity_versions(self, key: EntityKey, *, before: int = 0, limit: int = 500) -> list[Entity]:
        """Those until then, newest first."""
        newest = await self.entity(key)
        if newest is None:
            return []
        last = newest.version + 1
        return await self._reader.entity_versions(key, before=min(before, last) if before else last, limit=limit)

    async def run(self, run: int) -> RunRow | None:
        """The run as it was; None before it was there."""
        row = await self._reader.run(run)
        if row is None:
            return None
        found = await self._runs([row])
        return found[0] if found else None

    async def runs_page(self, where: RunFilter) -> RunsPage:
        """Runs that were there, each as it was; what a state or an end is asked of is what it was then."""
        until = self._at if where.until is None else min(where.until, self._at)
        live = RunFilter(
            job=where.job, since=where.since, until=until, after=where.after, ascending=where.ascending, limit=ROWS_MAX,
            parent=where.parent,
        )  # fmt: skip
        rows: list[RunRow] = []
        for _ in range(PAGES_MAX):
            page = await self._reader.runs_page(live)
            for row in await self._runs(page.rows):
                if matches(where, row):
                    rows.append(row)
                    if len(rows) == where.limit:
                        return RunsPage(rows, place_of(row))
            if page.last is None:
                return RunsPage(rows)
            live = structs.replace(live, after=page.last)
        return RunsPage(rows, live.after)

    async def runs(self, where: RunFilter) -> list[RunRow]:
        """The rows of ``runs_page``."""
        return (await self.runs_page(where)).rows

    async def runs_by_id(self, runs: Sequence[int]) -> list[RunRow]:
        """Those that were there, as they were."""
        return await self._runs(await self._reader.runs_by_id(runs))

    async def _runs(self, rows: Sequence[RunRow]) -> list[RunRow]:
        history = await self._reader.cells_at([(row.cell.run, RUN_ITSELF, WHOLE) for row in rows], self._at)
        cells = {h.run: h.run_image for h in history}
        for row in rows:
            if row.cell.run not in cells and (first := await self._first(row)) is not None:
                cells[row.cell.run] = first.run_image
        found = []
        for row in rows:
            cell = cells.get(row.cell.run)
            if cell is not None:
                found.append(RunRow(row.input, row.cell if cell.version == row.cell.version else cell))
        return found

    async def _first(self, row: RunRow) -> HistoryRow | None:
        """The first version of a run that was created by then and written a moment later; None where it was not yet."""
        if row.input.created_at > self._at:
            return None
        rows = await self._reader.history(row.cell.run, no=RUN_ITSELF, limit=1)
        return rows[0] if rows else None

    async def task(self, key: TaskKey) -> TaskCell | None:
        """The task as it was; None before it was there."""
        cell = await self._reader.task(key)
        if cell is None:
            return None
        found = await self._tasks([cell])
        return found[0] if found else None

    async def tasks(
        self,
        run: int,
        *,
        no: int | None = None,
        after: tuple[int, int] = (-1, -2),
        limit: int = 500,
        groups_only: bool = False,
        states: int = 0,
    ) -> list[TaskCell]:
        """Those that were there, as they were; what a state is asked of is what it was then."""
        if not states:
            return await self._tasks(
                await self._reader.tasks(run, no=no, after=after, limit=limit, groups_only=groups_only)
            )
        found: list[TaskCell] = []
        while len(found) < limit and (page := await self._reader.tasks(run, after=after, groups_only=True)):
            after = (page[-1].no, page[-1].index)
            found += [cell for cell in await self._tasks(page) if 1 << cell.state & states]
        return found[:limit]

    async def attempts(self, key: TaskKey) -> list[AttemptRow]:
        """Those that were over then."""
        cell = await self.task(key)
        if cell is None:
            return []
        last = _over(cell)
        return [row for row in await self._reader.attempts(key) if row.attempt <= last]

    async def value(self, key: TaskKey) -> Value | None:
        """The result, if it was there then."""
        cell = await self.task(key)
        return None if cell is None or cell.result is None else await self._reader.value(key)

    async def error(self, key: TaskKey) -> Value | None:
        """The error, if it was there then."""
        cell = await self.task(key)
        return None if cell is None or cell.error is None else await self._reader.error(key)

    async def in_use(self, name: str) -> int:
        """Nobody wrote down what was in use: that is a view of live work."""
        return 0

    async def holders(self, name: str, key: str | None = None, limit: int = 100) -> list[HolderRow]:
        """Likewise."""
        return []

    async def _tasks(self, live: Sequence[TaskCell]) -> list[TaskCell]:
        if not live:
            return []
        keys = [cell.key for cell in live]
        at = await self._instant(live[0].run)
        history = await self._reader.cells_at(keys, at)
        then = {(h.run, h.no, h.index): h.task_image for h in history if h.task_image is not None}
        if not then and len(live) == 1:
            # the only task of its run has no history of its own: it stands in that of the run
            alone = await self._reader.cells_at([(live[0].run, RUN_ITSELF, WHOLE)], at)
            image = await self._of_run(alone[0]) if alone else None
            if image is not None:
                then[live[0].key] = image
        return [await self._merged(cell, then[cell.key]) for cell in live if cell.key in then]

    async def _instant(self, run: int) -> int:
        """What is asked for; where that lies between a run's being created and its first version, the instant of that."""
        if await self._reader.cells_at([(run, RUN_ITSELF, WHOLE)], self._at):
            return self._at
        row = await self._reader.run(run)
        first = None if row is None else await self._first(row)
        return self._at if first is None else first.at

    async def _of_run(self, row: HistoryRow) -> TaskCell | None:
        """The image of a run's only task: in this row, or in the last one before it that touched the task."""
        version = row.version
        while row.task_image is None and version > 0:
            after = max(0, version - BACK)
            rows = await self._reader.history(row.run, no=RUN_ITSELF, after=after, limit=version - after)
            row = next((h for h in reversed(rows) if h.task_image is not None), row)
            version = after
        return row.task_image

    async def _merged(self, live: TaskCell, then: TaskCell) -> TaskCell:
        if then.version == live.version:
            return live
        then = structs.replace(then, item=live.item, klass=live.klass, index=live.index)
        if then.state in TASK_FINAL and then.state is live.state and then.attempt == live.attempt:
            return structs.replace(then, result=live.result, error=live.error, seal=live.seal)
        last = _over(then)
        if last > 0:
            # until an attempt is over its task shows what the one before it said, which stands in a row of its own
            said = [row.cell.error for row in await self._reader.attempts(live.key) if row.attempt <= last]
            return structs.replace(then, error=said[-1] if said else None)
        return then


def _over(cell: TaskCell) -> int:
    """The last attempt that stands in a row of its own."""
    return cell.attempt - 1 if cell.state in TASK_LEASED else cell.attempt
