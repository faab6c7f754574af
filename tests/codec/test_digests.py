"""A digest is the same however large the bytes are and whoever reckons it."""

import hashlib

import pytest

from headrace.codec.digests import LARGE, hash_of, sha256


@pytest.mark.parametrize("size", [0, 1, LARGE - 1, LARGE, 3 * LARGE])
def test_small_and_large_bytes_have_the_digest_that_everybody_reckons(size: int) -> None:
    data = bytes(range(256)) * (size // 256) + bytes(size % 256)
    pieces = hash_of(size)
    for at in range(0, size, 1000):
        pieces.update(data[at : at + 1000])
    assert sha256(data).hexdigest() == pieces.hexdigest() == hashlib.sha256(data).hexdigest()
    assert hash_of(size, data[:10]).digest() == hashlib.sha256(data[:10]).digest()
