"""One HTTP connection of the standard library, kept alive; answers are whole. Called by the sync and async clients.

Never retries a request that may have reached the server, except those that carry an idempotency key or change nothing.
"""

from __future__ import annotations

import http.client
import socket
from typing import IO
from urllib.parse import urlsplit

from headrace.client.flow import Request, Response
from headrace.model.errors import Unreachable

ANSWER_SECONDS = 30.0
PIECE = 1_048_576


class Connection:
    """Not safe for several threads at once; ``AsyncClient`` gives each request in flight its own."""

    def __init__(self, url: str, token: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Unreachable(f"{url!r} is not the URL of a server: http://host:port is expected")
        self.url = url.rstrip("/")
        self._host, self._port = parts.hostname, parts.port
        self._https = parts.scheme == "https"
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._open: http.client.HTTPConnection | None = None

    def send(self, request: Request) -> Response:
        """The whole answer. Raises Unreachable when there is none."""
        repeatable = request.method in ("GET", "PUT", "DELETE") or request.key is not None
        fresh = self._open is None
        try:
            return self._once(request)
        except (ConnectionError, http.client.RemoteDisconnected, http.client.CannotSendRequest) as error:
            self.close()
            if fresh or not repeatable:
                raise self._unreachable(error) from error
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error
        try:
            return self._once(request)
        except (OSError, http.client.HTTPException) as error:
            self.close()
            raise self._unreachable(error) from error

    def save(self, request: Request, out: IO[bytes]) -> Response:
        """The answer with its bytes written to ``out`` as they come, if it is a good one; else the whole of it."""
        try:
            with self._asked(request) as answer:
                headers = {k.lower(): v for k, v in answer.getheaders()}
                if answer.status >= 400:
                    return Response(answer.status, headers, answer.read())
                while piece := answer.read(PIECE):
                    out.write(piece)
        except (http.client.HTTPException, ConnectionError, TimeoutError) as error:
            self.close()
            raise self._unreachable(error) from error
        return Response(answer.status, headers, b"")

    def _once(self, request: Request) -> Response:
        # Closed by hand: a Ctrl-C that comes while the garbage collector closes an answer is lost without a word.
        with self._asked(request) as answer:
            return Response(answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read())

    def _asked(self, request: Request) -> http.client.HTTPResponse:
        connection = self._connected(ANSWER_SECONDS + request.wait)
        headers = {**self._headers, "Accept": request.accept}
        if request.body:
            headers["Content-Type"] = request.content
        if request.key:
            headers["Idempotency-Key"] = request.key
        connection.request(request.method, request.path, request.body or None, headers)
        return connection.getresponse()

    def _connected(self, timeout: float) -> http.client.HTTPConnection:
        if self._open is None or self._open.sock is None:  # an answer may close the connection: http.client drops it
            kind = http.client.HTTPSConnection if self._https else http.client.HTTPConnection
            self._open = kind(self._host, self._port, timeout=timeout)
            self._open.connect()
            self._open.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._open.timeout = timeout
        self._open.sock.settimeout(timeout)
        return self._open

    def _unreachable(self, error: Exception) -> Unreachable:
        if isinstance(error, TimeoutError):
            return Unreachable(f"{self.url} did not answer in time")
        return Unreachable(f"no server answers at {self.url} ({error}); start one with: headrace up")

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        if self._open is not None:
            self._open.close()
            self._open = None
