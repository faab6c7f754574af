"""The lean HTTP client: keep-alive, bounds, other people's servers, and garbage."""

from __future__ import annotations

import asyncio
import random
import shutil
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from headrace.link.http import HttpClient
from headrace.model.errors import LinkError

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


def client(path: Path, **more: Any) -> HttpClient:
    def connect(factory: Any) -> Any:
        return asyncio.get_running_loop().create_unix_connection(factory, str(path))

    return HttpClient(connect, **more)


async def request_head(reader: asyncio.StreamReader) -> bytes:
    return await reader.readuntil(b"\r\n\r\n")


def answering(*answers: bytes, close_after: bool = False) -> tuple[Handler, list[int]]:
    """A server that gives these answers in turn on whatever connection; counts its connections."""
    left, connections = list(answers), [0]

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections[0] += 1
        try:
            while True:
                await request_head(reader)
                writer.write(left.pop(0))
                await writer.drain()
                if close_after:
                    break
        except (asyncio.IncompleteReadError, ConnectionError, IndexError):
            pass
        writer.close()

    return handle, connections


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-A: b\r\n\r\nhi"


def test_one_connection_serves_many_requests(tmp_path: Path) -> None:
    async def main() -> None:
        handle, connections = answering(OK, OK, OK)
        async with await asyncio.start_unix_server(handle, str(tmp_path / "s")):
            http = client(tmp_path / "s")
            for _ in range(3):
                answer = await http.request("GET", "/")
                assert (answer.status, answer.body, answer.headers["x-a"]) == (200, b"hi", "b")
            assert connections == [1]
            await http.close()

    run(main())


def test_requests_at_once_use_connections_of_their_own_and_two_are_kept(tmp_path: Path) -> None:
    async def main() -> None:
        handle, connections = answering(*[OK] * 10)
        async with await asyncio.start_unix_server(handle, str(tmp_path / "s")):
            http = client(tmp_path / "s")
            await asyncio.gather(*(http.request("GET", "/") for _ in range(5)))
            assert connections == [5]
            await asyncio.gather(*(http.request("GET", "/") for _ in range(2)))
            assert connections == [5]
            await http.close()

    run(main())


def test_a_kept_connection_that_was_closed_is_replaced_without_an_error(tmp_path: Path) -> None:
    async def main() -> None:
        handle, connections = answering(OK, OK, close_after=True)
        async with await asyncio.start_unix_server(handle, str(tmp_path / "s")):
            http = client(tmp_path / "s")
            await http.request("GET", "/")
            await http.request("POST", "/", b"x")
            assert connections == [2]
            await http.close()

    run(main())


BAD = {
    "too long": (b"HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\n", "over the limit"),
    "too long in chunks": (
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7d0\r\n" + b"x" * 2000 + b"\r\n",
        "over the limit",
    ),
    "too large a head": (b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 20_000 + b"\r\n", "head|HTTP"),
    "not HTTP": (b"SSH-2.0-OpenSSH\r\n", "not an HTTP response"),
    "another protocol": (b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "protocol|in time"),
    "more than asked": (OK + OK, ""),
}


@pytest.mark.parametrize("what", BAD)
def test_what_is_wrong_or_too_much_is_a_link_error(tmp_path: Path, what: str) -> None:
    async def main() -> None:
        bytes_, why = BAD[what]
        handle, _ = answering(bytes_, OK)
        async with await asyncio.start_unix_server(handle, str(tmp_path / "s")):
            http = client(tmp_path / "s", body_max=1000)
            if why:
                with pytest.raises(LinkError, match=why):
                    await http.request("GET", "/", timeout=1)
            else:
                assert (await http.request("GET", "/")).body == b"hi"
            assert (await http.request("GET", "/")).body == b"hi", "the next request has a clean connection"
            await http.close()

    run(main())


