"""What a stranger may send, over a real socket, in every format: a 4xx with a sentence, at once, and the server goes on."""

from __future__ import annotations

import json
import resource
import socket
import threading
import time
from collections.abc import Iterator
from typing import NamedTuple

import msgspec
import pytest
import requests
from served import Served, served

from headrace.codec.edn import Keyword, loads
from headrace.control.auth import Role

JSON, EDN, MSGPACK, YAML = "application/json", "application/edn", "application/msgpack", "application/yaml"
DEEP, DIGITS = 100_000, 10_000
RUN, JOB = "/api/v1/jobs/hello/runs", "/api/v1/jobs"
NUMBER = "9" * DIGITS
PATIENCE_S = 240
"""The longest answer takes 15 s of a processor, which others may want as well; nothing is measured by it."""


class Hostile(NamedTuple):
    """A body, where it is sent, and words of the sentence that comes back."""

    media: str
    path: str
    body: bytes
    words: str


def packed(number: int) -> bytes:
    """An array of so many levels."""
    return b"\x91" * number + b"\xc0"


BODIES = {
    "json: deep lists": Hostile(JSON, RUN, b'{"params":{"a":' + b"[" * DEEP + b"]" * DEEP + b"}}", "deep"),
    "json: deep objects": Hostile(JSON, JOB, b'{"a":' * DEEP + b"1" + b"}" * DEEP, "deep"),
    "json: deep and never closed": Hostile(JSON, JOB, b"[" * DEEP, "deep"),
    "json: a key twice": Hostile(JSON, RUN, b'{"params":{"a":1,"a":2}}', "twice"),
    "json: not a number": Hostile(JSON, RUN, b'{"params":{"a":NaN}}', "NaN"),
    "json: infinity": Hostile(JSON, RUN, b'{"params":{"a":-Infinity}}', "Infinity"),
    "json: a long number": Hostile(JSON, RUN, f'{{"params":{{"a":{NUMBER}}}}}'.encode(), "10,000 digits"),
    "json: a long fraction": Hostile(JSON, RUN, f'{{"params":{{"a":1e{NUMBER}}}}}'.encode(), "number"),
    "json: a long whole number": Hostile(JSON, RUN, b'{"params":{"a":18446744073709551616}}', "64 bits"),
    "json: half a character": Hostile(JSON, RUN, b'{"reason":"\\ud800"}', "malformed"),
    "json: no text": Hostile(JSON, RUN, b'{"reason":"\xff"}', "UTF-8"),
    "edn: deep vectors": Hostile(EDN, RUN, b'{:params {"a" ' + b"[" * DEEP + b"]" * DEEP + b"}}", "deeper than 100"),
    "edn: deep maps": Hostile(EDN, JOB, b"{:a " * DEEP + b"1" + b"}" * DEEP, "deeper than 100"),
    "edn: deep sets as keys": Hostile(EDN, JOB, b"{#{" * DEEP, "deeper than 100"),
    "edn: deep discards": Hostile(EDN, JOB, b"#_ " * DEEP + b"1", "deeper than 100"),
    "edn: deep tags": Hostile(EDN, JOB, b"#inst " * DEEP + b"1", "deeper than 100"),
    "edn: a key twice": Hostile(EDN, RUN, b'{:params {"a" 1 "a" 2}}', "twice"),
    "edn: a member twice": Hostile(EDN, RUN, b"{:params {:a #{1 1}}}", "twice"),
    "edn: not a number": Hostile(EDN, RUN, b'{:params {"a" ##NaN}}', "NaN"),
    "edn: a long number": Hostile(EDN, RUN, f'{{:params {{"a" {NUMBER}}}}}'.encode(), "1,000 digits"),
    "edn: a long whole number": Hostile(EDN, RUN, b'{:params {"a" ' + b"9" * 900 + b"N}}", "64 bits"),
    "edn: a long exponent": Hostile(EDN, RUN, b'{:params {"a" 1e999999999M}}', "exponent"),
    "edn: a long ratio": Hostile(EDN, RUN, f'{{:params {{"a" 1/{NUMBER}}}}}'.encode(), "1,000 digits"),
    "edn: an object of somebody's": Hostile(EDN, RUN, b'{:params {"a" #java/object "x"}}', "tag"),
    "edn: half a character": Hostile(EDN, RUN, b'{:reason "\\ud800"}', "surrogate"),
    "edn: no text": Hostile(EDN, RUN, b'{:reason "\xff"}', "UTF-8"),
    "msgpack: deep arrays": Hostile(MSGPACK, RUN, b"\x81\xa6params\x81\xa1a" + packed(DEEP), "deep"),
    "msgpack: deep and never closed": Hostile(MSGPACK, JOB, b"\x91" * DEEP, "malformed"),
    "msgpack: a key twice": Hostile(MSGPACK, RUN, b"\x81\xa6params\x82\xa1a\x01\xa1a\x02", "twice"),
    "msgpack: not a number": Hostile(MSGPACK, RUN, b"\x81\xa6params\x81\xa1a\xcb\x7f\xf8" + b"\0" * 6, "NaN"),
    "msgpack: a list said to be huge": Hostile(MSGPACK, RUN, b"\x81\xa6params\xdd\xff\xff\xff\xff", "malformed"),
    "msgpack: an extension": Hostile(MSGPACK, RUN, b"\x81\xa6params\x81\xa1a\xd4\x05x", "only what JSON has"),
    "yaml: deep lists": Hostile(YAML, JOB, b"a: " + b"[" * DEEP + b"]" * DEEP, "deeper than 100"),
    "yaml: deep blocks": Hostile(YAML, JOB, b"- " * DEEP + b"x", "deeper than 100"),
    "yaml: a key twice": Hostile(YAML, JOB, b"name: a\nname: b\n", "twice"),
    "yaml: not a number": Hostile(YAML, JOB, b"name: .nan\n", "not-a-number"),
    "yaml: a long number": Hostile(YAML, JOB, f"name: {NUMBER}".encode(), "1,000 digits"),
    "yaml: laughs": Hostile(
        YAML, JOB, b"a0: &a0 [x]\n" + b"".join(b"a%d: &a%d [%s]\n" % (n, n, b", ".join([b"*a%d" % (n - 1)] * 9)) for n in range(1, 30)), "aliases",
    ),
    "yaml: an object of somebody's": Hostile(YAML, JOB, b"name: !!python/object/apply:os.system [true]", "tag"),
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("hostile")) as found:
        yield found


