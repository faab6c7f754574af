"""Control's two doors on one event loop: the API on TCP, the doorbell on a Unix socket. Wiring of uvicorn, nothing else.

Signals, log set-up and process exit belong to the process entry point, so uvicorn gets none of them.
"""

from __future__ import annotations

import asyncio
import os
import socket
from functools import partial
from pathlib import Path
from typing import Any

import uvicorn
from uvicorn.server import ServerState

from headrace.control.http import OneWriteProtocol
from headrace.model.errors import Busy

BACKLOG = 2_048
DRAIN_S = 5
"""Seconds that requests under way are given when control ends."""


def _config(app: Any, ws: str) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        http=OneWriteProtocol,
        ws=ws,
        loop="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=False,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=75,
    )


class Doors:
    """Both listening sockets, and the connections behind them."""

    def __init__(self, api: Any, doorbell: Any) -> None:
        self._api = _config(api, "none")
        self._bell = _config(doorbell, "websockets-sansio")
        self._state = ServerState()
        self._servers: list[asyncio.Server] = []
        self._path: Path | None = None

    async def open(self, tcp: socket.socket, path: Path) -> None:
        """Begin to serve both. The Unix socket can be opened by this user only, from its first moment."""
        loop = asyncio.get_running_loop()
        for config in (self._api, self._bell):
            config.load()
        self._servers.append(await loop.create_server(partial(self._protocol, self._api), sock=tcp, backlog=BACKLOG))
        path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            self._servers.append(await loop.create_unix_server(partial(self._protocol, self._bell), str(path)))
        finally:
            os.umask(before)
        self._path = path

    async def close(self) -> None:
        """Take no more connections, let requests under way end for a while, then close."""
        for server in self._servers:
            server.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        tasks = set(self._state.tasks)
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=DRAIN_S)
            for task in late:
                task.cancel()
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _protocol(self, config: uvicorn.Config) -> asyncio.Protocol:
        made: asyncio.Protocol = config.http_protocol_class(  # type: ignore[call-arg] # uvicorn types it as any class
            config=config,
            server_state=self._state,
            app_state={},
        )
        return made


def bind(host: str, port: int) -> socket.socket:
    """A TCP socket on this address. Raises Busy, naming it, when somebody else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind((host, port))
    except OSError as e:
        sock.close()
        raise Busy(f"cannot listen on {host}:{port}: {e.strerror}") from e
    return sock
