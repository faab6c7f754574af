"""An asyncio event loop on virtual time, with processes that can be killed between any two callbacks.

Nothing waits: when no callback is ready, the clock jumps to the next timer. Each simulated process is a ``Process``;
callbacks and timers carry the process they were scheduled by (through their context), and those of a dead process are
dropped unrun, exactly as kill -9 would. Used by the simulator only; the product runs on it unchanged.
"""

from __future__ import annotations

import asyncio
import contextvars
import selectors
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

CALLBACKS_MOST = 300_000  # a healthy world needs 3,000 to 10,000
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


class _Selector(selectors.BaseSelector):
    """Selects nothing: time passes instead of being waited for."""

    def __init__(self, advance: Callable[[float | None], None]) -> None:
        self._advance = advance
        self._keys: dict[Any, selectors.SelectorKey] = {}

    def register(self, fileobj: Any, events: int, data: Any = None) -> selectors.SelectorKey:
        key = selectors.SelectorKey(fileobj, fileobj if isinstance(fileobj, int) else fileobj.fileno(), events, data)
        self._keys[fileobj] = key
        return key

    def unregister(self, fileobj: Any) -> selectors.SelectorKey:
        return self._keys.pop(fileobj)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        self._advance(timeout)
        return []

    def get_map(self) -> Mapping[Any, selectors.SelectorKey]:
        return self._keys


class VirtualLoop(asyncio.SelectorEventLoop):
    """Runs callbacks in order of virtual time. ``time()`` is seconds since the simulation began."""

    def __init__(self) -> None:
        self.clock = 0.0
        self.callbacks = 0
        super().__init__(_Selector(self._pass_time))
        self.set_exception_handler(self._note)
        self.errors: list[str] = []

    def time(self) -> float:
        return self.clock

    def _pass_time(self, timeout: float | None) -> None:
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

    def _guard(self, callback: Callable[..., Any], context: contextvars.Context | None) -> Callable[..., Any]:
        process = context.get(_process) if context is not None else _process.get()
        if process is None:
            return callback

        def guarded(*args: Any) -> None:
            if not process.alive:
                return
            if process.stalled_until > self.clock:
                super(VirtualLoop, self).call_at(process.stalled_until, guarded, *args, context=context)
                return
            self.callbacks += 1
            try:
                callback(*args)
            except Killed:
                process.kill()

        return guarded

    def call_soon(  # type: ignore[override]  # typed by TypeVarTuple there; we pass the arguments through
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return super().call_soon(self._guard(callback, context), *args, context=context)

    def call_at(  # type: ignore[override]  # typed by TypeVarTuple there; we pass the arguments through
        self, when: float, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        return super().call_at(when, self._guard(callback, context), *args, context=context)

    def call_soon_threadsafe(  # type: ignore[override]  # typed by TypeVarTuple there; we pass the arguments through
        self, callback: Callable[..., Any], *args: Any, context: contextvars.Context | None = None
    ) -> asyncio.Handle:
        return self.call_soon(callback, *args, context=context)

    def end(self) -> None:
        """The simulation is over: drop what is planned; whatever is still scheduled by leftovers goes nowhere."""
        self._ready.clear()  # type: ignore[attr-defined]  # asyncio's own queues, nothing may run any more
        self._scheduled.clear()  # type: ignore[attr-defined]  # likewise
        self.close()

    def _check_closed(self) -> None:
        """Leftovers of dead processes may still try to schedule while they are collected: let them."""

    def spawn(self, process: Process, main: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Start ``main`` as the main task of ``process``; all that it starts belongs to the process too."""
        context = contextvars.copy_context()
        context.run(_process.set, process)
        return self.create_task(main, context=context)
