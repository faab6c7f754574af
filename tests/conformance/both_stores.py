"""One suite for both stores: every test that asks for ``fresh`` runs on SQLite and on PostgreSQL.

A missing PostgreSQL fails the tests that need it; in CI nothing can switch that off (see ``tests/conftest.py``).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from headrace.model.ports import Fault, no_fault
from headrace.store.port import Store
from headrace.store.sqlite import open_sqlite

Opener = Callable[..., AbstractAsyncContextManager[Store]]
Body = Callable[[Store], Awaitable[None]]


class FixedClock:
    """An instant."""

    def now(self) -> int:
        return 1_700_000_000_000_000

    def monotonic(self) -> float:
        return 0.0


class Fresh:
    """Opens the same store of this test, any number of times."""

    def __init__(self, kind: str, place: str) -> None:
        self.kind = kind
        self._place = place

    @asynccontextmanager
    async def open(self, fault: Fault = no_fault) -> AsyncIterator[Store]:
        """The store, closed at the end."""
        store: Store
        if self.kind == "sqlite":
            store = await open_sqlite(self._place, clock=FixedClock(), fault=fault)
        else:
            from headrace.store.postgres.store import open_store

            store = await open_store(self._place, fault=fault)
        try:
            yield store
        finally:
            await store.close()

    def run(self, body: Body) -> None:
        """``body`` on the open store."""

        async def main() -> None:
            async with asyncio.timeout(60), self.open() as store:
                await body(store)

        asyncio.run(main())
