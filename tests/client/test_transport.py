"""One HTTP connection of the client against a server of the standard library."""

from __future__ import annotations

import http.client
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headrace.client.flow import Request
from headrace.client.transport import Connection


class Yes(BaseHTTPRequestHandler):
    """Answers everything with two bytes, over a connection that stays open."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"ok")

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 -- the name of the standard library
        pass


@pytest.fixture
def connection() -> Iterator[Connection]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Yes) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        made = Connection(f"http://127.0.0.1:{server.server_address[1]}", None)
        yield made
        made.close()
        server.shutdown()
        thread.join()


@pytest.mark.parametrize("way", ["send", "save"])
def test_ctrl_c_while_an_answer_is_closed_is_not_lost(
    connection: Connection, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    closed = http.client.HTTPResponse.close

    def interrupted(answer: http.client.HTTPResponse) -> None:
        closed(answer)
        raise KeyboardInterrupt  # what the finalizer of a file swallows

    monkeypatch.setattr(http.client.HTTPResponse, "close", interrupted)
    request = Request("GET", "/")
    with pytest.raises(KeyboardInterrupt):
        connection.send(request) if way == "send" else connection.save(request, io.BytesIO())


def test_a_connection_is_kept_for_the_next_request(connection: Connection) -> None:
    first, second = connection.send(Request("GET", "/a")), connection.send(Request("GET", "/b"))
    assert (first.body, second.body) == (b"ok", b"ok")
