"""Bytes by SHA-256 digest, in rows of 256 KiB.

Never shows a blob before it is whole; never holds a transaction open while bytes are still coming, because the oldest
open transaction holds back every reader of events. Called by the API, the ledger's loads and the loops.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable

import msgspec
from psycopg import errors as pg

from headrace.codec.digests import LARGE, hash_of, sha256
from headrace.model.cells import Value
from headrace.model.errors import NotFound, StoreError
from headrace.model.ports import Fault
from headrace.store.postgres.connect import Connection, Queries
from headrace.store.postgres.pool import Pool

CHUNK = 262_144
"""Bytes in each row of a blob but the last; fixed for ever, offsets are computed from it."""

_PAGE = 16
"""Chunks read in one statement: 4 MiB."""


class PostgresBlobs:
    """``store.port.Blobs``."""

    def __init__(self, pool: Pool, queries: Queries, *, fault: Fault) -> None:
        self._pool = pool
        self._queries = queries
        self._fault = fault

    async def put(self, data: bytes | AsyncIterator[bytes]) -> tuple[str, int]:
        """Keep these bytes; those who race with the same bytes all get the same digest and one copy is kept."""
        if isinstance(data, bytes) and len(data) <= CHUNK:
            digest = sha256(data).hexdigest()
            await self._pool.rows("blob_whole_at_once", [digest, data])
            self._fault("blobs.after_keep")
            return digest, len(data)
        async with self._pool.connection() as conn:
            cursor = await conn.execute(self._queries["blob_begin"])
            row = await cursor.fetchone()
            if row is None:
                raise StoreError("no id came back for a new blob")
            return await self._upload(conn, row[0], _pieces(data))

    async def _upload(self, conn: Connection, blob: int, chunks: AsyncIterator[bytes]) -> tuple[str, int]:
        whole = hash_of(LARGE)
        size = no = 0
        kept = False
        try:
            async for chunk in chunks:
                whole.update(chunk)
                await conn.execute(self._queries["blob_add"], [blob, no, chunk], binary=True)
                self._fault("blobs.after_chunk")
                size, no = size + len(chunk), no + 1
            digest = whole.hexdigest()
            kept = await self._finish(conn, blob, digest, size)
        finally:
            if not kept and not conn.closed:
                await conn.execute(self._queries["blob_give_up"], [blob])
        self._fault("blobs.after_keep")
        return digest, size

    async def _finish(self, conn: Connection, blob: int, digest: str, size: int) -> bool:
        self._fault("blobs.before_keep")
        try:
            await conn.execute(self._queries["blob_whole"], [blob, digest, size])
        except pg.UniqueViolation:
            # Somebody kept the same bytes meanwhile, whole and durable; ours are given up.
            return False
        return True

    async def get(self, digest: str, *, offset: int = 0, size: int | None = None) -> bytes:
        """A range of the bytes; the digest is verified when the range is the whole."""
        blob, total = await self._find(digest)
        end = total if size is None else min(total, offset + size)
        if offset >= end:
            return b""
        first = offset // CHUNK
        rows = await self._pool.rows("blob_chunks", [blob, first, (end - 1) // CHUNK])
        data = b"".join(row[1] for row in rows)
        part = (
            data
            if offset == first * CHUNK and len(data) == end - offset
            else data[offset - first * CHUNK :][: end - offset]
        )
        if len(part) != end - offset or (len(part) == total and sha256(part).hexdigest() != digest):
            raise StoreError(f"blob {digest} is damaged")
        return part

    async def stream(self, digest: str) -> AsyncIterator[bytes]:
        """The bytes in pieces; raises StoreError at the end when they do not add up to the digest."""
        blob, total = await self._find(digest)
        whole = hash_of(total)
        for first in range(0, -(-total // CHUNK), _PAGE):
            for _, data in await self._pool.rows("blob_chunks", [blob, first, first + _PAGE - 1]):
                whole.update(data)
                yield data
        if whole.hexdigest() != digest:
            raise StoreError(f"blob {digest} is damaged")

    async def size(self, digest: str) -> int | None:
        """Its size in bytes, or None when there is no such blob."""
        row = await self._pool.row("blob_find", [digest])
        return None if row is None else int(row[1])

    async def delete(self, digests: Iterable[str]) -> None:
        """Remove these; those that are not there are no error."""
        await self._pool.rows("blob_delete", [list(digests)])

    async def fill(self, value: Value, aside: bytes | None) -> Value:
        """The value with its text: its own, what stands ``aside`` in a row, or a blob's."""
        if value.place == "inline":
            return value
        if value.place == "blob":
            return msgspec.structs.replace(value, data=await self.get(value.digest))
        if aside is None:
            raise NotFound("a value that stands aside is missing")
        return msgspec.structs.replace(value, data=aside)

    async def sweep(self) -> None:
        """Remove uploads that were given up a day ago. Called at opening."""
        await self._pool.rows("blob_sweep", [])

    async def _find(self, digest: str) -> tuple[int, int]:
        row = await self._pool.row("blob_find", [digest])
        if row is None:
            raise NotFound(f"no blob {digest}")
        return int(row[0]), int(row[1])


async def _pieces(data: bytes | AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    if isinstance(data, bytes):
        for start in range(0, len(data), CHUNK):
            yield data[start : start + CHUNK]
        return
    held = bytearray()
    async for piece in data:
        held += piece
        while len(held) >= CHUNK:
            yield bytes(held[:CHUNK])
            del held[:CHUNK]
    if held:
        yield bytes(held)
