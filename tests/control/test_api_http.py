"""The API's HTTP server on a real socket: whole answers of every kind, and what other peers may do to it."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any, Self

import pytest
from api_world import HELLO, World, run_async

from headrace.control import http
from headrace.control.auth import Role
from headrace.control.http import IDLE_S, HttpConnection, HttpServer
from headrace.control.server import Doors, bind
from headrace.link.port import Doorbell


async def nothing(bell: Doorbell) -> None:
    """A doorbell that nobody rings."""


class Socket:
    """One connection; requests as text."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        self.reader, self.writer, self.token = reader, writer, token

    async def ask(self, line: str, body: bytes = b"", more: str = "") -> tuple[str, dict[str, str], bytes]:
        head = f"{line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {self.token}\r\n{more}"
        self.writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        status = (await self.reader.readline()).decode().split()[1]
        headers = {}
        while (text := (await self.reader.readline()).decode().strip()) != "":
            name, _, value = text.partition(": ")
            headers[name] = value
        size = 0 if line.startswith("HEAD") else int(headers.get("content-length", 0))
        data = await self.reader.readexactly(size)
        if headers.get("transfer-encoding") == "chunked":
            while (length := int(await self.reader.readline(), 16)) > 0:
                data += await self.reader.readexactly(length)
                await self.reader.readline()
            await self.reader.readline()
        return status, headers, data


async def opened(world: World, data: Path) -> tuple[Doors, Socket]:
    doors = Doors(world.app, nothing)
    tcp = bind("127.0.0.1", 0)
    port = tcp.getsockname()[1]
    await doors.open(tcp, data / "bell.sock")
    return doors, Socket(*await asyncio.open_connection("127.0.0.1", port), world.tokens[Role.admin])


