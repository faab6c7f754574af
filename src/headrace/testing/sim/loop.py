"""An asyncio event loop on virtual time, with processes that can be killed between any two callbacks.

Nothing waits: when no callback is ready, the clock jumps to the next timer. Each simulated process is a ``Process``;
callbacks and timers carry the process they were scheduled by (through their context), and those of a dead process are
dropped unrun, exactly as kill -9 would. Used by the simulator only; the product runs on it unchanged.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import inspect
import selectors
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

EQUAL_S = 1e-9
"""Timers so close together come in the same turn."""

CALLBACKS_MOST = 150_000  # a healthy world needs 4,000 to 15,000
SECONDS_MOST = 800.0  # of virtual time; a healthy world needs 20 to 200


class Stuck(RuntimeError):
    """Nothing is ready and no timer is set, or callbacks chase each other for ever: the world will not come to rest."""


class Killed(BaseException):
    """Unwinds the callback in which a process died at a fault point. Never caught by the product."""


class Process:
    """One simulated operating-system process: alive or dead, nothing between. ``name`` is for traces."""

    __slots__ = ("alive", "name", "stalled_until")

    def __init__(self, name: str) -> None:
        self.name = name
        self.alive = True
        self.stalled_until = 0.0

    def kill(self) -> None:
        """From now on none of its callbacks runs."""
        self.alive = False


_process: contextvars.ContextVar[Process | None] = contextvars.ContextVar("headrace_sim_process", default=None)


def current() -> Process | None:
    """The process whose callback is running."""
    return _process.get()


class _Soon(asyncio.Handle):
    """A callback with the process it belongs to."""

    __slots__ = ("process",)

    def __init__(
        self, callback: Callable[..., Any], args: tuple[Any, ...], loop: VirtualLoop, context: Any = None
    ) -> None:
        context = contextvars.copy_context() if context is None else context
        super().__init__(callback, args, loop, context)
        self.process: Process | None = context.get(_process)

    def _run(self) -> None:
        self._loop.run_handle(self)  # type: ignore[attr-defined]  # the loop that made it


class _Timer(asyncio.TimerHandle):
    """Likewise, at its time."""

    __slots__ = ("process",)

    def __init__(
        self, when: float, callback: Callable[..., Any], args: tuple[Any, ...], loop: VirtualLoop, context: Any = None
    ) -> None:
        context = contextvars.copy_context() if context is None else context
        super().__init__(when, callback, args, loop, context)
        self.process: Process | None = context.get(_process)

    def _run(self) -> None:
        self._loop.run_handle(self)  # type: ignore[attr-defined]  # likewise


class _Selector(selectors.BaseSelector):
    """Selects nothing: the loop never waits for files."""

    def __init__(self) -> None:
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in order of virtual time. ``time()`` is seconds since the simulation began."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.callbacks = 0
        super().__init__(_Selector())
        self.set_exception_handler(self._note)
        self.errors: list[str] = []
        self.stuck = ""
        """Set to end the world at the next turn, with this reason."""

    def time(self) -> float:
        return self.clock

    def _pass_time(self, timeout: float | None) -> None:
        if self.stuck:
            raise Stuck(self.stuck)
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        if self.callbacks > CALLBACKS_MOST:
            raise Stuck(f"{CALLBACKS_MOST:,} callbacks and still no rest")
        if self.clock > SECONDS_MOST:
            raise Stuck(f"{SECONDS_MOST:,} virtual seconds and still no rest")
        if timeout > 0:
            self.clock += timeout

    def _note(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.errors.append(f"{context.get('message')}: {context.get('exception')!r}")

    def call_soon(  # type: ignore[override]  # typed by TypeVarTuple there; we pass the arguments through
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        handle = _Soon(callback, args, self, context)
        self._ready.append(handle)  # type: ignore[attr-defined]  # asyncio's own queue
        return handle

    def call_at(  # type: ignore[override]  # typed by TypeVarTuple there; we pass the arguments through
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _Timer(when, callback, args, self, context)
        timer._scheduled = True  # type: ignore[attr-defined]  # noqa: SLF001  as asyncio does
        heapq.heappush(self._scheduled, timer)  # type: ignore[attr-defined]  # asyncio's own queue
        return timer

    def call_soon_threadsafe(  # type: ignore[override]  # typed by TypeVarTuple there; we pass the arguments through
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def _run_once(self) -> None:
        """As asyncio's, without files to wait for: timers whose time has come, then whatever was ready before."""
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]  # asyncio's own queues
        timers: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]  # likewise
        while timers and timers[0].cancelled():
            heapq.heappop(timers)._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001
        if not ready:
            self._pass_time(timers[0].when() - self.clock if timers else None)
        now = self.clock + EQUAL_S
        while timers and timers[0].when() <= now:
            timer = heapq.heappop(timers)
            timer._scheduled = False  # type: ignore[attr-defined]  # noqa: SLF001
            ready.append(timer)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if not handle.cancelled():
                handle._run()  # noqa: SLF001

    def run_handle(self, handle: _Soon | _Timer) -> None:
        """One callback, unless its process is dead or stalled."""
        self.callbacks += 1
        process = handle.process
        context, callback, args = handle._context, handle._callback, handle._args  # type: ignore[union-attr]  # noqa: SLF001
        if process is not None:
            if not process.alive:
                _forget(callback)
                return
            if process.stalled_until > self.clock:
                self.call_at(process.stalled_until, callback, *args, context=context)
                return
        try:
            context.run(callback, *args)
        except Killed:
            if process is not None:
                process.kill()
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as error:
            self.errors.append(f"{callback}: {error!r}")

    def end(self) -> None:
        """The simulation is over: drop what is planned; whatever is still scheduled by leftovers goes nowhere."""
        ready: deque[asyncio.Handle] = self._ready  # type: ignore[attr-defined]  # asyncio's own queues
        for handle in ready:
            _forget(handle._callback)  # type: ignore[attr-defined]  # noqa: SLF001
        ready.clear()
        self._scheduled.clear()  # type: ignore[attr-defined]  # likewise
        self.close()

    def _check_closed(self) -> None:
        """Leftovers of dead processes may still try to schedule while they are collected: let them."""

    def spawn(self, process: Process, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start ``main`` as the main task of ``process``; all that it starts belongs to the process too."""
        context = contextvars.copy_context()
        context.run(_process.set, process)
        return self.create_task(main, context=context)


def _forget(callback: Callable[..., Any] | None) -> None:
    """A callback that will never run: a coroutine that it would have begun is closed, for nobody will await it."""
    task = getattr(callback, "__self__", None)
    if isinstance(task, asyncio.Task):
        coroutine = task.get_coro()
        if inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED:
            coroutine.close()
