"""Work over a large document, in a thread: a definition of 5,000 tasks takes a third of a second to check and compile.

Small ones are worked on at once, always so in the simulator, where there are no threads. Called by ledger, graphs, API.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

HEAVY = 16_384
"""Bytes of a document from which on others must not wait for it: to check and compile that many takes some 20 ms."""


async def aside(size: int, work: Callable[[], T]) -> T:
    """What ``work`` over a document of this size gives, or raises. It must touch nothing that others may change."""
    return work() if size <= HEAVY else await asyncio.to_thread(work)
