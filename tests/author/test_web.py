"""``http`` against a real server on this machine: what is sent, what comes back, what fails and what the log says."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from headrace.author.context import CURRENT, Context, Identity, LocalHost
from headrace.author.errors import Fail
from headrace.author.web import BODY_MAX, TooLong, UnexpectedStatus, expected, request


class Answers(BaseHTTPRequestHandler):
    """Tells what it was asked; ``/status/503`` answers so, others as their name says."""

    asked: list[tuple[str, str, dict[str, str], bytes]]

    def _answer(self) -> None:
        data = self.rfile.read(int(self.headers.get("content-length") or 0))
        self.server.asked.append((self.command, self.path, dict(self.headers), data))  # type: ignore[attr-defined]
        status, kind, body = 200, "application/json", json.dumps({"path": self.path}).encode()
        if self.path.startswith("/status/"):
            status = int(self.path[8:11])
        elif self.path == "/text":
            kind, body = "text/plain; charset=latin-1", "Zürich".encode("latin-1")
        elif self.path == "/bytes":
            kind, body = "application/octet-stream", b"\xff\x00"
        elif self.path == "/large":
            body = b"x" * (BODY_MAX + 1)
        elif self.path == "/broken":
            body = b"{"
        elif self.path == "/elsewhere":
            status = 302
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Twice", "a")
        self.send_header("X-Twice", "b")
        if status == 302:
            self.send_header("Location", "/status/200")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    do_GET = do_POST = do_HEAD = do_PUT = _answer  # noqa: N815  # reason: the names that http.server looks for

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def server() -> Iterator[Any]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Answers) as found:
        found.asked = []  # type: ignore[attr-defined]
        found.url = f"http://127.0.0.1:{found.server_address[1]}"  # type: ignore[attr-defined]
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


@pytest.fixture
def context() -> Iterator[Context]:
    made = Context(Identity(task="t"), b"{}", LocalHost())
    token = CURRENT.set(made)
    yield made
    CURRENT.reset(token)


def test_a_json_answer_is_data_and_the_status_is_the_exit_status(server: Any, context: Context) -> None:
    answer = request(f"{server.url}/a?x=1")
    assert (answer["status"], answer["body"], context.exit_status) == (200, {"path": "/a?x=1"}, "200")
    assert answer["headers"]["x-twice"] == "a, b"


@pytest.mark.parametrize(
    ("path", "body"),
    [("/text", {"body": "Zürich"}), ("/bytes", {"body": "/wA=", "encoding": "base64"}), ("/broken", {"body": "{"})],
)
def test_other_bodies_are_text_or_base64(server: Any, path: str, body: dict[str, str]) -> None:
    answer = request(server.url + path)
    assert {name: answer[name] for name in body} == body
    assert ("encoding" in answer) == ("encoding" in body)


def test_what_is_sent_is_text_as_it_is_and_data_as_json_with_the_headers_given(server: Any) -> None:
    request(server.url, "POST", {"X-Key": "k", "X-Number": 7}, {"a": [1]})
    request(server.url, "PUT", {"content-type": "text/csv"}, "a,b")
    request(server.url.replace("//", "//me:p%20w@"))
    (method, path, headers, data), (_, _, csv, text), (_, _, login, _) = server.asked
    assert (method, path, json.loads(data), headers["X-Key"], headers["X-Number"]) == (
        "POST",
        "/",
        {"a": [1]},
        "k",
        "7",
    )
    assert headers["Content-Type"] == "application/json"
    assert (csv["content-type"], text) == ("text/csv", b"a,b")
    assert login["Authorization"] == "Basic bWU6cCB3"


def test_another_status_than_expected_fails_and_stays_the_exit_status(server: Any, context: Context) -> None:
    with pytest.raises(
        UnexpectedStatus, match=r"GET http://127.0.0.1:\d+/status/503 answered 503 .*expected 2xx: .*path"
    ):
        request(f"{server.url}/status/503")
    assert context.exit_status == "503"
    assert request(f"{server.url}/status/404", expect=[200, 404])["status"] == 404


def test_redirects_are_not_followed(server: Any) -> None:
    answer = request(f"{server.url}/elsewhere", expect="3xx")
    assert (answer["status"], answer["headers"]["location"]) == (302, "/status/200")
    assert len(server.asked) == 1


def test_bodies_are_bounded_and_those_of_head_are_not_waited_for(server: Any) -> None:
    with pytest.raises(TooLong):
        request(f"{server.url}/large")
    assert request(f"{server.url}/large", "HEAD")["body"] is None


def test_the_log_tells_request_and_answer_and_nothing_secret(server: Any, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        request(server.url.replace("//", "//me:secret@") + "/a?token=secret", "POST", {"X-Key": "secret"}, "secret")
    (record,) = caplog.records
    assert "POST http://127.0.0.1:" in record.getMessage()
    assert "/a → 200 OK" in record.getMessage()
    assert "secret" not in caplog.text


@pytest.mark.parametrize(
    "url",
    ["ftp://x/", "http://", "no", "http://x:y/", "http://127.0.0.1:1\n/"],
    ids=["ftp", "no host", "no", "port", "lf"],
)
def test_what_is_no_address_is_never_tried_again(url: str) -> None:
    with pytest.raises((Fail, OSError)) as caught:
        request(url)
    assert isinstance(caught.value, Fail) or "127.0.0.1" in url


def test_a_name_with_a_line_break_reaches_nobody(server: Any) -> None:
    with pytest.raises(Fail):
        request(server.url, "GET\r\nX: y")
    with pytest.raises(Fail):
        request(server.url, headers={"X": "a\r\nY: b"})
    assert server.asked == []


def test_nobody_there_is_a_connection_error() -> None:
    with pytest.raises(ConnectionRefusedError, match=r"GET http://127.0.0.1:9/a: Connection refused"):
        request("http://127.0.0.1:9/a?token=secret")
    with pytest.raises(ConnectionError, match=r"GET http://none.invalid/: "):
        request("http://none.invalid/")


def test_statuses_and_classes() -> None:
    assert expected(204, "2xx")
    assert expected(404, [200, 404])
    assert expected(503, ["2XX", "5XX"])
    assert not expected(302, "2xx")
    assert not expected(201, 200)