def post(server: Served, hostile: Hostile, accept: str = JSON) -> requests.Response:
    headers = {"Authorization": f"Bearer {server.tokens[Role.admin]}", "Content-Type": hostile.media, "Accept": accept}
    return requests.post(server.url + hostile.path, data=hostile.body, headers=headers, timeout=PATIENCE_S)


@pytest.mark.parametrize("name", BODIES)
def test_a_hostile_body_is_refused_with_a_sentence(server: Served, name: str) -> None:
    hostile = BODIES[name]
    answer = post(server, hostile)
    told = json.loads(answer.content)
    sentence = " ".join([told["detail"], *(p["message"] for p in told.get("problems", ()))])
    assert answer.status_code in {400, 413, 422}, (answer.status_code, sentence[:300])
    assert hostile.words in sentence, sentence[:300]
    assert len(answer.content) < 100_000
    assert loads(post(server, hostile, EDN).content)[Keyword("status")] == answer.status_code
    assert msgspec.msgpack.decode(post(server, hostile, MSGPACK).content)["status"] == answer.status_code
    assert requests.get(f"{server.url}/health/live", timeout=10).status_code == 200


@pytest.mark.parametrize("media", [JSON, EDN, MSGPACK, YAML])
@pytest.mark.parametrize("announced", [True, False], ids=["announced", "chunked"])
def test_a_gibibyte_is_refused_before_it_is_read(server: Served, media: str, announced: bool) -> None:
    """Whoever sends on is read for a while and dropped: the server keeps nothing of it."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    size, piece = 2**30, b" " * 2**20
    host = server.url.removeprefix("http://")
    with socket.create_connection(tuple(host.split(":")), 20) as sock:  # type: ignore[arg-type]  # the port as text
        length = f"Content-Length: {size}" if announced else "Transfer-Encoding: chunked"
        token = server.tokens[Role.admin]
        head = f"POST {JOB} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {token}\r\nContent-Type: {media}\r\n{length}\r\n\r\n"
        sock.sendall(head.encode())
        threading.Thread(target=_pour, args=(sock, piece, size, not announced), daemon=True).start()
        answer = b""
        while b"\r\n\r\n" not in answer and (more := sock.recv(65_536)):
            answer += more
    assert answer.startswith(b"HTTP/1.1 413"), answer[:200]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024
    assert requests.get(f"{server.url}/health/live", timeout=10).status_code == 200


def _pour(sock: socket.socket, piece: bytes, size: int, chunked: bool) -> None:
    """Write until nobody takes it any more."""
    framed = b"%x\r\n%s\r\n" % (len(piece), piece) if chunked else piece
    try:
        for _ in range(size // len(piece)):
            sock.sendall(framed)
    except OSError:
        return


def long_ones(size: int) -> dict[str, tuple[str, bytes]]:
    """Bodies of about so many bytes that take long to read."""
    count = size.to_bytes(4, "big")
    collide = b" ".join(b"%dN" % (n * (2**61 - 1)) for n in range(1, size // 27))
    return {
        "edn: many words": (EDN, b'{:params {"a" [' + b"1 " * (size // 2) + b"]}}"),
        "edn: numbers that collide": (EDN, b'{:params {"a" #{' + collide + b"}}}"),
        "msgpack: to be read twice": (
            MSGPACK,
            b"\x81\xa6params\x82\xa1b\xca\x3f\x80\x00\x00\xa1a\xdd" + count + b"\x01" * size,
        ),
        "yaml: many words": (YAML, b"a: [" + b"1," * (size // 2) + b"1]"),
        "json: with spaces": (JSON, b'{"params" : {"a" : [' + b"1 ," * (size // 3) + b"1]}}"),
    }


LONG_ONES = [
    pytest.param(size, kind, marks=[] if size < 2**20 else pytest.mark.tail)
    for size in (100_000, 3_900_000)
    for kind in long_ones(100)
]


@pytest.mark.parametrize(("size", "kind"), LONG_ONES)
def test_what_takes_long_to_read_holds_nobody_up(server: Served, size: int, kind: str) -> None:
    """A body at the bound takes a second or two of a thread; callers beside it are answered meanwhile."""
    media, body = long_ones(size)[kind]
    path = JOB if media == YAML else RUN
    assert len(body) < 4 * 2**20
    done = threading.Event()
    statuses: list[int] = []

    def send() -> None:
        try:
            statuses.append(post(server, Hostile(media, path, body, "")).status_code)
        finally:
            done.set()

    worst, asked = 0.0, 0
    threading.Thread(target=send, daemon=True).start()
    with requests.Session() as session:
        while not done.is_set() or asked < 3:
            start = time.monotonic()
            assert session.get(f"{server.url}/health/live", timeout=PATIENCE_S).status_code == 200
            worst, asked = max(worst, time.monotonic() - start), asked + 1
    assert statuses[0] in {201, 400, 413, 422}
    assert asked >= 3, f"only {asked} answers, the worst after {worst:.1f} s"
