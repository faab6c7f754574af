"""The one-write protocol on a real socket: what arrives is what uvicorn would send, in one piece."""

from __future__ import annotations

import asyncio
from pathlib import Path

from api_world import HELLO, World, run_async

from headrace.control.auth import Role
from headrace.control.server import Doors, bind


async def nothing(scope: object, receive: object, send: object) -> None:
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
        connection = next(iter(doors._state.connections))
        real = connection.transport

        class Counting:
            def __getattr__(self, name: str) -> object:
                return getattr(real, name)

            def write(self, data: bytes) -> None:
                writes.append(data)
                real.write(data)

        connection.transport = Counting()  # type: ignore[union-attr,assignment]
        await sock.ask("GET /api/v1/version")
        assert len(writes) == 1
        sock.writer.close()
        await doors.close()
