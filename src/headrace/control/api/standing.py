"""What outlives its request (streams, long polls, sockets) ends with the credential that opened it, within 5 s.

No rules of its own: ``Auth.over`` knows when a credential is over. Called by ``control.api.dispatch`` for every stream
and every call that waits, and by whoever serves a WebSocket.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from headrace.control.auth import Auth, Caller
from headrace.model.errors import Unauthorized

T = TypeVar("T")

PATIENT = frozenset({"wait", "follow"})
"""Query parameters that make a call wait."""


async def while_good(auth: Auth, caller: Caller, work: Coroutine[Any, Any, T]) -> T:
    """What the work gives. When the credential is over first: the work is cancelled, Unauthorized raised."""
    doing = asyncio.ensure_future(work)
    over = asyncio.ensure_future(auth.over(caller))
    try:
        await asyncio.wait({doing, over}, return_when=asyncio.FIRST_COMPLETED)
        if doing.done():
            return doing.result()
        over.result()
        raise Unauthorized("the credential that opened this is over")
    finally:
        doing.cancel()
        over.cancel()
        await asyncio.gather(doing, over, return_exceptions=True)
