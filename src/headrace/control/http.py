"""uvicorn's HTTP protocol, but a whole answer leaves in one write: half the system calls, and one packet.

Only answers that begin with their ``content-length`` and come in one piece take this way; all others, and every error
of the protocol, stay uvicorn's. Named by ``control.server``; knows nothing of the API.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]
_LENGTH = b"content-length"


class OneWriteProtocol(HttpToolsProtocol):
    """Hands each request's ``send`` through ``_OneWrite``."""

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        wrapped: Any = _OneWrite(cycle, app)
        super()._start_asgi_task(cycle, wrapped)


class _OneWrite:
    """One request: holds the head of its answer back until the body is there."""

    __slots__ = ("_app", "_cycle", "_held", "_send")

    def __init__(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._cycle = cycle
        self._app = app
        self._held: Message | None = None
        self._send: Send

    def __call__(self, scope: Any, receive: Any, send: Send) -> Any:
        self._send = send
        return self._app(scope, receive, self.send)

    async def send(self, message: Message) -> None:
        """The application's messages, in order."""
        held = self._held
        if held is None:
            headers = message.get("headers")
            if message["type"] == "http.response.start" and headers and headers[0][0] == _LENGTH:
                self._held = message
                return
            await self._send(message)
            return
        self._held = None
        cycle = self._cycle
        body = message.get("body", b"")
        if (
            message.get("more_body")
            or cycle.flow.write_paused
            or cycle.disconnected
            or not cycle.keep_alive
            or cycle.scope["method"] == "HEAD"
            or int(held["headers"][0][1]) != len(body)
        ):
            await self._send(held)
            await self._send(message)
            return
        self._write(held, body)

    def _write(self, held: Message, body: bytes) -> None:
        cycle = self._cycle
        content = [STATUS_LINE[held["status"]]]
        for name, value in (*cycle.default_headers, *held["headers"]):
            if b"\n" in value or b"\r" in value:
                raise RuntimeError("Invalid HTTP header value.")
            content += (name, b": ", value, b"\r\n")
        content += (b"\r\n", body)
        cycle.response_started = True
        cycle.waiting_for_100_continue = False
        cycle.transport.write(b"".join(content))
        cycle.response_complete = True
        cycle.message_event.set()
        cycle.on_response()
