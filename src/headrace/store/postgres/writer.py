"""The ledger's connection: begin, lock and load, write, commit; and what became of a commit whose answer was lost.

Never retries a transaction and never compares states: rows are found by primary key only. Called by the ledger. A group
is two round trips: one locks and loads what is known beforehand to be asked for, one writes and commits.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.errors import StoreAway, StoreError, UnknownOutcome
from headrace.model.ids import TaskKey
from headrace.model.limits import LimitKey
from headrace.model.ports import Fault
from headrace.store.images import decode_run, decode_task, input_of
from headrace.store.port import Ahead
from headrace.store.postgres.arrays import Bytes, Ints
from headrace.store.postgres.asking import WAITING, Asking, columns, pairs
from headrace.store.postgres.batch import Call, calls
from headrace.store.postgres.blobs import PostgresBlobs
from headrace.store.postgres.connect import (
    Connection,
    Queries,
    Row,
    check_patience,
    check_settings,
    connect,
    is_lost,
    read_settings,
    translate,
    translated,
)
from headrace.store.postgres.verdict import Lost, ask
from headrace.store.postgres.wire import Wire
from headrace.store.rows import Answer, Batch, Entity, EntityKey

Committed = Callable[[Batch], None]
"""Told of every batch that was committed; must return at once."""


class PostgresWriter:
    """One connection, one transaction at a time. ``store.port.Writer``."""

    far = True

    def __init__(
        self, dsn: str, queries: Queries, blobs: PostgresBlobs, *, fault: Fault, told: Committed, patience: float
    ) -> None:
        self.settings: dict[str, str] = {}
        """What the server says of this very connection."""
        self.incarnation = 1
        """The store's, set when it is opened."""
        self._dsn = dsn
        self._queries = queries
        self._blobs = blobs
        self._fault = fault
        self._told = told
        self._patience = patience
        self._conn: Connection | None = None
        self._wire: Wire | None = None
        self._asking: Asking | None = None
        self._contended = False
        self._timeline = ""
        self._backend = 0
        self._backend_start = ""
        self._turn = asyncio.Lock()
        self._owner: asyncio.Task[Any] | None = None
        self._xid: str | None = None
        self._batch: Batch | None = None
        self._warning = ""

    async def open(self) -> None:
        """Connect. Raises StoreAway when the server does not answer, StoreError when it must not be used."""
        conn = await connect(self._dsn, self._queries, "keyed_plans", "writer_patience")
        try:
            with translated("cannot read the server's settings"):
                self.settings = await read_settings(conn, self._queries)
                row = await (await conn.execute(self._queries["timeline"])).fetchone() or ("", "")
            check_settings(self.settings)
            check_patience(self.settings)
        except BaseException:
            await conn.close()
            raise
        self._timeline, self._backend_start = map(str, row)
        self._backend = conn.info.backend_pid
        conn.add_notice_handler(self._noticed)
        self._conn, self._wire = conn, Wire(conn, self._queries)

    async def close(self) -> None:
        """Close the connection; a transaction that is open is not committed."""
        if self._conn is not None:
            await self._conn.close()
            self._conn = self._wire = self._asking = None

    @property
    def floor(self) -> int:
        """The latest instant of anything that this transaction has loaded."""
        return self._asking.floor if self._asking else 0

    @property
    def waited(self) -> float:
        """Seconds of this transaction in which the server was waited for."""
        return self._asking.waited if self._asking else 0.0

    async def begin(self) -> None:
        """Wait for the connection's turn; connect anew if it is gone. BEGIN itself travels with the first load."""
        if self._owner is not None and self._owner is asyncio.current_task():
            raise StoreError("begin inside a transaction: commit or roll back first")
        await self._turn.acquire()
        try:
            if self._conn is None or self._conn.closed:
                await self.open()
        except BaseException:
            self._turn.release()
            raise
        self._owner = asyncio.current_task()
        self._asking = Asking(self._line(), contended=self._contended)
        self._xid = None
        self._batch = None

    def ahead(self, asked: Ahead) -> None:
        """What is named here is fetched with the first question."""
        self._now().ahead(asked)

    async def lock_runs(self, runs: Sequence[int], *, wait: bool = False) -> tuple[dict[int, RunCell], set[int]]:
        """Lock, sorted, and load. Raises Busy when ``wait`` was not enough; the transaction must be rolled back then."""
        ids = sorted(set(runs))
        if not ids:
            return {}, set()
        asking = self._now()
        rows = await asking.rows(WAITING if wait else "lock_runs", [Ints(ids)])
        asking.seen(row[2] for row in rows)
        found = {row[0]: decode_run(row[1]) for row in rows}
        missing = [run for run in ids if run not in found]
        if not missing or wait:
            self._contended = False
            return found, set()
        held = {row[0] for row in await asking.rows(*asking.held(missing))}.difference(found)
        self._contended = bool(held)
        asking.forget(held)
        return found, held

    async def load_tasks(self, keys: Sequence[TaskKey]) -> list[TaskCell]:
        """The cells that exist, in no order."""
        asking = self._now()
        await asking.look_ahead()
        rest = [key for key in keys if key not in asking.cells]
        found = [cell for key in keys if (cell := asking.cells.get(key)) is not None]
        return found + await self._tasks("load_tasks", columns(rest)) if rest else found

    async def load_inputs(self, runs: Sequence[int]) -> list[RunInput]:
        """What these runs were given."""
        return [input_of(*row) for row in await self._rows("load_inputs", [Ints(runs)])] if runs else []

    async def load_members(self, run: int, after: tuple[int, int], limit: int) -> list[TaskCell]:
        """A page of a run's task rows."""
        return await self._tasks("load_members", [run, *after, limit])

    async def load_group(self, run: int, no: int, after: int, limit: int) -> list[TaskCell]:
        """A page of a group's instances."""
        return await self._tasks("load_group", [run, no, after, limit])

    async def load_values(self, keys: Sequence[TaskKey]) -> dict[TaskKey, Value]:
        """Results with their texts. Values are never changed, so blobs are read on the readers' connections."""
        found: dict[TaskKey, Value] = {}
        for run, no, index, image, data in await self._rows("load_values", columns(keys)) if keys else []:
            value = decode_task(image).result
            if value is not None:
                found[(run, no, index)] = await self._blobs.fill(value, data)
        return found

    async def lock_entities(self, keys: Sequence[EntityKey]) -> dict[EntityKey, Entity]:
        """Lock, sorted, and load; waits at most 200 ms for a lock, then Busy."""
        if not keys:
            return {}
        entities = [Entity(*row) for row in await self._rows("lock_entities", pairs(keys))]
        self._now().seen(e.updated_at for e in entities)
        return {(e.kind, e.name): e for e in entities}

    async def lock_limits(
        self, keys: Sequence[EntityKey], *, wait: bool = False
    ) -> tuple[dict[EntityKey, Entity], set[EntityKey]]:
        """As ``lock_runs``: lock, sorted, and load; second are those that another node has."""
        if wait or not keys:
            return await self.lock_entities(keys), set()
        entities = [Entity(*row) for row in await self._rows("lock_limits", pairs(keys))]
        self._now().seen(e.updated_at for e in entities)
        found = {(e.kind, e.name): e for e in entities}
        missing = sorted(set(keys) - found.keys())
        held = await self._rows("held_entities", pairs(missing)) if missing else []
        return found, {(row[0], row[1]) for row in held}

    async def load_uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        """A statement of its own, so that its snapshot is younger than the limits' locks."""
        rows = await self._rows("load_uses", pairs(keys)) if keys else []
        return {(row[0], row[1]): (row[2], row[3] or 0, row[4] or 0) for row in rows}

    async def load_cached(self, works: Sequence[bytes]) -> dict[bytes, tuple[int, TaskCell, Value | None]]:
        """When it was made, by which attempt, and what its result is."""
        found: dict[bytes, tuple[int, TaskCell, Value | None]] = {}
        for work, at, image, data in await self._rows("find_cached", [Bytes(works)]) if works else []:
            cell = decode_task(image)
            value = None if cell.result is None else await self._blobs.fill(cell.result, data)
            found[bytes(work)] = (at, cell, value)
        return found

    async def load_gates(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[list[int], list[int]]]:
        """Who is in and who waits."""
        found: dict[LimitKey, tuple[list[int], list[int]]] = {key: ([], []) for key in keys}
        for place, name in enumerate(("load_holders", "load_waiting") if keys else ()):
            for row in await self._rows(name, pairs(keys)):
                found[row[0], row[1]][place].append(row[2])
        return found

    async def load_answers(self, keys: Sequence[tuple[str, str]]) -> dict[tuple[str, str], Answer]:
        """First answers given under these keys."""
        if not keys:
            return {}
        answers = [Answer(*row) for row in await self._rows("load_answers", pairs(keys))]
        return {(a.scope, a.key): a for a in answers}

    async def load_documents(self, digests: Sequence[bytes]) -> dict[bytes, int]:
        """Numbers of documents that are kept."""
        rows = await self._rows("load_documents", [Bytes(digests)]) if digests else []
        return {row[0]: row[1] for row in rows}

    async def lock_outbox(self, seqs: Sequence[int]) -> set[int]:
        """Those that are there and not being delivered elsewhere; never waits."""
        return {row[0] for row in await self._rows("lock_outbox", [Ints(sorted(seqs))])} if seqs else set()

    async def write(self, batch: Batch, *, wait: bool = True) -> None:
        """Send every statement of the batch. Raises Busy when another node wrote the same key, if it is to ``wait``.

        Without that ``commit`` says what was refused. A batch without a commit row is always waited for: were the answer
        to its COMMIT lost, only its transaction's id could tell what became of it.
        """
        self._fault("store.before_write")
        asking = self._now()
        with translated("cannot write"):
            for call in calls(batch, self.incarnation):
                asking.send(call)
        if wait or not batch.commits:
            asking.send(Call("xid", []))
            results = await asking.answers("cannot write")
            self._xid = self._line().rows(results[-1])[0][0]
        self._batch = batch
        self._fault("store.after_write")

    async def commit(self) -> None:
        """Durable when it returns. A lost answer is looked up on a new connection before anybody is told."""
        work = asyncio.ensure_future(self._commit())
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            # The COMMIT is on its way: only when it is over may somebody else begin.
            await asyncio.wait([work])
            raise
        finally:
            self._over()
        self._fault("store.after_commit")
        if self._batch is not None:
            self._told(self._batch)

    async def _commit(self) -> None:
        if not self._now().begun:
            return
        conn, wire = self._open(), self._line()
        self._warning = ""
        self._fault("store.before_commit")
        try:
            if self._xid is None:
                wire.send("xid")
            wire.send("commit")
            results = await wire.answers()
        except psycopg.Error as e:
            if not (is_lost(e) or conn.closed):
                await self._give_up(conn)
                raise translate(e, "cannot write and commit") from e
            await self._judge(conn, e)
        else:
            if results[-1].command_status != b"COMMIT":
                raise StoreError(f"the server answered COMMIT with {results[-1].command_status!r}")
        if self._warning:
            raise UnknownOutcome(f"the server committed and does not know whether a standby has it: {self._warning}")

    async def rollback(self) -> None:
        """Give up the transaction that this task began, whatever state it is in; harmless when there is none."""
        if self._owner is None or self._owner is not asyncio.current_task():
            return
        try:
            if self._conn is not None and not self._conn.closed:
                await self._give_up(self._conn)
        finally:
            self._over()

    async def _give_up(self, conn: Connection) -> None:
        """The server rolls back by itself when its client is gone; the next begin connects anew."""
        wire = self._line()
        try:
            if wire.waits:
                with suppress(psycopg.Error):
                    await wire.answers()
            if conn.info.transaction_status != TransactionStatus.IDLE:
                wire.send("rollback")
                await wire.answers()
        except psycopg.Error:
            await conn.close()

    def _noticed(self, notice: psycopg.errors.Diagnostic) -> None:
        # A COMMIT warns when its wait for a synchronous standby was cut short: a failover may lose it.
        if notice.severity_nonlocalized == "WARNING":
            self._warning = notice.message_primary or "WARNING"

    def _over(self) -> None:
        if self._owner is not None:
            self._owner = None
            self._turn.release()

    async def _judge(self, conn: Connection, e: psycopg.Error) -> None:
        await conn.close()
        if self._batch is None:
            raise StoreAway(f"the connection was lost: {e}") from e
        commit = self._batch.commits[0].commit if self._batch.commits else None
        lost = Lost(self._xid, self._backend, self._backend_start, self._timeline, commit)
        verdict = await ask(self._dsn, self._queries, lost, self._patience)
        if verdict == "aborted":
            raise StoreAway(f"the connection was lost and the server rolled back: {e}") from e
        if verdict != "committed":
            raise UnknownOutcome(f"the connection was lost during COMMIT and its outcome is {verdict}") from e

    async def _tasks(self, name: str, params: list[Any]) -> list[TaskCell]:
        return self._now().tasks_of(await self._rows(name, params))

    async def _rows(self, name: str, params: list[Any]) -> list[Row]:
        return await self._now().rows(name, params)

    def _now(self) -> Asking:
        if self._asking is None or self._owner is None:
            raise StoreError("no transaction: begin first")
        self._open()
        return self._asking

    def _line(self) -> Wire:
        self._open()
        if self._wire is None:
            raise StoreAway("not connected")
        return self._wire

    def _open(self) -> Connection:
        if self._conn is None or self._conn.closed:
            raise StoreAway("the connection to PostgreSQL was lost; nothing was written")
        return self._conn
