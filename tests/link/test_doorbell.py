"""The doorbell over WebSocket: the dialing end against a real server, and what is refused."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from headrace.link.doorbell import DoorbellServer, dial_unix
from headrace.link.port import Doorbell
from headrace.link.records import AttemptName, Hello, Pulse, PulseAnswer, Welcome
from headrace.link.websocket import dialing
from headrace.link.wire import DOORBELL_PATH, check_digest, decode_bell, encode_bell, name_text, parse_name
from headrace.model.errors import Invalid, LinkError


def run(coroutine: Any) -> Any:
    return asyncio.run(asyncio.wait_for(coroutine, 60))


class Served:
    """A doorbell's door on a Unix socket."""

    def __init__(self, session: Callable[[Doorbell], Awaitable[None]], path: Path) -> None:
        self.server = DoorbellServer(session)
        self.path = path

    async def __aenter__(self) -> None:
        await self.server.open(self.path)

    async def __aexit__(self, *_: object) -> None:
        await self.server.close()


async def control(bell: Doorbell) -> None:
    hello = await bell.recv()
    assert isinstance(hello, Hello)
    await bell.send(Welcome(1, 2, hello.last))
    while True:
        pulse = await bell.recv()
        assert isinstance(pulse, Pulse)
        await bell.send(PulseAnswer(pulse.n))


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


def test_its_socket_is_for_its_own_user_only_and_goes_with_the_server(tmp_path: Path) -> None:
    async def main() -> None:
        async with Served(control, tmp_path / "s"):
            assert stat.S_IMODE((tmp_path / "s").stat().st_mode) == 0o600
        assert not (tmp_path / "s").exists()

    run(main())


def test_a_server_that_goes_away_is_a_link_error(tmp_path: Path) -> None:
    async def closes(bell: Doorbell) -> None:
        await bell.close()

    async def main() -> None:
        async with Served(closes, tmp_path / "s"):
            bell = await dial_unix(str(tmp_path / "s"))
            with pytest.raises(LinkError):
                await bell.recv()

            async def endless() -> None:
                while True:
                    await bell.send(Pulse(1))
                    await asyncio.sleep(0)

            with pytest.raises(LinkError):
                await endless()

    run(main())


def test_the_server_ends_its_sessions_when_it_closes(tmp_path: Path) -> None:
    async def main() -> None:
        ended = asyncio.Event()

        async def waits(bell: Doorbell) -> None:
            try:
                await bell.recv()
            finally:
                ended.set()

        async with Served(waits, tmp_path / "s"):
            bell = await dial_unix(str(tmp_path / "s"))
            await asyncio.sleep(0)
        await ended.wait()
        with pytest.raises(LinkError):
            await bell.recv()

    run(main())


def test_nonsense_on_the_doorbell_is_a_link_error(tmp_path: Path) -> None:
    async def talks(bell: Any) -> None:
        bell._ws.send(b"\xc1nonsense")
        await bell._flush()
        await bell.recv()

    async def main() -> None:
        async with Served(talks, tmp_path / "s"):
            with pytest.raises(LinkError, match="not a doorbell record"):
                await (await dial_unix(str(tmp_path / "s"))).recv()

    run(main())


GOOD = dialing(DOORBELL_PATH, b"0123456789012345678901==").decode()


@pytest.mark.parametrize(
    ("request_head", "status"),
    [
        (GOOD, b"101"),
        (GOOD.replace(DOORBELL_PATH, "/elsewhere"), b"404"),
        (GOOD.replace("GET", "POST"), b"426"),
        (GOOD.replace("Upgrade: websocket", "Upgrade: h2c"), b"426"),
        (GOOD.replace("Version: 13", "Version: 12"), b"400"),
        (GOOD.replace("HTTP/1.1", "HTTP/1.0"), b"400"),
        (GOOD.replace("Sec-WebSocket-Key", "Sec-WebSocket-Lock"), b"400"),
        (GOOD.replace("Host:", "Host"), b"400"),
    ],
)
def test_only_a_websocket_on_its_path_is_taken(tmp_path: Path, request_head: str, status: bytes) -> None:
    async def main() -> None:
        async with Served(control, tmp_path / "s"):
            reader, writer = await asyncio.open_unix_connection(str(tmp_path / "s"))
            writer.write(request_head.encode())
            assert (await reader.readline()).split()[1] == status
            if status != b"101":
                await reader.read()
            writer.close()

    run(main())


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
    async def refuses(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 403 Forbidden\r\ncontent-length: 0\r\n\r\n")
        writer.close()

    async def main() -> None:
        with pytest.raises(LinkError):
            await dial_unix(str(tmp_path / "none"))
        async with await asyncio.start_unix_server(refuses, str(tmp_path / "s")):
            with pytest.raises(LinkError, match="status 403"):
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
