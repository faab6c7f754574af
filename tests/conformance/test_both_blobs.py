"""What both stores promise of blobs."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator

import pytest
from both_stores import Fresh

from headrace.model.errors import NotFound
from headrace.store.port import Store


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        yield part


def test_bytes_come_back_by_their_digest(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        data = bytes(range(256)) * 3000
        digest, size = await store.blobs.put(data)
        assert (digest, size) == (hashlib.sha256(data).hexdigest(), len(data))
        assert await store.blobs.get(digest) == data
        assert await store.blobs.get(digest, offset=262_100, size=100) == data[262_100:262_200]
        assert b"".join([piece async for piece in store.blobs.stream(digest)]) == data
        assert await store.blobs.size(digest) == len(data)

    fresh.run(body)


def test_a_stream_is_kept_like_the_whole(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        digest, size = await store.blobs.put(pieces(b"a" * 300_000, b"", b"b"))
        assert (digest, size) == (hashlib.sha256(b"a" * 300_000 + b"b").hexdigest(), 300_001)
        assert await store.blobs.get(digest) == b"a" * 300_000 + b"b"
        assert await store.blobs.put(b"a" * 300_000 + b"b") == (digest, size)

    fresh.run(body)


def test_no_bytes_at_all_are_a_blob_too(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        digest, size = await store.blobs.put(b"")
        assert size == 0
        assert await store.blobs.get(digest) == b""

    fresh.run(body)


def test_what_is_not_kept_is_not_found(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        digest, _ = await store.blobs.put(b"x")
        await store.blobs.delete([digest, "00" * 32])
        assert await store.blobs.size(digest) is None
        with pytest.raises(NotFound):
            await store.blobs.get(digest)

    fresh.run(body)


def test_a_failed_stream_leaves_nothing(fresh: Fresh) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"abc"
        raise ConnectionError("gone")

    async def body(store: Store) -> None:
        with pytest.raises(ConnectionError):
            await store.blobs.put(broken())
        assert await store.blobs.size(hashlib.sha256(b"abc").hexdigest()) is None
        assert (await store.blobs.put(b"abc"))[1] == 3

    fresh.run(body)
