"""Helper threads: what they give back, what they do for those who have gone, and that they end."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from headrace.store.sqlite.offload import Threads


def test_results_and_errors_come_back_to_the_loop() -> None:
    async def body(threads: Threads) -> None:
        assert await threads.run(threading.get_ident) != threading.get_ident()
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        assert await threads.run(lambda: 3) == 3

    _with(1, body)


def test_one_thread_does_one_thing_after_the_other_in_order() -> None:
    async def body(threads: Threads) -> None:
        done: list[int] = []
        await asyncio.gather(*(threads.run(partial(done.append, number)) for number in range(20)))
        assert done == list(range(20))
        assert _alive("of-a-test") == 1

    _with(1, body)


def test_no_more_threads_are_made_than_have_work() -> None:
    async def body(threads: Threads) -> None:
        for _ in range(5):
            await threads.run(lambda: None)
        assert _alive("of-a-test") == 1
        together = threading.Barrier(3)
        await asyncio.gather(*(threads.run(lambda: together.wait(30)) for _ in range(3)))
        assert _alive("of-a-test") == 3
        await asyncio.gather(*(threads.run(lambda: None) for _ in range(9)))
        assert _alive("of-a-test") == 3

    _with(3, body)


def test_what_was_begun_goes_on_when_nobody_waits_any_more_and_the_thread_serves_on() -> None:
    async def body(threads: Threads) -> None:
        go, done = threading.Event(), threading.Event()

        def work() -> None:
            go.wait(30)
            done.set()

        waiting = asyncio.ensure_future(threads.run(work))
        await asyncio.sleep(0)
        waiting.cancel()
        go.set()
        assert await threads.run(lambda: 7) == 7
        assert done.is_set()
        assert waiting.cancelled()

    _with(1, body)


def test_closing_waits_for_what_is_being_done() -> None:
    done: list[int] = []

    async def body(threads: Threads) -> None:
        threads.run(lambda: done.append(1))
        threads.close()
        assert done == [1]
        assert _alive("of-a-test") == 0

    _with(1, body)


def _with(count: int, body: Callable[[Threads], Awaitable[None]]) -> None:
    async def go() -> None:
        threads = Threads(count, "of-a-test")
        try:
            await body(threads)
        finally:
            threads.close()

    asyncio.run(asyncio.wait_for(go(), 60))


def _alive(name: str) -> int:
    return sum(thread.name.startswith(name) for thread in threading.enumerate())


class _Closing(asyncio.SelectorEventLoop):
    """A loop that is closed between a thread's look at it and its call."""

    called = False

    def is_closed(self) -> bool:
        return super().is_closed() and (self.called or threading.current_thread() is threading.main_thread())

    def call_soon_threadsafe(self, *args: Any, **more: Any) -> asyncio.Handle:
        self.called = True
        return super().call_soon_threadsafe(*args, **more)


def test_a_thread_that_is_done_after_its_loop_was_closed_says_nothing_and_lives_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    raised: list[object] = []
    monkeypatch.setattr(threading, "excepthook", lambda args: raised.append(args.exc_value))
    go, second = threading.Event(), threading.Event()
    threads, loop = Threads(1, "of-a-test"), _Closing()

    async def begin() -> None:
        threads.run(lambda: go.wait(30)).cancel()
        threads.run(second.set).cancel()

    loop.run_until_complete(begin())
    loop.called = False
    loop.close()
    go.set()
    threads.close()
    assert raised == []
    assert second.is_set()
