"""The ledger's connection on SQLite: loads by key, a fixed number of set statements, one COMMIT.

All on the loop's own thread, never suspending, but COMMIT: its fsync runs in a helper thread. Called by the ledger.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import apsw
import msgspec
from msgspec import structs

from headrace.model.cells import INLINE_MAX, RunCell, RunInput, TaskCell, Value
from headrace.model.errors import NotFound, StoreError
from headrace.model.ids import TaskKey
from headrace.model.limits import LimitKey
from headrace.model.ports import Fault
from headrace.store.images import decode_run, decode_task, encode, history_body, input_of, input_rest
from headrace.store.port import Ahead, Blobs
from headrace.store.rows import Answer, Batch, Entity, EntityKey
from headrace.store.sqlite.connection import translated
from headrace.store.sqlite.live import LiveCells
from headrace.store.sqlite.offload import Offload
from headrace.store.touched import pack
from headrace.store.uses import uses_of

Row = tuple[Any, ...]


class SqliteWriter:
    """``store.port.Writer``. Whoever begins a transaction holds ``turn`` until it is over."""

    far = False

    def __init__(
        self, conn: apsw.Connection, queries: dict[str, str], *, blobs: Blobs, committer: Offload, fault: Fault
    ) -> None:
        self.floor = 0
        self.waited = 0.0
        self._conn = conn
        self._sql = queries
        self._blobs = blobs
        self._committer = committer
        self._fault = fault
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._live = LiveCells()
        self._written: list[Batch] = []

    async def begin(self) -> None:
        """Wait for the connection's turn and open a transaction."""
        await self._turn.acquire()
        try:
            with translated("cannot begin"):
                self._conn.execute("BEGIN IMMEDIATE")
        except BaseException:
            self._turn.release()
            raise
        self._owner = asyncio.current_task()

    async def lock_runs(self, runs: Sequence[int], *, wait: bool = False) -> tuple[dict[int, RunCell], set[int]]:
        """The cells; there is only one writer, so nothing is ever held elsewhere."""
        live = self._live.runs
        found = {run: live[run] for run in runs if run in live}
        if len(found) < len(runs):
            for row in self._each("load_runs", [(run,) for run in runs if run not in found]):
                cell = decode_run(row[0])
                found[cell.run] = cell
        return found, set()

    async def load_tasks(self, keys: Sequence[TaskKey]) -> list[TaskCell]:
        live = self._live.tasks
        found = [live[key] for key in keys if key in live]
        if len(found) < len(keys):
            missing = [key for key in keys if key not in live]
            found += [decode_task(row[0]) for row in self._each("load_tasks", missing)]
        return found

    async def load_inputs(self, runs: Sequence[int]) -> list[RunInput]:
        found = []
        for run in runs:
            for job, created, rest, params, aside in self._each("load_inputs", [(run,)]):
                found.append(input_of(run, job, created, rest, aside or params))
        return found

    async def load_members(self, run: int, after: tuple[int, int], limit: int) -> list[TaskCell]:
        return [decode_task(row[0]) for row in self._each("load_members", [(run, *after, limit)])]

    async def load_group(self, run: int, no: int, after: int, limit: int) -> list[TaskCell]:
        return [decode_task(row[0]) for row in self._each("load_group", [(run, no, after, limit)])]

    async def load_values(self, keys: Sequence[TaskKey]) -> dict[TaskKey, Value]:
        found: dict[TaskKey, Value] = {}
        for image, aside in self._each("load_values", keys):
            cell = decode_task(image)
            if cell.result is not None:
                found[cell.key] = await filled(cell.result, aside, self._blobs)
        return found

    async def lock_entities(self, keys: Sequence[EntityKey]) -> dict[EntityKey, Entity]:
        return {(row[0], row[1]): Entity(*row) for row in self._each("load_entities", keys)}

    async def lock_limits(
        self, keys: Sequence[EntityKey], *, wait: bool = False
    ) -> tuple[dict[EntityKey, Entity], set[EntityKey]]:
        """There is only one writer, so nothing is ever held elsewhere."""
        return await self.lock_entities(keys), set()

    async def load_uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        asked = [{"name": name, "key": key} for name, key in keys]
        return {(row[0], row[1]): (row[2], row[3] or 0, row[4] or 0) for row in self._each("load_uses", asked)}

    async def load_cached(self, works: Sequence[bytes]) -> dict[bytes, tuple[int, TaskCell, Value | None]]:
        found: dict[bytes, tuple[int, TaskCell, Value | None]] = {}
        for work, at, image, aside in self._each("find_cached", [(work,) for work in works]):
            cell = decode_task(image)
            value = None if cell.result is None else await filled(cell.result, aside, self._blobs)
            found[work] = (at, cell, value)
        return found

    async def load_gates(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[list[int], list[int]]]:
        return {
            key: (
                [row[0] for row in self._each("load_holders", [key])],
                [row[0] for row in self._each("load_waiting", [key])],
            )
            for key in keys
        }

    async def load_answers(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        return {(row[0], row[1]): Answer(*row) for row in self._each("load_answers", keys)}

    async def load_documents(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        return {row[0]: row[1] for row in self._each("load_documents", [(digest,) for digest in digests])}

    async def lock_outbox(self, seqs: Sequence[int]) -> set[int]:
        return {row[0] for row in self._each("lock_outbox", [(seq,) for seq in seqs])}

    def ahead(self, asked: Ahead) -> None:
        """Nothing is far here."""

    async def write(self, batch: Batch, *, wait: bool = True) -> None:
        """All rows of one commit. Nothing is written twice: an image stands in ``new_*`` or in the others, not both."""
        self._fault("store.before_write")
        with translated("cannot write"):
            # Cells at hand are as they were before this transaction, so only its first batch may be held against them.
            for name, rows in rows_of(batch, {} if self._written else self._live.runs):
                if rows:
                    self._conn.executemany(self._sql[name], rows)
        self._written.append(batch)
        self._fault("store.after_write")

    async def commit(self) -> None:
        """Durable when it returns: the WAL is fsynced by COMMIT (synchronous=FULL). When it raises, roll back."""
        self._fault("store.before_commit")
        work = asyncio.ensure_future(self._committer.run(self._commit))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # The fsync goes on in its thread: only when it is over may somebody else begin.
            await asyncio.wait([work])
            self._live.clear()
            self._over()
            raise
        except BaseException:
            self._live.clear()
            raise
        for batch in self._written:
            self._live.take(batch)
        self._over()
        self._fault("store.after_commit")

    async def rollback(self) -> None:
        """Undo the transaction that this task opened; harmless when there is none."""
        if self._owner is not asyncio.current_task():
            return
        try:
            with translated("cannot roll back"):
                if self._conn.in_transaction:
                    self._conn.execute("ROLLBACK")
        finally:
            self._over()

    async def reserve(self, what: str, count: int) -> int:
        """A block of numbers, durable before the first is used."""
        await self.begin()
        try:
            first = next(self._each("ids_reserve", [(what, count)]))[0]
            await self.commit()
        except BaseException:
            await self.rollback()
            raise
        return int(first)

    def _each(self, name: str, keys: Sequence[Row | TaskKey | EntityKey | dict[str, Any]]) -> Iterator[Row]:
        if not keys:
            return iter(())
        try:
            return iter(self._conn.executemany(self._sql[name], keys).fetchall())
        except apsw.Error as error:
            raise StoreError(f"SQLite: {name}: {error}") from error

    def close(self) -> None:
        """Only when no transaction is open."""
        self._conn.close()

    def _over(self) -> None:
        self._owner = None
        self._written.clear()
        self._turn.release()

    def _commit(self) -> None:
        try:
            self._conn.execute("COMMIT")
        except apsw.Error as error:
            if self._conn.in_transaction:
                self._conn.execute("ROLLBACK")
            raise StoreError(f"SQLite: COMMIT did not happen: {error}") from error


async def filled(value: Value, aside: bytes | None, blobs: Blobs) -> Value:
    """The value with its data, wherever that is kept."""
    if value.place == "inline":
        return value
    if value.place == "aside":
        if aside is None:
            raise NotFound("a value that stands aside is missing")
        return structs.replace(value, data=aside)
    return structs.replace(value, data=await blobs.get(value.digest))


def rows_of(batch: Batch, before: Mapping[int, RunCell]) -> list[tuple[str, list[Row]]]:
    """(statement, parameter rows) in writing order. ``before``: runs as they stand in their rows, as far as is known."""
    return [
        ("add_documents", [(d.graph, d.digest, d.body) for d in batch.documents]),
        ("add_classes", list(batch.classes)),
        *_run_rows(batch, before),
        *_task_rows(batch),
        ("add_history", [
            (h.run, h.no, h.index, h.version, h.at, h.commit, history_body(h)) for h in batch.history
        ]),
        ("add_commits", _commit_rows(batch)),
        *_rare_rows(batch),
        *_limit_rows(batch),
    ]  # fmt: skip


def _commit_rows(batch: Batch) -> list[Row]:
    rows: list[Row] = [(c.commit, c.at, c.node, c.actor, c.source, c.why, None) for c in batch.commits]
    if rows:
        rows[0] = (*rows[0][:-1], pack(batch))
    return rows


def _run_rows(batch: Batch, before: Mapping[int, RunCell]) -> list[tuple[str, list[Row]]]:
    new: list[Row] = []
    aside: list[Row] = []
    for added in batch.new_runs:
        given, cell = added.input, added.cell
        params: bytes | None = given.params
        if given.params == b"{}":
            params = None
        elif len(given.params) > INLINE_MAX:
            aside.append((cell.run, params))
            params = None
        labels = encode_labels(given.labels) if given.labels else None
        new.append((
            cell.run, int(cell.state), cell.due_at, cell.created_at, given.job, labels, input_rest(given), params,
            encode(cell),
        ))  # fmt: skip
    return [
        ("add_runs", new),
        ("add_run_params", aside),
        *_changed_runs(batch.runs, before),
        (
            "put_labels",
            [
                (encode_labels(c.more.labels), c.run)
                for c in batch.runs
                if c.more is not None and c.more.labels is not None
            ],
        ),
    ]


def _changed_runs(runs: Sequence[RunCell], before: Mapping[int, RunCell]) -> list[tuple[str, list[Row]]]:
    """Most changes of a run of many tasks move its counts only. SQLite writes an index anew when a statement names its
    column, whatever the value: one page in ten of a commit. So what stays as it was is not named.
    """
    moved: list[Row] = []
    counted: list[Row] = []
    for c in runs:
        was = before.get(c.run)
        if was is not None and was.state is c.state and was.due_at == c.due_at:
            counted.append((encode(c), c.run))
        else:
            moved.append((int(c.state), c.due_at, encode(c), c.run))
    return [("put_runs", moved), ("put_run_images", counted)]


def _task_rows(batch: Batch) -> list[tuple[str, list[Row]]]:
    new: list[Row] = []
    for c in batch.new_tasks:
        ready = c.state == 1
        new.append((
            c.run, c.no, c.index, int(c.state), c.klass if ready else None, c.rank if ready else None,
            c.due_at, c.agent if 2 <= c.state <= 3 else 0, encode(c),
        ))  # fmt: skip
    changed: list[Row] = []
    for c in batch.tasks:
        ready = c.state == 1
        changed.append((
            int(c.state), c.klass if ready else None, c.rank if ready else None, c.due_at,
            c.agent if 2 <= c.state <= 3 else 0, encode(c), c.run, c.no, c.index,
        ))  # fmt: skip
    return [("add_tasks", new), ("put_tasks", changed)]


def _rare_rows(batch: Batch) -> list[tuple[str, list[Row]]]:
    entities = [entity_row(e) for e in batch.entities]
    return [
        ("add_values", [(*key, value.data) for key, value in batch.values]),
        ("add_attempts", [(a.run, a.no, a.index, a.attempt, encode(a.cell)) for a in batch.attempts]),
        ("add_segments", [
            (s.run, s.no, s.index, s.attempt, s.first, s.last, s.digest, s.data) for s in batch.segments
        ]),
        ("add_artifacts", [(a.run, a.no, a.index, a.path, a.digest, a.size) for a in batch.artifacts]),
        ("put_entities", entities),
        ("add_entity_history", [(*entity_row(e), e.commit) for e in batch.entities if e.facts]),
        ("put_answers", [(a.scope, a.key, a.request, a.status, a.location, a.body, a.at) for a in batch.answers]),
        ("drop_answers", batch.over),
        ("add_outbox", [(o.kind, o.subject, o.body, o.due_at) for o in batch.outbox]),
        ("drop_outbox", [(seq,) for seq in batch.told]),
        ("add_children", [(c.parent, c.no, c.index, c.epoch, c.run) for c in batch.children]),
    ]  # fmt: skip


def _limit_rows(batch: Batch) -> list[tuple[str, list[Row]]]:
    uses = uses_of(batch)
    if uses is None:
        return []
    return [
        ("drop_uses", list(uses.over)),
        ("add_uses", [(*key, units) for key, units in uses.held.items()]),
        ("drop_waits", list(uses.entered)),
        ("add_waits", list(uses.waiting)),
        ("put_cached", [(work, c.run, c.no, c.index, c.ended_at) for work, c in uses.cached.items()]),
        ("put_ticks", [(*key, tick, batch.at) for key, tick in batch.ticks.items()]),
    ]


def entity_row(e: Entity) -> Row:
    """The columns of a named thing."""
    return (e.space, e.kind, e.name, e.version, e.created_at, e.updated_at, e.deleted_at, e.facts, e.image)


def encode_labels(labels: dict[str, str]) -> str:
    """Labels as the JSON text that list filters look into."""
    return msgspec.json.encode(labels).decode()