@run_async
async def test_a_kept_connection_gets_whole_answers_of_every_kind(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        await world.post("/jobs", HELLO)
        doors, sock = await opened(world, tmp_path)
        for i in range(3):
            status, headers, body = await sock.ask("POST /api/v1/jobs/hello/runs", b"{}")
            assert status == "201"
            assert int(headers["content-length"]) == len(body)
            assert headers["location"] == f"/api/v1/runs/{i + 1}"
        status, headers, body = await sock.ask("GET /api/v1/runs/1")
        head = await sock.ask("HEAD /api/v1/runs/1")
        assert (status, head[0], head[2]) == ("200", "200", b"")
        assert head[1]["content-length"] == headers["content-length"]
        assert (await sock.ask("GET /nothing"))[0] == "404"
        await world.post("/runs/1/cancel", {})
        status, headers, body = await sock.ask("GET /api/v1/runs/1/logs", more="Accept: text/plain\r\n")
        assert (status, headers["transfer-encoding"]) == ("200", "chunked")
        assert b"run 1 canceled" in body
        assert (await sock.ask("GET /api/v1/version"))[0] == "200"
        status, headers, _ = await sock.ask("GET /api/v1/version", more="Connection: close\r\n")
        assert (status, headers["connection"]) == ("200", "close")
        assert await sock.reader.read() == b""
        sock.writer.close()
        await doors.close()


@run_async
async def test_an_answer_is_one_write(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        writes: list[bytes] = []
        doors, sock = await opened(world, tmp_path)
        await sock.ask("GET /api/v1/version")
        connection = next(iter(doors.http.connections))
        real = connection.transport

        class Counting:
            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def write(self, data: bytes) -> None:
                writes.append(data)
                real.write(data)

        connection.transport = Counting()  # type: ignore[assignment] # only write is watched
        await sock.ask("GET /api/v1/version")
        assert len(writes) == 1
        sock.writer.close()
        await doors.close()


class Echo:
    """An application that tells what it received; the server alone is tried."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, bytes]] = []
        self.early = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body, more = b"", not self.early
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                self.seen.append((scope["path"], b"gone"))
                return
            body += message["body"]
            more = message["more_body"]
        self.seen.append((scope["path"], scope["query_string"]))
        if scope["path"] == "/raises":
            raise ValueError("of the application")
        answer = b"%d" % len(body)
        headers = [(b"content-length", b"%d" % len(answer))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": answer})


class Plain:
    """The server alone on a free port."""

    def __init__(self) -> None:
        self.app = Echo()
        self.server = HttpServer(self.app)

    async def __aenter__(self) -> Self:
        sock = bind("127.0.0.1", 0)
        self.port = sock.getsockname()[1]
        self._listening = await asyncio.get_running_loop().create_server(self.server.connection, sock=sock)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        await self.server.close(1.0)

    async def under_way(self) -> HttpConnection:
        """The one connection, when its request has begun to be answered."""
        while not (found := [c for c in self.server.connections if c.task is not None]):  # no event
            await asyncio.sleep(0)
        return found[0]

    async def told(self, *data: bytes) -> bytes:
        """All that comes back for these bytes, until the server closes."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        for piece in data:
            writer.write(piece)
            await asyncio.sleep(0)
        try:
            return await reader.read()
        finally:
            writer.close()


@run_async
async def test_pipelined_requests_are_answered_in_order() -> None:
    async with Plain() as plain:
        one = b"POST /%d HTTP/1.1\r\ncontent-length: %d\r\n\r\n%s"
        requests = [one % (n, n, b"x" * n) for n in range(20)]
        last = b"GET /last HTTP/1.1\r\nconnection: close\r\n\r\n"
        answers = await plain.told(b"".join(requests) + last)
        bodies = [part.split(b"\r\n\r\n")[1] for part in answers.split(b"HTTP/1.1 200 OK")[1:]]
        assert bodies == [b"%d" % n for n in range(20)] + [b"0"]
        assert [path for path, _ in plain.app.seen] == [f"/{n}" for n in range(20)] + ["/last"]


@run_async
async def test_a_body_arrives_whole_in_any_pieces_and_chunked() -> None:
    async with Plain() as plain:
        big = b"y" * 3_000_000
        head = b"POST / HTTP/1.1\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(big)
        assert (await plain.told(head, big)).endswith(b"\r\n\r\n3000000")
        chunked = b"POST / HTTP/1.1\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
        assert (await plain.told(chunked, b"3\r\nabc\r\n", b"2\r\nde\r\n0\r\n\r\n")).endswith(b"\r\n\r\n5")


@run_async
async def test_a_caller_who_waits_for_it_is_told_to_continue() -> None:
    async with Plain() as plain:
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        writer.write(b"POST / HTTP/1.1\r\nexpect: 100-continue\r\ncontent-length: 2\r\n\r\n")
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"ab")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@run_async
async def test_what_is_no_request_is_refused_and_the_connection_closed() -> None:
    async with Plain() as plain:
        assert (await plain.told(b"nonsense\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        head = b"GET / HTTP/1.1\r\n" + b"".join(b"x-%d: %s\r\n" % (n, b"z" * 1000) for n in range(200))
        assert (await plain.told(head)).startswith(b"HTTP/1.1 431 ")
        assert (await plain.told(b"GET /\xff HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 400 ")
        assert plain.app.seen == []
        both = b"POST / HTTP/1.1\r\ncontent-length: 3\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
        assert (await plain.told(both)).startswith(b"HTTP/1.1 400 ")


@run_async
async def test_a_caller_who_hangs_up_in_a_body_is_told_to_the_application() -> None:
    async with Plain() as plain:
        _reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        writer.write(b"POST /a HTTP/1.1\r\ncontent-length: 100\r\n\r\nabc")
        await writer.drain()
        connection = await plain.under_way()
        writer.close()
        assert connection.task is not None
        await connection.task
        assert plain.app.seen == [("/a", b"gone")]


@run_async
async def test_an_application_that_raises_is_a_500_and_a_closed_connection() -> None:
    async with Plain() as plain:
        assert (await plain.told(b"GET /raises HTTP/1.1\r\n\r\n")).startswith(b"HTTP/1.1 500 ")


@run_async
async def test_an_early_answer_is_heard_and_a_body_without_end_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "LINGER_S", 0.05)
    async with Plain() as plain:
        plain.app.early = True
        head = b"POST / HTTP/1.1\r\ncontent-length: 900000000\r\n\r\n"
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        writer.write(head)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")

        async def endless() -> None:
            while True:
                writer.write(b"x" * 100_000)
                await writer.drain()

        with pytest.raises(ConnectionError):
            await endless()


@pytest.mark.parametrize("more", ["", "connection: close\r\n"])
@run_async
async def test_a_caller_who_writes_all_of_a_huge_body_first_reads_the_early_answer(more: str) -> None:
    async with Plain() as plain:
        plain.app.early = True
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        writer.write(f"POST / HTTP/1.1\r\n{more}content-length: {64 << 20}\r\n\r\n".encode())
        for _ in range(64):
            writer.write(b"x" * (1 << 20))
            await writer.drain()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert await reader.readexactly(1) == b"0"
        if more:
            assert await reader.read() == b""
        else:
            writer.write(b"GET /next HTTP/1.1\r\n\r\n")
            assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        writer.close()


@run_async
async def test_an_upgrade_to_something_else_is_answered_as_http() -> None:
    async with Plain() as plain:
        asked = b"GET /up HTTP/1.1\r\nconnection: Upgrade\r\nupgrade: h2c\r\n\r\n"
        assert (await plain.told(asked)).startswith(b"HTTP/1.1 200 ")


@run_async
async def test_old_http_and_encoded_paths_are_understood() -> None:
    async with Plain() as plain:
        assert (await plain.told(b"GET /a%20b/%C3%BC?q=1&r=2 HTTP/1.0\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        assert (await plain.told(b"GET http://h/p?q HTTP/1.1\r\nconnection: close\r\n\r\n")).startswith(b"HTTP/1.1 200")
        assert plain.app.seen == [("/a b/ü", b"q=1&r=2"), ("/p", b"q")]


@run_async
async def test_an_idle_connection_is_closed_and_one_under_way_is_not() -> None:
    async with Plain() as plain:
        reader, writer = await asyncio.open_connection("127.0.0.1", plain.port)
        writer.write(b"POST / HTTP/1.1\r\ncontent-length: 1\r\n\r\n")
        await writer.drain()
        connection = await plain.under_way()
        connection._idle_since -= IDLE_S + 1
        connection._idle()
        writer.write(b"a")
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200")
        await reader.readexactly(1)
        connection._idle_since -= IDLE_S + 1
        connection._idle()
        assert await reader.read() == b""
        writer.close()


@run_async
async def test_a_server_that_ends_waits_for_requests_whose_callers_have_gone_and_takes_no_more() -> None:
    begun, go, asked = asyncio.Event(), asyncio.Event(), []

    async def looks_up(scope: Any, receive: Any, send: Any) -> None:
        begun.set()
        await go.wait()
        asked.append(scope["path"])

    loop = asyncio.get_running_loop()
    server, sock = HttpServer(looks_up), bind("127.0.0.1", 0)
    listening = await loop.create_server(server.connection, sock=sock)
    _reader, writer = await asyncio.open_connection(*sock.getsockname())
    writer.write(b"GET /late HTTP/1.1\r\n\r\n")
    await begun.wait()
    writer.transport.abort()
    while server.connections:  # no event tells that a connection is lost
        await asyncio.sleep(0)
    loop.call_soon(go.set)
    await server.close(30.0)
    assert asked == ["/late"], "the store closes behind the server: nothing may ask it any more"
    reader, writer = await asyncio.open_connection(*sock.getsockname())
    assert await reader.read() == b""
    writer.close()
    listening.close()
