"""The agent's small HTTP server: our client, pipelines, limits and garbage."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from headrace.link.http import HttpClient
from headrace.link.server import Asked, HttpServer, Told
from headrace.model.errors import LinkError


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


async def echo(asked: Asked) -> Told:
    if asked.path == "/raise":
        raise RuntimeError("a bug")
    if asked.path == "/slow":
        await asyncio.sleep(30)  # the work itself
    if asked.path == "/none":
        return Told(204, "", b"")
    return Told(200, "text/plain", f"{asked.method} {asked.path}?{asked.query} ".encode() + asked.body)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[HttpServer, str, HttpClient]]:
    path = str(folder / "s")
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(path)
    server = HttpServer(echo, body_max=1_000_000)
    await server.start(listening)
    http = HttpClient(lambda factory: asyncio.get_running_loop().create_unix_connection(factory, path))
    try:
        yield server, path, http
    finally:
        await http.close()
        await server.close()


def test_our_client_and_our_server_understand_each_other_on_one_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (server, _, http):
            for size in (0, 1, 70_000, 1_000_000):
                answer = await http.request("PUT", "/a?b=c", b"x" * size)
                assert answer.body == b"PUT /a?b=c " + b"x" * size
            assert (await http.request("GET", "/none")).status == 204
            assert (await http.request("GET", "/x")).body == b"GET /x? "
            assert len(server.connections) == 1

    run(main())


def test_a_body_over_the_limit_is_told_413_and_the_next_request_works(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (_, path, http):
            assert (await http.request("POST", "/", b"x" * 1_000_001)).status == 413
            assert (await http.request("GET", "/")).status == 200
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n")
            for _ in range(11):
                writer.write(b"186a0\r\n" + b"x" * 100_000 + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 413")
            writer.close()
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"GET / HTTP/1.1\r\n" + b"a: b\r\n" * 20_000 + b"\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 431")
            writer.close()

    run(main())


def test_pipelined_requests_are_answered_in_order(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (_, path, _http):
            reader, writer = await asyncio.open_unix_connection(path)
            writer.write(b"".join(b"GET /%d HTTP/1.1\r\n\r\n" % n for n in range(50)))
            for n in range(50):
                head = await reader.readuntil(b"\r\n\r\n")
                size = int(head.lower().partition(b"content-length: ")[2].split(b"\r\n")[0])
                assert await reader.readexactly(size) == b"GET /%d? " % n
            writer.close()

    run(main())


def test_a_bug_in_an_answer_closes_that_connection_only(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (_, _, http):
            with pytest.raises(LinkError):
                await http.request("GET", "/raise")
            assert (await http.request("GET", "/")).status == 200

    run(main())


def test_a_client_that_leaves_ends_the_answer_it_waited_for(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (server, _, http):
            with pytest.raises(LinkError, match="in time"):
                await http.request("GET", "/slow", timeout=0.05)
            while server.connections:  # the server sets no event for it
                await asyncio.sleep(0.005)  # a poll: nothing tells of it

    run(main())


def test_random_bytes_never_hang_or_crash_it(tmp_path: Path) -> None:
    dice = random.Random(3)
    seed = b"POST /a?b HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nhello"

    def mutated() -> bytes:
        if dice.random() < 0.3:
            return dice.randbytes(dice.randrange(1, 200))
        data = bytearray(seed)
        for _ in range(dice.randrange(1, 6)):
            data[dice.randrange(len(data))] = dice.randrange(256)
        return bytes(data)

    async def main() -> None:
        async with served(tmp_path) as (server, path, http):
            for _ in range(500):
                reader, writer = await asyncio.open_unix_connection(path)
                writer.write(mutated())
                writer.write_eof()
                with suppress(ConnectionError):
                    await reader.read()
                writer.close()
            assert (await http.request("GET", "/")).status == 200
            while len(server.connections) > 1:  # the server sets no event for it
                await asyncio.sleep(0.005)  # a poll: nothing tells of it

    run(main())
