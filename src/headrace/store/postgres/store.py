"""A whole store on PostgreSQL: opened by an ``app`` file, given to the ledger and the API.

Never shares a connection between writer, readers and hints. Any number of nodes may open the same database.
"""

from __future__ import annotations

from collections.abc import Callable

from msgspec.structs import replace

from headrace.model.errors import StoreError
from headrace.model.ports import Fault, no_fault
from headrace.store.port import Identity
from headrace.store.postgres.blobs import PostgresBlobs
from headrace.store.postgres.connect import Queries, connect, queries, translated
from headrace.store.postgres.hints import Hints
from headrace.store.postgres.migrate import migrate
from headrace.store.postgres.pool import Pool
from headrace.store.postgres.reader import PostgresReader
from headrace.store.postgres.verdict import PATIENCE
from headrace.store.postgres.writer import PostgresWriter
from headrace.store.rows import Hint

READERS = 4
"""Connections of the reader; blobs have two of their own, the ledger one, hints two."""


class PostgresStore:
    """``store.port.Store``. Made by ``open_store`` only."""

    def __init__(
        self,
        dsn: str,
        statements: Queries,
        identity: Identity,
        *,
        fault: Fault,
        patience: float,
    ) -> None:
        self.identity = identity
        self._reading = Pool(dsn, statements, "read_only", size=READERS)
        self._writing = Pool(dsn, statements, "pool_patience", size=2)
        self.hints = Hints(dsn, statements)
        self.blobs = PostgresBlobs(self._writing, statements, fault=fault)
        self.reader = PostgresReader(self._reading, self.blobs, incarnation=identity.incarnation)
        self.writer = PostgresWriter(
            dsn, statements, self.blobs, fault=fault, told=self.hints.committed, patience=patience
        )
        self.writer.incarnation = identity.incarnation

    async def reserve_ids(self, what: str, count: int) -> int:
        """The first of ``count`` numbers that nobody else was or will be given; those not used are lost."""
        row = await self._writing.row("ids_reserve", [what, count])
        if row is None:
            raise StoreError(f"no block of {what} numbers came back")
        return int(row[0])

    def hear(self, on_hint: Callable[[Hint], None]) -> None:
        """Open two connections of their own for hints, and keep them open."""
        self.hints.start(on_hint)

    async def close(self) -> None:
        """Close every connection. An open transaction is not committed."""
        await self.hints.close()
        await self.writer.close()
        await self._reading.close()
        await self._writing.close()


async def open_store(dsn: str, *, fault: Fault = no_fault, patience: float = PATIENCE) -> PostgresStore:
    """Migrate, check and open.

    ``patience``: seconds in which a server that was lost during COMMIT may come back and say what became of it.

    Raises StoreAway when the server does not answer, StoreError when it must not be used (weak durability, newer schema).
    """
    statements = queries()
    identity = await _prepare(dsn, statements, fault)
    store = PostgresStore(dsn, statements, identity, fault=fault, patience=patience)
    try:
        await store.writer.open()
        store.identity = replace(identity, settings=store.writer.settings)
        await store.blobs.sweep()
    except BaseException:
        await store.close()
        raise
    return store


async def _prepare(dsn: str, statements: Queries, fault: Fault) -> Identity:
    async with await connect(dsn, statements) as conn:
        fault("store.before_migration")
        schema = await migrate(conn, statements)
        fault("store.after_migration")
        with translated("cannot read the store's identity"):
            row = await (await conn.execute(statements["meta_get"], ["incarnation"])).fetchone()
    if row is None:
        raise StoreError("the database has no incarnation: it is not a store of Headrace")
    return Identity(incarnation=int(row[0]), schema=schema, settings={})
