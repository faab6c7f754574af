"""Import what a server's process is made of without what it brings along and this process never uses.

OpenSSL is 4 MB and 12 ms in each process; asyncio, uvloop and hashlib bring it along whether it is used or not. Sockets of
these processes are Unix sockets and plain TCP, and what they hash is short: Python's own SHA-256 is twice as fast there
(``codec.digests`` has OpenSSL's for what is large). Whoever imports ``ssl`` later gets the real one; only
``loop.create_…`` with TLS is not there. Called first by entry points, before anything else of ours is imported.
"""

from __future__ import annotations

import sys
from types import ModuleType

from headrace.codec.lean import import_records, without

OPENSSL = ("ssl", "_hashlib")
EXTRAS = ("bz2", "lzma")
"""Our archives are deflated, nothing else is read."""


def import_lean(*, tls: bool = False) -> None:
    """Import msgspec, asyncio, uvloop and hashlib. ``tls``: this process listens beyond its machine and needs OpenSSL."""
    import_records()
    if tls or "ssl" in sys.modules or "asyncio" in sys.modules:
        return
    with without(*OPENSSL, *EXTRAS):
        import asyncio  # noqa: F401 -- imported for its effect, as all below
        import hmac  # noqa: F401
        import zipfile  # noqa: F401

        sys.modules["ssl"] = _names_that_uvloop_wants()
        try:
            import uvloop  # noqa: F401
        finally:
            del sys.modules["ssl"]


def _names_that_uvloop_wants() -> ModuleType:
    """Names that uvloop takes over when it is imported and uses for TLS only."""
    stand_in = ModuleType("ssl")
    for name in ("SSLContext", "MemoryBIO"):
        setattr(stand_in, name, type(name, (), {}))
    for name in ("SSLError", "SSLWantReadError", "SSLSyscallError", "SSLZeroReturnError", "CertificateError"):
        setattr(stand_in, name, type(name, (Exception,), {}))
    for name in ("SSL_ERROR_WANT_READ", "SSL_ERROR_WANT_WRITE", "SSL_ERROR_SYSCALL"):
        setattr(stand_in, name, 0)
    stand_in.create_default_context = None  # type: ignore[attr-defined]  # a module of our own making
    return stand_in
