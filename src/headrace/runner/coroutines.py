"""Coroutines as tasks: each in an event loop of its own. Imported with the first of them, because asyncio is half of
what a runner weighs. Never lets a loop outlive its call. Called by ``runner.calls``.
"""

from __future__ import annotations

import asyncio
import inspect
from typing import Any

from headrace.author.errors import Canceled
from headrace.runner.host import CallHost


def in_loop(work: Any, host: CallHost) -> Any:
    """Run a coroutine; a cancellation reaches it as CancelledError at an await. Raises Canceled when it was asked to."""

    async def main() -> Any:
        task = asyncio.current_task()
        assert task is not None
        host.cancel = lambda: task.get_loop().call_soon_threadsafe(task.cancel)
        try:
            value = await work
            if inspect.isasyncgen(value):
                value = [item async for item in value]
            return value
        finally:
            host.cancel = None

    try:
        with asyncio.Runner() as runner:
            return runner.run(main())
    except asyncio.CancelledError as e:
        if host.asked:
            raise Canceled("the attempt was asked to end") from e
        raise
