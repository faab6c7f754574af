"""Read-only questions of the API and the loops: one statement each, so each is one consistent snapshot.

Never writes (its connections are set read-only) and never answers without a bound. Called by the API and the loops.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace.model.cells import TaskCell, Value
from headrace.model.errors import StoreError
from headrace.model.ids import WHOLE, TaskKey
from headrace.model.limits import LimitKey
from headrace.store.images import decode_run, decode_task, history_of, input_of
from headrace.store.postgres.arrays import Ints, Texts
from headrace.store.postgres.blobs import PostgresBlobs
from headrace.store.postgres.connect import Row
from headrace.store.postgres.lists import PostgresLists
from headrace.store.postgres.log import PostgresLog
from headrace.store.postgres.pool import Pool
from headrace.store.rows import (
    ArtifactRow,
    AttemptRow,
    ChildRow,
    CommitRow,
    Document,
    DueRow,
    Entity,
    EntityKey,
    HistoryRow,
    HolderRow,
    LeasedRow,
    LogSegment,
    Outgoing,
    ReadyRow,
    RunRow,
)
from headrace.store.seen import SeenRuns

_FAR = 2**62

ROWS_MAX = 500
"""No answer has more rows, whatever was asked for."""


class PostgresReader(PostgresLog, PostgresLists):
    """``store.port.Reader``."""

    def __init__(self, pool: Pool, blobs: PostgresBlobs, *, incarnation: int) -> None:
        self._pool = pool
        self._blobs = blobs
        self._incarnation = incarnation
        self._seen = SeenRuns()

    async def outbox(self, kind: str, until: int, limit: int) -> list[Outgoing]:
        """What has to be told, in the order of its writing."""
        return [Outgoing(*row) for row in await self._pool.rows("outbox", [kind, until, min(limit, ROWS_MAX)])]

    async def answers_before(self, at: int, limit: int) -> list[tuple[str, str]]:
        """Keys of old answers, along their index."""
        return [(row[0], row[1]) for row in await self._pool.rows("answers_before", [at, min(limit, ROWS_MAX)])]

    async def children(
        self, parent: int, *, after: TaskKey | None = None, limit: int = ROWS_MAX, whole: bool = False
    ) -> list[ChildRow]:
        """Attempts in order; ``after`` is (no, index, epoch)."""
        params = [parent, *(after or (-1, -2, 0)), min(limit, ROWS_MAX)]
        return [ChildRow(*row) for row in await self._pool.rows("children_whole" if whole else "children", params)]

    async def child(self, parent: int, no: int, index: int, epoch: int) -> int | None:
        """The run that is this attempt's work."""
        row = await self._pool.row("child", [parent, no, index, epoch])
        return None if row is None else int(row[0])

    async def run(self, run: int) -> RunRow | None:
        """One run."""
        row = await self._pool.row("run_by_id", [run])
        return None if row is None else _run_row(row)

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
        """Task rows in (no, index) order."""
        if groups_only:
            bounds = [run, *after, min(limit, ROWS_MAX)]
            rows = await self._pool.rows(*(("groups_in", [*bounds, states]) if states else ("groups", bounds)))
            cells = [decode_task(row[0]) for row in rows]
            return cells if no is None else [cell for cell in cells if cell.no == no]
        if no is not None:
            rows = await self._pool.rows("tasks_of", [run, no, *after, min(limit, ROWS_MAX)])
        else:
            rows = await self._pool.rows("tasks", [run, *after, min(limit, ROWS_MAX)])
        return [decode_task(row[0]) for row in rows]

    async def task(self, key: TaskKey) -> TaskCell | None:
        """One task."""
        row = await self._pool.row("task_by_key", list(key))
        return None if row is None else decode_task(row[0])

    async def attempts(self, key: TaskKey) -> list[AttemptRow]:
        """Earlier attempts, oldest first."""
        rows = await self._pool.rows("attempts", list(key))
        return [AttemptRow(*key, row[0], decode_task(row[1])) for row in rows]

    async def value(self, key: TaskKey) -> Value | None:
        """The result with its text."""
        row = await self._pool.row("value_by_key", list(key))
        value = None if row is None else decode_task(row[0]).result
        return None if row is None or value is None else await self._blobs.fill(value, row[1])

    async def error(self, key: TaskKey) -> Value | None:
        """The error with its text."""
        row = await self._pool.row("value_by_key", list(key))
        value = None if row is None else decode_task(row[0]).error
        return None if row is None or value is None else await self._blobs.fill(value, row[1])

    async def history(
        self, run: int, *, no: int | None = None, index: int | None = None, after: int = 0, limit: int = 500
    ) -> list[HistoryRow]:
        """With an entity: its rows after version ``after``. With the run or a whole ``no``: ``after`` rows passed over."""
        limit = min(limit, ROWS_MAX)
        if no is None:
            rows = await self._pool.rows("history_all", [run, after, limit])
        elif index is None and no >= 0:
            rows = await self._pool.rows("history_of_no", [run, no, after, limit])
        else:
            rows = await self._pool.rows("history_of", [run, no, WHOLE if index is None else index, after, limit])
        return [_history_row(row) for row in rows]

    async def commits(self, numbers: Sequence[int]) -> list[CommitRow]:
        """Who asked for these commits."""
        return [CommitRow(*row) for row in await self._pool.rows("commits", [list(numbers[:ROWS_MAX])])]

    async def segments(self, key: TaskKey, attempt: int) -> list[LogSegment]:
        """Pieces of an attempt's log in order."""
        rows = await self._pool.rows("segments", [*key, attempt])
        return [LogSegment(*key, attempt, *row) for row in rows]

    async def artifacts(
        self, run: int, no: int | None = None, *, after: tuple[int, int, str] | None = None
    ) -> list[ArtifactRow]:
        """Files of a run, or of one of its tasks."""
        if no is None:
            rows = await self._pool.rows("artifacts", [run, *(after or (-1, -2, ""))])
        else:
            rows = await self._pool.rows("artifacts_of_no", [run, no, *(after or (no, -2, ""))])
        return [ArtifactRow(*row) for row in rows]

    async def with_artifacts(self, runs: Sequence[int]) -> set[int]:
        """Those of these runs whose attempts have left files."""
        rows = await self._pool.rows("with_artifacts", [Ints(runs[:ROWS_MAX])]) if runs else []
        return {row[0] for row in rows}

    async def entity(self, key: EntityKey) -> Entity | None:
        """One named thing, deleted or not."""
        row = await self._pool.row("entity_by_key", list(key))
        return None if row is None else Entity(*row)

    async def entities(self, kind: str, *, after: str = "", limit: int = 500, deleted: bool = False) -> list[Entity]:
        """Named things by name."""
        return [Entity(*row) for row in await self._pool.rows("entities", [kind, after, deleted, min(limit, ROWS_MAX)])]

    async def entity_versions(self, key: EntityKey, *, before: int = 0, limit: int = 500) -> list[Entity]:
        """A named thing's versions, newest first."""
        rows = await self._pool.rows("entity_versions", [*key, before or _FAR, min(limit, ROWS_MAX)])
        return [Entity(*row) for row in rows]

    async def document(self, graph: int) -> Document | None:
        """A kept definition."""
        row = await self._pool.row("document_by_graph", [graph])
        return None if row is None else Document(*row)

    async def ready(self, klass: int, limit: int) -> list[ReadyRow]:
        """Ready tasks of a class in rank order."""
        return [ReadyRow(*row) for row in await self._pool.rows("ready", [klass, limit])]

    async def ready_classes(self) -> list[tuple[int, bytes]]:
        """Classes with ready rows."""
        return [(row[0], row[1]) for row in await self._pool.rows("ready_classes", [])]

    async def uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        """What is in use, and rates' instants."""
        names = [Texts([name for name, _ in keys]), Texts([key for _, key in keys])]
        return {
            (row[0], row[1]): (row[2], row[3] or 0, row[4] or 0) for row in await self._pool.rows("limit_uses", names)
        }

    async def holders(self, name: str, key: str | None = None, limit: int = 100) -> list[HolderRow]:
        """Who holds a limit."""
        return [HolderRow(*row) for row in await self._pool.rows("limit_holders", [name, key, min(limit, ROWS_MAX)])]

    async def in_use(self, name: str) -> int:
        """Units of a limit in use."""
        return int((await self._pool.rows("limit_in_use", [name]))[0][0])

    async def gate_waiting(self, gate: LimitKey, limit: int) -> list[tuple[int, int]]:
        """Runs that wait at a gate."""
        return [(row[0], row[1]) for row in await self._pool.rows("gate_waiting", [*gate, limit])]

    async def first_waiting(self, gates: Sequence[LimitKey], limit: int) -> dict[LimitKey, list[int]]:
        """The first runs that wait at each of these gates."""
        found: dict[LimitKey, list[int]] = {}
        names, keys = [name for name, _ in gates], [key for _, key in gates]
        for name, key, run in await self._pool.rows("first_waiting", [names, keys, limit]):
            found.setdefault((name, key), []).append(run)
        return found

    async def gates_waiting(self) -> list[LimitKey]:
        """Gates at which runs wait."""
        return [(row[0], row[1]) for row in await self._pool.rows("gates_waiting", [])]

    async def due(self, until: int, limit: int) -> list[DueRow]:
        """Cells owed a Wake by ``until``, soonest first."""
        return [DueRow(*row) for row in await self._pool.rows("due", [until, limit])]

    async def leased(self, agent: int, after: TaskKey | None, limit: int) -> list[LeasedRow]:
        """Tasks that an agent owns, in key order."""
        rows = await self._pool.rows("leased", [agent, *(after or (-1, -9, -9)), min(limit, ROWS_MAX)])
        return [_leased(row) for row in rows]

    async def counts(self) -> dict[str, int]:
        """Live rows: ready, leased, due, runs."""
        return {row[0]: row[1] for row in await self._pool.rows("counts", [])}

    async def statement(self, name: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
        """A named statement; ``values`` are its parameters in order."""
        if not self._pool.knows(name):
            raise StoreError(f"no statement is named {name}")
        return await self._pool.rows(name, list(values.values()))


def _run_row(row: Row) -> RunRow:
    return RunRow(input_of(*row[:5]), decode_run(row[5]))


def _leased(row: Row) -> LeasedRow:
    c = decode_task(row[0])
    return LeasedRow(c.run, c.no, c.index, c.agent, c.boot, c.epoch, c.attempt, decode_run(row[1]).graph, c.due_at)


def _history_row(row: Row) -> HistoryRow:
    run, no, index, version, at, commit, body, image = row
    cell = decode_run(image)
    return history_of((run, no, index, version, at, commit, body), cell.graph, cell.created_at)
