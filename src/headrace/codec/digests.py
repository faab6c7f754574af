"""SHA-256 of what may be large: files, packages, blobs, pieces of a backup. Pure; called by whoever keeps bytes.

A server's process starts without OpenSSL (``cli.lean``): short texts are hashed faster without it. It is loaded here when
the first large thing comes, because it is eight times as fast there.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

LARGE = 65_536
"""From so many bytes on OpenSSL is worth its 3.5 MB."""


class Hash(Protocol):
    """The part of a hash object that is used."""

    def update(self, data: bytes | memoryview, /) -> None:
        """Take in more."""

    def digest(self) -> bytes:
        """Of what was taken in so far."""

    def hexdigest(self) -> str:
        """The same in hexadecimal."""


def sha256(data: bytes | memoryview) -> Hash:
    """The SHA-256 of these bytes."""
    return hash_of(len(data), data)


def hash_of(size: int, first: bytes | memoryview = b"") -> Hash:
    """A SHA-256 that will take in about so many bytes; it has ``first`` already."""
    if size < LARGE:
        return hashlib.sha256(first)
    try:
        from _hashlib import openssl_sha256  # only once something large comes: it loads the library
    except ImportError:
        return hashlib.sha256(first)
    return openssl_sha256(first)
