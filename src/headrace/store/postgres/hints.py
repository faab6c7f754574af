"""LISTEN and NOTIFY: a hint to other nodes that something was committed. Losing every hint loses nothing but time.

Never part of the ledger's transaction: a transaction that notifies holds a lock of the whole server through its fsync,
so nodes would commit one after the other. Told by ``writer``, heard by ``store``'s caller, which polls as well.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress

import psycopg

from headrace.model.errors import HeadraceError
from headrace.model.states import TaskState
from headrace.store.postgres.connect import Connection, Queries, connect
from headrace.store.rows import Batch

OnHint = Callable[[str], None]
"""Told of each hint that another node gave: the classes in which tasks became ready, comma-separated, or nothing."""

_PAUSE = 1.0
_MOST = 200


class Hints:
    """Two connections: one listens, one tells what has gathered since it last told."""

    def __init__(self, dsn: str, queries: Queries, on_hint: OnHint) -> None:
        self._dsn = dsn
        self._queries = queries
        self._on_hint = on_hint
        self._classes: set[int] = set()
        self._news = asyncio.Event()
        self._own: set[int] = set()
        self._tasks: list[asyncio.Task[None]] = []
        self.listening = asyncio.Event()

    def start(self) -> None:
        """Begin to listen and to tell."""
        self._tasks = [asyncio.create_task(self._forever(self._listen)), asyncio.create_task(self._forever(self._tell))]

    async def close(self) -> None:
        """Stop both."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def committed(self, batch: Batch) -> None:
        """One more group is durable; its hint goes out with the next notice."""
        for cells in (batch.new_tasks, batch.tasks):
            self._classes.update(cell.klass for cell in cells if cell.state == TaskState.ready)
        self._news.set()

    async def _forever(self, once: Callable[[], Awaitable[None]]) -> None:
        while True:
            # A hint is never worth an error: whatever broke is tried again, and polling goes on underneath.
            with suppress(HeadraceError, psycopg.Error):
                await once()
            await asyncio.sleep(_PAUSE)

    async def _listen(self) -> None:
        conn = await connect(self._dsn, self._queries)
        async with conn:
            await conn.execute(self._queries["listen"])
            self.listening.set()
            async for notice in conn.notifies():
                if notice.pid not in self._own:
                    self._on_hint(notice.payload)

    async def _tell(self) -> None:
        conn = await connect(self._dsn, self._queries, "hint_only")
        async with conn:
            pid = conn.info.backend_pid
            self._own.add(pid)
            try:
                await self._tell_on(conn)
            finally:
                self._own.discard(pid)

    async def _tell_on(self, conn: Connection) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            classes, self._classes = sorted(self._classes)[:_MOST], set()
            await conn.execute(self._queries["notify"], [",".join(map(str, classes))])
