"""Import the event loop without TLS: what control and agent of one machine never speak. Called first by entry points.

OpenSSL is 4 MB and 12 ms in each process, and asyncio and uvloop bring it along whether it is used or not. Sockets of
these processes are Unix sockets and plain TCP. Whoever imports ``ssl`` later gets the real one; only ``loop.create_…``
with TLS is not there. A process that listens beyond its machine must not call this.
"""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any


def import_loop_without_tls() -> None:
    """Import asyncio and uvloop. Nothing is done where TLS or asyncio is there already."""
    if "ssl" in sys.modules or "asyncio" in sys.modules:
        return
    modules: dict[str, Any] = sys.modules
    modules["ssl"] = None
    try:
        import asyncio  # noqa: F401 -- imported for its effect: it finds no ssl and goes without

        modules["ssl"] = _names_that_uvloop_wants()
        import uvloop  # noqa: F401 -- likewise
    finally:
        del modules["ssl"]


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
