"""``World`` behind a real socket, in a thread of its own: for callers that bring their own HTTP client.

No agent is linked: runs are made, and wait. Used by tests that send what strangers would.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from api_world import HELLO, World

from headrace.control.auth import Role
from headrace.control.backup.service import Backups
from headrace.control.clock import SystemClock
from headrace.control.server import Doors, bind
from headrace.link.port import Doorbell


class Served:
    """Where it is served, and the tokens of the three roles."""

    def __init__(self, data: Path) -> None:
        self.url = ""
        self.tokens: dict[Role, str] = {}
        self._data = data
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._over: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def start(self) -> None:
        """Returns when it answers."""
        self._thread.start()
        assert self._ready.wait(30), "the server did not start"

    def stop(self) -> None:
        """Returns when nothing of it is left."""
        assert self._loop is not None
        assert self._over is not None
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(30)

    async def _serve(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        async with World(self._data) as world:
            world.serve(backups=Backups(self._data, "", SystemClock()), begin_anew=lambda _: None)
            await world.post("/jobs", HELLO)
            for _ in range(5):
                await world.post("/jobs/hello/runs", {})
            doors = Doors(world.app, _nothing)
            tcp = bind("127.0.0.1", 0)
            self.url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
            self.tokens = world.tokens
            await doors.open(tcp, self._data / "bell.sock")
            self._ready.set()
            await self._over.wait()
            await doors.close()


async def _nothing(bell: Doorbell) -> None:
    """A doorbell that nobody rings."""


@contextmanager
def served(data: Path) -> Iterator[Served]:
    """A server for the length of a block."""
    server = Served(data)
    server.start()
    try:
        yield server
    finally:
        server.stop()
