"""Our WebSocket against the published one, byte by byte and in nonsense."""

from __future__ import annotations

import base64
import random
from itertools import repeat

import pytest
from websockets.client import ClientProtocol
from websockets.frames import Frame, Opcode
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol
from websockets.uri import parse_uri

from headrace.link.websocket import WebSocket, answer_to, check_accepted, dialing
from headrace.model.errors import LinkError

MAX = 200_000
SIZES = (0, 1, 125, 126, 127, 65_535, 65_536, 150_000)
KEY = base64.b64encode(bytes(range(16)))


def ours(*, dials: bool) -> WebSocket:
    return WebSocket(masks=repeat(b"\x01\x02\x03\xfc") if dials else None, message_max=MAX)


def in_pieces(data: bytes, dice: random.Random) -> list[bytes]:
    pieces = []
    while data:
        size = dice.randrange(1, 4000)
        pieces.append(data[:size])
        data = data[size:]
    return pieces


def test_the_published_client_opens_it_and_understands_every_size() -> None:
    client = ClientProtocol(parse_uri("ws://localhost/bell"), max_size=MAX)
    client.send_request(client.connect())
    answer, opened = answer_to(b"".join(client.data_to_send()), "/bell")
    assert opened
    client.receive_data(answer)
    assert isinstance(client.events_received()[0], Response)
    assert client.handshake_exc is None
    here, dice = ours(dials=False), random.Random(1)
    for size in SIZES:
        message = dice.randbytes(size)
        client.send_binary(message)
        got = [m for piece in in_pieces(b"".join(client.data_to_send()), dice) for m in here.receive(piece)]
        assert got == [message]
        here.send(message)
        client.receive_data(here.to_write())
        (frame,) = client.events_received()
        assert isinstance(frame, Frame)
        assert (frame.opcode, bytes(frame.data)) == (Opcode.BINARY, message)


def test_it_opens_at_the_published_server_and_both_agree_on_the_end() -> None:
    server = ServerProtocol(max_size=MAX)
    server.receive_data(dialing("/bell", KEY, "Bearer x"))
    (request,) = server.events_received()
    assert isinstance(request, Request)
    assert request.headers["authorization"] == "Bearer x"
    server.send_response(server.accept(request))
    check_accepted(b"".join(server.data_to_send()), KEY)
    here = ours(dials=True)
    for size in SIZES:
        here.send(b"x" * size)
        server.receive_data(here.to_write())
        (frame,) = server.events_received()
        assert isinstance(frame, Frame)
        assert len(frame.data) == size
    server.send_ping(b"there?")
    assert here.receive(b"".join(server.data_to_send())) == []
    server.receive_data(here.to_write())
    (pong,) = server.events_received()
    assert isinstance(pong, Frame)
    assert (pong.opcode, bytes(pong.data)) == (Opcode.PONG, b"there?")
    server.send_close(1000)
    here.receive(b"".join(server.data_to_send()))
    assert here.closed
    server.receive_data(here.to_write())
    assert server.close_rcvd is not None


def test_fragments_become_one_message_around_a_ping() -> None:
    here = ours(dials=True)
    assert here.receive(b"\x02\x02ab" + b"\x89\x00" + b"\x00\x01c" + b"\x80\x01d") == [b"abcd"]
    assert here.to_write()[:1] == b"\x8a"


@pytest.mark.parametrize(
    "nonsense",
    [
        b"\x82\x81\x00\x00\x00\x00a",  # masked, towards the end that dialed
        b"\xc2\x00",  # a bit of an extension that nobody agreed on
        b"\x81\x01a",  # text
        b"\x83\x00",  # a kind that does not exist
        b"\x80\x01a",  # continues nothing
        b"\x02\x01a\x82\x01b",  # a second message in the first
        b"\x09\x00",  # a ping in pieces
        b"\x89\x7e\x00\x7e" + bytes(126),  # a long ping
        b"\x82\x7f\x7f" + bytes(7),  # too large, told before it comes
        (b"\x02\x7e\xff\xff" + bytes(65_535)) + (b"\x00\x7e\xff\xff" + bytes(65_535)) * 4,  # too large in pieces
    ],
)
def test_nonsense_is_a_link_error(nonsense: bytes) -> None:
    with pytest.raises(LinkError):
        ours(dials=True).receive(nonsense)


def test_unmasked_frames_of_the_end_that_dialed_are_refused() -> None:
    with pytest.raises(LinkError):
        ours(dials=False).receive(b"\x82\x01a")


def test_any_bytes_are_a_link_error_or_nothing_worse() -> None:
    dice = random.Random(7)
    refused = 0
    for _ in range(3000):
        here = ours(dials=dice.random() < 0.5)
        try:
            for _ in range(4):
                here.receive(dice.randbytes(dice.randrange(40)))
        except LinkError:
            refused += 1
    assert refused > 1000
