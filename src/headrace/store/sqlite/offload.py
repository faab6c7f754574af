"""Where blocking work of the store is done: in helper threads, or on the spot under the simulator.

Called by the writer (COMMIT only) and by the reader pool. Never decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

T = TypeVar("T")


class Offload(Protocol):
    """Does blocking work without blocking the loop. The simulator wires ``Inline``."""

    async def run(self, work: Callable[[], T], /) -> T: ...

    def close(self) -> None: ...


class Threads:
    """``count`` helper threads."""

    def __init__(self, count: int, name: str) -> None:
        self._pool = ThreadPoolExecutor(count, thread_name_prefix=name)

    async def run(self, work: Callable[[], T], /) -> T:
        """The result of ``work``, done in a helper thread."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def close(self) -> None:
        """Wait for what is being done and end the threads."""
        self._pool.shutdown()


class Inline:
    """On the caller's own thread, without ever suspending: for the simulator and for tests."""

    async def run(self, work: Callable[[], T], /) -> T:
        """The result of ``work``, done here and now."""
        return work()

    def close(self) -> None:
        """Nothing to end."""
