"""Blobs on PostgreSQL: whole or not there, kept once whoever races, checked when read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from hashlib import sha256

import psycopg
import pytest

from headrace.model.errors import NotFound, StoreError
from headrace.store.postgres.blobs import CHUNK
from headrace.store.postgres.store import PostgresStore, open_store

BIG = bytes(range(256)) * (3 * CHUNK // 256) + b"tail"


async def pieces(data: bytes, size: int = 100_001) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


def rows(dsn: str, table: str) -> int:
    with psycopg.connect(dsn) as conn:
        row = conn.execute(f"select count(*) from headrace.{table}".encode()).fetchone()
        assert row is not None
        return row[0]


@pytest.mark.parametrize("data", [b"", b"x", b"y" * CHUNK, b"z" * (CHUNK + 1), BIG], ids=len)
def test_what_was_put_comes_back_whole_in_ranges_and_in_pieces(postgres_dsn: str, data: bytes) -> None:
    async def main() -> None:
        store = await open_store(postgres_dsn)
        blobs = store.blobs
        digest = sha256(data).hexdigest()
        assert await blobs.put(data) == (digest, len(data))
        assert await blobs.put(pieces(data)) == (digest, len(data))
        assert await blobs.size(digest) == len(data)
        assert await blobs.get(digest) == data
        assert b"".join([piece async for piece in blobs.stream(digest)]) == data
        for offset, size in [(0, 1), (CHUNK - 1, 2), (CHUNK, CHUNK), (len(data) - 1, 9), (5, 0), (len(data) + 5, 9)]:
            start = max(offset, 0)
            assert await blobs.get(digest, offset=start, size=size) == data[start : start + size]
        await store.close()

    asyncio.run(main())
    assert rows(postgres_dsn, "blob") == 1


def test_the_same_bytes_put_by_many_at_once_are_kept_once(postgres_dsn: str) -> None:
    async def main() -> None:
        stores = [await open_store(postgres_dsn) for _ in range(3)]
        puts = [store.blobs.put(pieces(BIG) if n % 2 else BIG) for n in range(3) for store in stores]
        small = [store.blobs.put(b"small") for store in stores for _ in range(3)]
        assert len(set(await asyncio.gather(*puts))) == 1
        assert len(set(await asyncio.gather(*small))) == 1
        assert await stores[0].blobs.get(sha256(BIG).hexdigest()) == BIG
        for store in stores:
            await store.close()

    asyncio.run(main())
    assert (rows(postgres_dsn, "blob"), rows(postgres_dsn, "blob_chunk")) == (2, 5)


def test_an_upload_that_breaks_off_leaves_nothing(postgres_dsn: str) -> None:
    async def breaking() -> AsyncIterator[bytes]:
        yield BIG
        raise ConnectionResetError

    async def main() -> None:
        store = await open_store(postgres_dsn)
        with pytest.raises(ConnectionResetError):
            await store.blobs.put(breaking())
        await store.close()

    asyncio.run(main())
    assert (rows(postgres_dsn, "blob"), rows(postgres_dsn, "blob_chunk")) == (0, 0)


def test_an_upload_whose_process_died_is_swept_a_day_later(postgres_dsn: str) -> None:
    with psycopg.connect(postgres_dsn) as conn:
        conn.execute("insert into headrace.blob (size, begun_at) values (0, now() - interval '25 hours'), (0, now())")
        conn.execute("insert into headrace.blob_chunk (id, no, data) select id, 0, 'x' from headrace.blob")

    async def main() -> None:
        await (await open_store(postgres_dsn)).close()

    asyncio.run(main())
    assert (rows(postgres_dsn, "blob"), rows(postgres_dsn, "blob_chunk")) == (1, 1)


def test_a_slow_upload_holds_no_transaction_open(postgres_dsn: str) -> None:
    """The oldest open transaction is every reader's horizon."""

    async def open_transactions(store: PostgresStore) -> AsyncIterator[bytes]:
        yield BIG
        with psycopg.connect(postgres_dsn, autocommit=True) as conn:
            found = conn.execute(
                "select state from pg_stat_activity where datname = current_database() and xact_start is not null "
                "and pid <> pg_backend_pid() and backend_type = 'client backend'"
            ).fetchall()
        assert found == []
        yield b"end"

    async def main() -> None:
        store = await open_store(postgres_dsn)
        await store.blobs.put(open_transactions(store))
        await store.close()

    asyncio.run(main())


def test_damaged_bytes_are_never_handed_out_as_whole(postgres_dsn: str) -> None:
    async def main() -> None:
        store = await open_store(postgres_dsn)
        digest, _ = await store.blobs.put(BIG)
        with psycopg.connect(postgres_dsn) as conn:
            conn.execute("update headrace.blob_chunk set data = set_byte(data, 7, 0) where no = 1")
        with pytest.raises(StoreError, match="damaged"):
            await store.blobs.get(digest)
        with pytest.raises(StoreError, match="damaged"):
            async for _ in store.blobs.stream(digest):
                pass
        await store.close()

    asyncio.run(main())


def test_what_was_deleted_is_not_found_and_can_be_put_again(postgres_dsn: str) -> None:
    async def main() -> None:
        store = await open_store(postgres_dsn)
        digest, _ = await store.blobs.put(BIG)
        await store.blobs.delete([digest, "0" * 64])
        assert await store.blobs.size(digest) is None
        with pytest.raises(NotFound):
            await store.blobs.get(digest)
        await store.blobs.put(BIG)
        assert await store.blobs.get(digest) == BIG
        await store.close()

    asyncio.run(main())
    assert rows(postgres_dsn, "blob_chunk") == 4
