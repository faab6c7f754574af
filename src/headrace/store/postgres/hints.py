"""LISTEN and NOTIFY: a hint to other nodes that something was committed. Losing every hint loses nothing but time.

Never part of the ledger's transaction: a transaction that notifies holds a lock of the whole server through its fsync,
so nodes would commit one after the other. Told by ``writer``, heard by ``store``'s caller. What may have been missed is
said as a hint that names nothing: when listening begins (again), and every few seconds whatever happens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from headrace.model.errors import HeadraceError
from headrace.model.limits import LIMIT
from headrace.model.states import RUN_FINAL, TASK_LEASED, TaskState
from headrace.store.postgres.connect import Connection, Queries, connect
from headrace.store.rows import Batch, Hint

OnHint = Callable[[Hint], None]
"""Told of what other nodes committed; returns at once."""

MOST = 190
"""Classes, and runs, that one notice names: 8,000 bytes is all that a notice may have."""

LOOK_S = 5.0
"""Seconds after which everybody looks by himself, should a hint have been lost."""

_PAUSE = 1.0


class Hints:
    """Two connections: one listens, one tells what has gathered since it last told. Idle until ``start``."""

    def __init__(self, dsn: str, queries: Queries) -> None:
        self._dsn = dsn
        self._queries = queries
        self._on_hint: OnHint | None = None
        self._classes: set[int] = set()
        self._runs: set[int] = set()
        self._freed = False
        self._news = asyncio.Event()
        self._own: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.listening = asyncio.Event()

    def start(self, on_hint: OnHint) -> None:
        """Begin to listen and to tell."""
        self._on_hint = on_hint
        self._tasks = [
            asyncio.create_task(self._forever(self._listen)),
            asyncio.create_task(self._forever(self._tell)),
        ]

    async def close(self) -> None:
        """Stop both."""
        self._on_hint = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def committed(self, batch: Batch) -> None:
        """One more group is durable; its hint goes out with the next notice."""
        if self._on_hint is None:
            return
        for cells in (batch.new_tasks, batch.tasks):
            self._classes.update(cell.klass for cell in cells if cell.state == TaskState.ready)
        self._runs.update(cell.run for cell in batch.runs if cell.state in RUN_FINAL)
        self._freed = self._freed or _frees(batch)
        if self._classes or self._runs or self._freed or batch.history or batch.entities:
            # those who watch events want to know of everything that is history
            self._news.set()

    async def _forever(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            # A hint is never worth an error: whatever broke is tried again, and looking goes on underneath.
            with suppress(HeadraceError, psycopg.Error):
                await once()
            await asyncio.sleep(_PAUSE)

    async def _listen(self) -> None:
        conn = await connect(self._dsn, self._queries)
        try:
            await conn.execute(self._queries["listen"])
            self.listening.set()
            while True:
                self._heard(Hint(all=True))
                async for notice in conn.notifies(timeout=LOOK_S):
                    if notice.pid not in self._own:
                        self._heard(understood(notice.payload))
        finally:
            self.listening.clear()
            await conn.close()

    def _heard(self, hint: Hint) -> None:
        if self._on_hint is not None:
            self._on_hint(hint)

    async def _tell(self) -> None:
        conn = await connect(self._dsn, self._queries, "hint_only")
        pid = conn.info.backend_pid
        self._own.add(pid)
        try:
            await self._tell_on(conn)
        finally:
            self._own.discard(pid)
            await conn.close()

    async def _tell_on(self, conn: Connection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            classes, runs, freed = self._classes, self._runs, self._freed
            self._classes, self._runs, self._freed = set(), set(), False
            await conn.execute(self._queries["notify"], [written(classes, runs, freed=freed)])


def _frees(batch: Batch) -> bool:
    """Whether somebody may wait for what this batch gave back, or for the limit that it changed."""
    if any(e.kind == LIMIT for e in batch.entities):
        return True
    if any(cell.more is not None and cell.state in RUN_FINAL for cell in batch.runs):
        return True
    return any(cell.more is not None and cell.state not in TASK_LEASED for cell in batch.tasks)


def written(classes: set[int], runs: set[int], *, freed: bool = False) -> str:
    """The payload of a notice: ``classes;runs``, numbers apart by commas, ``;*`` behind it when there are too many.

    An exclamation mark before it: something of a limit was given back.
    """
    named = ",".join(map(str, sorted(classes)[:MOST])), ",".join(map(str, sorted(runs)[:MOST]))
    return "!" * freed + ";".join(named) + (";*" if len(classes) > MOST or len(runs) > MOST else "")


def understood(payload: str) -> Hint:
    """The hint again; whatever else somebody notified means: look at everything."""
    freed = payload.startswith("!")
    classes, _, rest = payload.removeprefix("!").partition(";")
    runs, _, more = rest.partition(";")
    try:
        return Hint(_numbers(classes), _numbers(runs), all=bool(more), freed=freed)
    except ValueError:
        return Hint(all=True)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split(",") if number)
