"""Read-only questions on connections of their own, in helper threads, each on one snapshot; answers are bounded.

Never writes: the connections are opened read-only. Called by the API and the loops.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

import apsw

from headrace.model.cells import RunCell, TaskCell, Value
from headrace.model.errors import StoreError
from headrace.model.ids import WHOLE, TaskKey
from headrace.model.limits import LimitKey
from headrace.store.images import decode_run, decode_task, history_of, input_of
from headrace.store.port import Blobs
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
from headrace.store.sqlite.connection import translated
from headrace.store.sqlite.lists import SqliteLists
from headrace.store.sqlite.log import SqliteLog
from headrace.store.sqlite.offload import Offload
from headrace.store.sqlite.writer import filled

T = TypeVar("T")
Row = tuple[Any, ...]
ROWS_MAX = 500
ANY = -9
FAR = 2**62


class SqliteReader(SqliteLog, SqliteLists):
    """``store.port.Reader``. ``connections`` are taken one per question; there are as many as helper threads."""

    def __init__(
        self, connections: list[apsw.Connection], queries: dict[str, str], *, blobs: Blobs, offload: Offload
    ) -> None:
        self._free = connections
        self._sql = queries
        self._blobs = blobs
        self._offload = offload
        self._seen = SeenRuns()

    async def outbox(self, kind: str, until: int, limit: int) -> list[Outgoing]:
        return [Outgoing(*row) for row in await self._ask("outbox", (kind, until, min(limit, ROWS_MAX)))]

    async def answers_before(self, at: int, limit: int) -> list[tuple[str, str]]:
        return [(row[0], row[1]) for row in await self._ask("answers_before", (at, min(limit, ROWS_MAX)))]

    async def children(
        self, parent: int, *, after: TaskKey | None = None, limit: int = ROWS_MAX, whole: bool = False
    ) -> list[ChildRow]:
        """Attempts in order; ``after`` is (no, index, epoch)."""
        values = (parent, *(after or (-1, -2, 0)), min(limit, ROWS_MAX))
        return [ChildRow(*row) for row in await self._ask("children_whole" if whole else "children", values)]

    async def child(self, parent: int, no: int, index: int, epoch: int) -> int | None:
        rows = await self._ask("child", (parent, no, index, epoch))
        return rows[0][0] if rows else None

    async def run(self, run: int) -> RunRow | None:
        rows = await self._ask("run_by_id", (run,))
        return _run_row(rows[0]) if rows else None

    async def tasks(
        self,
        run: int,
        *,
        no: int | None = None,
        after: tuple[int, int] = (-1, -2),
        limit: int = ROWS_MAX,
        groups_only: bool = False,
        states: int = 0,
    ) -> list[TaskCell]:
        """Task rows in (no, index) order."""
        limit = min(limit, ROWS_MAX)
        if groups_only:
            bounds = {"run": run, "no": after[0], "idx": after[1], "limit": limit}
            if states:
                bounds["states"] = states
            found = _tasks(await self._ask("groups_in" if states else "groups", bounds))
            return found if no is None else [cell for cell in found if cell.no == no]
        if no is not None:
            return _tasks(await self._ask("tasks_of", (run, no, *after, limit)))
        return _tasks(await self._ask("tasks", (run, *after, limit)))

    async def task(self, key: TaskKey) -> TaskCell | None:
        found = _tasks(await self._ask("task_by_key", key))
        return found[0] if found else None

    async def attempts(self, key: TaskKey) -> list[AttemptRow]:
        return [AttemptRow(*key, row[0], decode_task(row[1])) for row in await self._ask("attempts", key)]

    async def value(self, key: TaskKey) -> Value | None:
        return await self._value(key, lambda cell: cell.result)

    async def error(self, key: TaskKey) -> Value | None:
        return await self._value(key, lambda cell: cell.error)

    async def history(
        self, run: int, *, no: int | None = None, index: int | None = None, after: int = 0, limit: int = ROWS_MAX
    ) -> list[HistoryRow]:
        """With ``no``: the rows of one entity after version ``after``. Without: all of the run, ``after`` rows skipped."""
        limit = min(limit, ROWS_MAX)
        if no is not None and (index is not None or no < 0):
            values: Row = (run, no, WHOLE if index is None else index, after, limit)
            return [_history_row(row) for row in await self._ask("history_of", values)]
        wanted = ANY if no is None else no
        rows = await self._ask("history_all", (run, wanted, wanted, limit, after))
        return [_history_row(row) for row in rows]

    async def segments(self, key: TaskKey, attempt: int) -> list[LogSegment]:
        return [LogSegment(*row) for row in await self._ask("segments", (*key, attempt))]

    async def artifacts(
        self, run: int, no: int | None = None, *, after: tuple[int, int, str] | None = None
    ) -> list[ArtifactRow]:
        wanted = ANY if no is None else no
        values = (run, wanted, wanted, *(after or (max(wanted, -1), -2, "")))
        return [ArtifactRow(*row) for row in await self._ask("artifacts", values)]

    async def with_artifacts(self, runs: Sequence[int]) -> set[int]:
        """Those of these runs whose attempts have left files."""
        asked = "[" + ",".join(map(str, runs[:ROWS_MAX])) + "]"
        return {row[0] for row in await self._ask("with_artifacts", (asked,))}

    async def entity(self, key: EntityKey) -> Entity | None:
        rows = await self._ask("entity_by_key", key)
        return Entity(*rows[0]) if rows else None

    async def entities(
        self, kind: str, *, after: str = "", limit: int = ROWS_MAX, deleted: bool = False
    ) -> list[Entity]:
        rows = await self._ask("entities", (kind, after, deleted, min(limit, ROWS_MAX)))
        return [Entity(*row) for row in rows]

    async def entity_versions(self, key: EntityKey, *, before: int = 0, limit: int = ROWS_MAX) -> list[Entity]:
        """Newest first."""
        rows = await self._ask("entity_versions", (*key, before or FAR, min(limit, ROWS_MAX)))
        return [Entity(*row) for row in rows]

    async def commits(self, numbers: Sequence[int]) -> list[CommitRow]:
        return [CommitRow(*row) for row in await self._ask("commits", (json.dumps(list(numbers[:ROWS_MAX])),))]

    async def document(self, graph: int) -> Document | None:
        rows = await self._ask("document_by_graph", (graph,))
        return Document(*rows[0]) if rows else None

    async def ready(self, klass: int, limit: int) -> list[ReadyRow]:
        return [ReadyRow(*row) for row in await self._ask("ready", (klass, limit))]

    async def ready_classes(self) -> list[tuple[int, bytes]]:
        return [(row[0], row[1]) for row in await self._ask("ready_classes", ())]

    async def uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        rows = await self._ask("limit_uses", (json.dumps(list(keys)),))
        return {(row[0], row[1]): (row[2], row[3] or 0, row[4] or 0) for row in rows}

    async def holders(self, name: str, key: str | None = None, limit: int = 100) -> list[HolderRow]:
        rows = await self._ask("limit_holders", (name, key, key, min(limit, ROWS_MAX)))
        return [HolderRow(*row) for row in rows]

    async def in_use(self, name: str) -> int:
        return int((await self._ask("limit_in_use", (name,)))[0][0])

    async def gate_waiting(self, gate: LimitKey, limit: int) -> list[tuple[int, int]]:
        return [(row[0], row[1]) for row in await self._ask("gate_waiting", (*gate, limit))]

    async def first_waiting(self, gates: Sequence[LimitKey], limit: int) -> dict[LimitKey, list[int]]:
        def work(conn: apsw.Connection) -> dict[LimitKey, list[int]]:
            found: dict[LimitKey, list[int]] = {}
            with _snapshot(conn):
                for gate in gates:
                    rows: list[Row] = conn.execute(self._sql["gate_waiting"], (*gate, limit)).fetchall()
                    if rows:
                        found[gate] = [row[0] for row in rows]
            return found

        return await self._with(work)

    async def gates_waiting(self) -> list[LimitKey]:
        return [(row[0], row[1]) for row in await self._ask("gates_waiting", ())]

    async def due(self, until: int, limit: int) -> list[DueRow]:
        def work(conn: apsw.Connection) -> list[DueRow]:
            with _snapshot(conn):
                tasks: list[Row] = conn.execute(self._sql["due_tasks"], (until, limit)).fetchall()
                runs: list[Row] = conn.execute(self._sql["due_runs"], (until, limit)).fetchall()
            found = [DueRow(*row) for row in tasks] + [DueRow(*row) for row in runs]
            return sorted(found, key=lambda row: (row.due_at, row.run, row.no, row.index))[:limit]

        return await self._with(work)

    async def leased(self, agent: int, after: TaskKey | None, limit: int) -> list[LeasedRow]:
        start = (-1, -9, -9) if after is None else after
        found = []
        for image, run in await self._ask("leased", (agent, *start, min(limit, ROWS_MAX))):
            c = decode_task(image)
            graph = decode_run(run).graph
            found.append(LeasedRow(c.run, c.no, c.index, c.agent, c.boot, c.epoch, c.attempt, graph, c.due_at))
        return found

    async def counts(self) -> dict[str, int]:
        def work(conn: apsw.Connection) -> dict[str, int]:
            names = ("ready", "leased", "due", "open")
            with _snapshot(conn):
                return {name: _one(conn, self._sql[f"count_{name}"]) for name in names}

        found = await self._with(work)
        return {"ready": found["ready"], "leased": found["leased"], "due": found["due"], "runs": found["open"]}

    async def statement(self, name: str, values: dict[str, Any]) -> list[Row]:
        if name not in self._sql:
            raise StoreError(f"no statement is named {name}")
        return await self._ask(name, values)

    async def _value(self, key: TaskKey, pick: Callable[[TaskCell], Value | None]) -> Value | None:
        rows = await self._ask("value_by_key", key)
        if not rows:
            return None
        value = pick(decode_task(rows[0][0]))
        return None if value is None else await filled(value, rows[0][1], self._blobs)

    async def _ask(self, name: str, values: Row | dict[str, Any] | EntityKey) -> list[Row]:
        text = self._sql[name]
        return await self._with(lambda conn: conn.execute(text, values).fetchall())

    async def _with(self, work: Callable[[apsw.Connection], T]) -> T:
        def there() -> T:
            conn = self._free.pop()
            try:
                with translated("cannot read"):
                    return work(conn)
            finally:
                self._free.append(conn)

        return await self._offload.run(there)

    def close(self) -> None:
        """Only when no question is open."""
        for conn in self._free:
            conn.close()


def _run_row(row: Row) -> RunRow:
    job, created, rest, params, aside, image = row
    cell: RunCell = decode_run(image)
    return RunRow(input_of(cell.run, job, created, rest, aside or params), cell)


def _tasks(rows: list[Row]) -> list[TaskCell]:
    return [decode_task(row[0]) for row in rows]


def _history_row(row: Row) -> HistoryRow:
    run: RunCell = decode_run(row[7])
    seven = (row[0], row[1], row[2], row[3], row[4], row[5], row[6])
    return history_of(seven, run.graph, run.created_at)


def _one(conn: apsw.Connection, text: str) -> int:
    rows: list[Row] = conn.execute(text).fetchall()
    return int(rows[0][0])


@contextmanager
def _snapshot(conn: apsw.Connection) -> Iterator[None]:
    """Several statements see one state of the file."""
    if conn.in_transaction:
        yield
        return
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("COMMIT")