def test_silence_and_half_answers_end_at_the_deadline(tmp_path: Path) -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await request_head(reader)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
        await reader.read()
        writer.close()

    async def main() -> None:
        async with await asyncio.start_unix_server(silent, str(tmp_path / "s")):
            http = client(tmp_path / "s")
            with pytest.raises(LinkError, match="in time"):
                await http.request("GET", "/", timeout=0.05)
            await http.close()

    run(main())


def test_a_body_cut_short_is_an_error_and_a_body_until_close_is_whole(tmp_path: Path) -> None:
    async def main() -> None:
        handle, _ = answering(
            b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", b"HTTP/1.1 200 OK\r\n\r\nwhole", close_after=True
        )
        async with await asyncio.start_unix_server(handle, str(tmp_path / "s")):
            http = client(tmp_path / "s")
            with pytest.raises(LinkError):
                await http.request("GET", "/")
            assert (await http.request("GET", "/")).body == b"whole"
            await http.close()

    run(main())


def test_no_server_is_a_link_error(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(LinkError, match="cannot connect"):
            await client(tmp_path / "none").request("GET", "/")

    run(main())


def test_a_header_cannot_smuggle_a_line(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(LinkError, match="line breaks"):
            await client(tmp_path / "s").request("GET", "/", headers={"a": "b\r\nc: d"})

    run(main())


def test_random_bytes_for_an_answer_never_do_worse_than_a_link_error(tmp_path: Path) -> None:
    dice = random.Random(7)
    seeds = [
        OK,
        BAD["too long in chunks"][0],
        b"HTTP/1.1 204 No Content\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" + OK,
    ]

    def mutated() -> bytes:
        data = bytearray(dice.choice(seeds)[:400])
        for _ in range(dice.randrange(1, 8)):
            at = dice.randrange(len(data))
            verb = dice.randrange(3)
            if verb == 0:
                data[at] = dice.randrange(256)
            elif verb == 1:
                del data[at : at + dice.randrange(1, 20)]
            else:
                data[at:at] = dice.randbytes(dice.randrange(1, 9))
            data = data or bytearray(b"H")
        return bytes(data)

    async def main() -> None:
        answers = [dice.randbytes(dice.randrange(1, 300)) if dice.random() < 0.3 else mutated() for _ in range(600)]
        handle, _ = answering(*answers, close_after=True)
        seen = {"fine": 0, "error": 0}
        async with await asyncio.start_unix_server(handle, str(tmp_path / "s")):
            http = client(tmp_path / "s", body_max=1000)
            for _ in range(600):
                try:
                    answer = await http.request("GET", "/", timeout=5, again=False)
                except LinkError:
                    seen["error"] += 1
                else:
                    assert 100 <= answer.status <= 999
                    seen["fine"] += 1
            await http.close()
        assert min(seen.values()) > 20, seen

    run(main())


async def echo(scope: Any, receive: Any, send: Any) -> None:
    body, more = b"", True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    headers = [(b"x-method", scope["method"].encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body + scope["query_string"]})


def test_it_speaks_with_uvicorn_and_curl_hears_the_same(tmp_path: Path) -> None:
    async def main() -> None:
        path = str(tmp_path / "s")
        server = uvicorn.Server(uvicorn.Config(echo, uds=path, log_config=None, lifespan="off", ws="none"))
        serving = asyncio.ensure_future(server.serve())
        while not server.started:  # uvicorn has a flag only
            await asyncio.sleep(0.01)  # a poll: nothing tells of it
        http = client(tmp_path / "s")
        for size in (0, 1, 65_536, 3_000_000):
            answer = await http.request("PUT", "/a?b=c", b"x" * size)
            assert answer.body == b"x" * size + b"b=c"
            assert answer.headers["x-method"] == "PUT"
        assert (await http.request("GET", "/?q")).body == b"q"
        if shutil.which("curl"):
            command = ["curl", "-s", "--unix-socket", path, "-d", "data", "http://localhost/?q"]
            done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
            assert done.stdout == (await http.request("POST", "/?q", b"data")).body
        await http.close()
        server.should_exit = True
        await serving

    run(main())
