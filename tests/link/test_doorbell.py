"""The doorbell over WebSocket: the dialing end against a real server, and what is refused."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import uvicorn

from headrace.link.doorbell import AsgiDoorbell, dial_unix
from headrace.link.records import AttemptName, Hello, Pulse, PulseAnswer, Welcome
from headrace.link.wire import check_digest, decode_bell, encode_bell, name_text, parse_name
from headrace.model.errors import Invalid, LinkError


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


class Served:
    """A uvicorn with one ASGI application on a Unix socket."""

    def __init__(self, app: Any, path: Path) -> None:
        self.server = uvicorn.Server(
            uvicorn.Config(app, uds=str(path), log_config=None, lifespan="off", ws="websockets-sansio")
        )

    async def __aenter__(self) -> None:
        self.task = asyncio.ensure_future(self.server.serve())
        while not self.server.started:  # noqa: ASYNC110 # uvicorn has a flag only
            await asyncio.sleep(0.01)  # a poll: nothing tells of it

    async def __aexit__(self, *_: object) -> None:
        self.server.should_exit = True
        await self.task


async def control(scope: Any, receive: Any, send: Any) -> None:
    bell = AsgiDoorbell(receive, send)
    await bell.accept()
    try:
        hello = await bell.recv()
        await bell.send(Welcome(1, 2, hello.last))
        while True:
            await bell.send(PulseAnswer((await bell.recv()).n))
    except LinkError:
        await bell.close()


def test_hello_welcome_and_pulses_travel(tmp_path: Path) -> None:
    async def main() -> None:
        async with Served(control, tmp_path / "s"):
            bell = await dial_unix(str(tmp_path / "s"))
            await bell.send(Hello("a", "b", 2, last=9))
            assert await bell.recv() == Welcome(1, 2, 9)
            for n in range(50):
                await bell.send(Pulse(n))
            for n in range(50):
                assert await bell.recv() == PulseAnswer(n)
            await bell.close()

    run(main())


def test_a_server_that_goes_away_is_a_link_error(tmp_path: Path) -> None:
    async def closes(scope: Any, receive: Any, send: Any) -> None:
        bell = AsgiDoorbell(receive, send)
        await bell.accept()
        await bell.close()

    async def main() -> None:
        async with Served(closes, tmp_path / "s"):
            with pytest.raises(LinkError):
                await (await dial_unix(str(tmp_path / "s"))).recv()

    run(main())


def test_nonsense_on_the_doorbell_is_a_link_error(tmp_path: Path) -> None:
    async def talks(scope: Any, receive: Any, send: Any) -> None:
        await AsgiDoorbell(receive, send).accept()
        await send({"type": "websocket.send", "bytes": b"\xc1nonsense"})
        await receive()

    async def main() -> None:
        async with Served(talks, tmp_path / "s"):
            with pytest.raises(LinkError, match="not a doorbell record"):
                await (await dial_unix(str(tmp_path / "s"))).recv()

    run(main())


async def refuses(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.close", "code": 1008})


@pytest.mark.parametrize("greeting", [b"HTTP/1.1 200 OK\r\n\r\n", b"garbage\r\n\r\n", b""])
def test_dialing_something_else_is_a_link_error(tmp_path: Path, greeting: bytes) -> None:
    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(greeting)
        writer.close()

    async def main() -> None:
        async with await asyncio.start_unix_server(other, str(tmp_path / "s")):
            with pytest.raises(LinkError):
                await dial_unix(str(tmp_path / "s"))

    run(main())


def test_a_refused_or_absent_server_is_a_link_error(tmp_path: Path) -> None:
    async def main() -> None:
        with pytest.raises(LinkError):
            await dial_unix(str(tmp_path / "none"))
        async with Served(refuses, tmp_path / "s"):
            with pytest.raises(LinkError):
                await dial_unix(str(tmp_path / "s"))

    run(main())


def test_names_and_digests_are_checked_before_they_become_paths() -> None:
    name = AttemptName(2**53 - 1, 3, -1, 1 << 40)
    assert parse_name(name_text(name)) == name
    for text in ("", "1.2.3", "1.2.3.4.5", "../1.2.3", "1.2.3.x", "1.2.3.4/..", "١.2.3.4"):
        with pytest.raises(Invalid):
            parse_name(text)
    for text in ("", "../../etc/passwd", "A" * 64, "a" * 63, "a" * 64 + "\n"):
        with pytest.raises(Invalid):
            check_digest(text)


def test_every_doorbell_record_survives_the_wire() -> None:
    for record in (Hello("a", "b", 2, {"k": "v"}), Welcome(1, 2), Pulse(1, 0.5, bell=True), PulseAnswer(4)):
        assert decode_bell(encode_bell(record)) == record
