"""The route on which agents of this machine ring: the only thing that control's Unix socket serves.

The socket's file mode (0600) is the credential: who can open it owns the data folder. Nothing here decides; the
session does (``control.links``).
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from headrace.control.links import Links
from headrace.link.doorbell import AsgiDoorbell
from headrace.link.wire import DOORBELL_PATH
from headrace.model.errors import LinkError

Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class DoorbellApp:
    """ASGI: a WebSocket on the doorbell's path; everything else is refused."""

    def __init__(self, links: Links) -> None:
        self._links = links

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One connection."""
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
            return
        bell = AsgiDoorbell(receive, send)
        if scope["type"] != "websocket" or scope["path"] != DOORBELL_PATH:
            await bell.close()
            return
        try:
            await bell.accept()
        except LinkError:
            return
        await self._links.serve(bell)
