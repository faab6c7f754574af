"""Control's two doors on one event loop: the API on TCP, the doorbell on a Unix socket. Wiring of both, nothing else.

Signals, log set-up and process exit belong to the process entry point. Made by ``control.app``.
"""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headrace.control.http import ASGIApp, HttpServer
from headrace.link.doorbell import DoorbellServer
from headrace.link.port import Doorbell
from headrace.model.errors import Busy

if TYPE_CHECKING:  # OpenSSL is for those that listen beyond loopback
    from ssl import SSLContext

BACKLOG = 2_048
DRAIN_S = 5.0
"""Seconds that requests under way are given when control ends."""


HANDSHAKE_S = 10.0
"""Seconds in which TLS must be agreed on."""


class Doors:
    """Both listening sockets, and the connections behind them."""

    def __init__(self, api: ASGIApp, bell: Callable[[Doorbell], Awaitable[None]]) -> None:
        self.http = HttpServer(api)
        self._bell = DoorbellServer(bell)
        self._server: asyncio.Server | None = None

    async def open(self, tcp: socket.socket, path: Path, tls: SSLContext | None = None) -> None:
        """Begin to serve both, the API over TLS where there is a context. The Unix socket can be opened by this user only, from its first moment."""
        loop = asyncio.get_running_loop()
        more: dict[str, Any] = {} if tls is None else {"ssl": tls, "ssl_handshake_timeout": HANDSHAKE_S}
        self._server = await loop.create_server(self.http.connection, sock=tcp, backlog=BACKLOG, **more)
        await self._bell.open(path)

    async def close(self) -> None:
        """Take no more connections, let requests under way end for a while, then close."""
        if self._server is not None:
            self._server.close()
        await self.http.close(DRAIN_S)
        await self._bell.close()


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket on this address. Raises Busy, naming it, when somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as e:
        sock.close()
        way = "; another one: --port N, any free one: --port 0" if e.errno in (errno.EADDRINUSE, errno.EACCES) else ""
        raise Busy(f"cannot listen on {host}:{port}: {e.strerror}{way}") from e
    return sock
