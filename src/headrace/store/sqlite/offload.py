"""Where blocking work of the store is done: in helper threads, or on the spot under the simulator.

Called by the writer (COMMIT only) and by the reader pool. Never decides anything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, Protocol, TypeVar

T = TypeVar("T")

_Work = tuple[Callable[[], Any], asyncio.AbstractEventLoop, asyncio.Future[Any]]


class Offload(Protocol):
    """Does blocking work without blocking the loop. The simulator wires ``Inline``."""

    def run(self, work: Callable[[], T], /) -> Awaitable[T]: ...

    def close(self) -> None: ...


class Threads:
    """Up to ``count`` helper threads, made as they are needed; of one loop.

    Leaner than the standard executor, whose locks and second future cost more than all else that a commit of one change
    does on the loop: one queue out, one call back in.
    """

    def __init__(self, count: int, name: str) -> None:
        self._count = count
        self._name = name
        self._busy = 0
        self._threads: list[Thread] = []
        self._queue: SimpleQueue[_Work | None] = SimpleQueue()

    def run(self, work: Callable[[], T], /) -> asyncio.Future[T]:
        """The result of ``work``, done in a helper thread, where it goes on even when nobody waits any more."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()
        self._busy += 1
        if len(self._threads) < min(self._busy, self._count):
            name = f"{self._name}_{len(self._threads)}"
            self._threads.append(Thread(target=self._serve, name=name, daemon=True))
            self._threads[-1].start()
        self._queue.put((work, loop, future))
        return future

    def close(self) -> None:
        """Wait for what is being done and end the threads."""
        for _ in self._threads:
            self._queue.put(None)
        for thread in self._threads:
            thread.join()
        self._threads.clear()

    def _serve(self) -> None:
        """A helper thread's life."""
        while (asked := self._queue.get()) is not None:
            work, loop, future = asked
            result = error = None
            try:
                result = work()
            except BaseException as raised:
                error = raised
            try:
                loop.call_soon_threadsafe(self._done, future, result, error)
            except RuntimeError:
                # the loop was closed meanwhile, also between a look and a call: nobody waits any more
                if not loop.is_closed():
                    raise
            # nothing that was worked on is held while this waits
            del asked, work, loop, future, result, error

    def _done(self, future: asyncio.Future[Any], result: object, error: BaseException | None) -> None:
        """Back on the loop's thread."""
        self._busy -= 1
        if future.cancelled():
            return
        if error is None:
            future.set_result(result)
        else:
            future.set_exception(error)


class Inline:
    """On the caller's own thread, without ever suspending: for the simulator and for tests."""

    async def run(self, work: Callable[[], T], /) -> T:
        """The result of ``work``, done here and now."""
        return work()

    def close(self) -> None:
        """Nothing to end."""
