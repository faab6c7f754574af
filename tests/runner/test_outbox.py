"""What a runner says goes out in order and whole, in few frames, and nothing waits longer than a moment."""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from headrace.runner.memory import Memory, make_memory, read_memory
from headrace.runner.outbox import MOMENT_US, PIECE, ROOM, Outbox
from headrace.runner.protocol import FROM_RUNNER, Frames, Log, Ok, Started


class Ends:
    """An outbox and the agent's end of its socket."""

    def __init__(self) -> None:
        ours, self.sock = socket.socketpair()
        ours.settimeout(20)
        self.ours = ours
        self.memory = make_memory()
        self.outbox = Outbox(self.sock, Memory(self.memory))
        self.frames = Frames(FROM_RUNNER)

    def heard(self) -> list[Any]:
        """The messages of the next bytes."""
        found: list[Any] = []
        while not found:
            found += self.frames.feed(self.ours.recv(1 << 20))
        return found


@pytest.fixture
def ends() -> Iterator[Ends]:
    made = Ends()
    yield made
    made.ours.close()
    os.close(made.memory)


def test_a_frame_of_replies_is_sent_together(ends: Ends) -> None:
    for id in range(1, 4):
        ends.outbox.making(id, 5)
        ends.outbox.log("stdout", b"a")
        ends.outbox.log("stdout", b"b")
        ends.outbox.finish(Ok(id, 5, 6, b"null"))
    assert read_memory(ends.memory, 0)[1] != []
    ends.outbox.flush()
    assert [(type(m).__name__, m.id) for m in ends.heard()] == [(k, i) for i in (1, 2, 3) for k in ("Log", "Ok")]
    assert ends.frames.count == 1
    assert read_memory(ends.memory, 1) == (0, [])


def test_pieces_of_one_stream_are_joined_and_structured_records_are_not(ends: Ends) -> None:
    ends.outbox.making(1, 5)
    for stream, data, level in (
        ("stdout", b"a", ""),
        ("stdout", b"b", ""),
        ("stderr", b"c", ""),
        ("log", b"d", "INFO"),
        ("log", b"e", "INFO"),
    ):
        ends.outbox.log(stream, data, level)
    ends.outbox.flush()
    assert [(m.stream, m.data) for m in ends.heard()] == [
        ("stdout", b"ab"), ("stderr", b"c"), ("log", b"d"), ("log", b"e"),
    ]  # fmt: skip


def test_a_long_piece_is_cut_and_whole_again_at_the_other_end(ends: Ends) -> None:
    ends.outbox.making(1, 5)
    data = os.urandom(3 * PIECE + 7)
    ends.outbox.log("stdout", data)
    ends.outbox.flush()
    found = ends.heard()
    assert b"".join(m.data for m in found) == data
    assert max(len(m.data) for m in found) <= PIECE


def test_a_reply_that_its_memory_cannot_hold_is_sent_at_once(ends: Ends) -> None:
    ends.outbox.making(1, 5)
    sending = threading.Thread(target=ends.outbox.finish, args=(Ok(1, 5, 6, b"x" * 400_000),))
    sending.start()
    assert len(ends.heard()[0].result) == 400_000
    sending.join()


def test_the_watcher_sends_what_waits_and_tells_of_a_long_call(ends: Ends) -> None:
    ends.outbox.start()
    ends.outbox.begin()
    ends.outbox.making(9, 1)
    ends.outbox.log("stdout", b"soon")
    found: list[Any] = []
    while not {Started, Log} <= {type(m) for m in found}:
        found += ends.heard()
    assert [(m.id, m.at) for m in found if isinstance(m, Started)] == [(9, 1)]
    assert [m.data for m in found if isinstance(m, Log)] == [b"soon"]


def test_what_is_written_to_a_captured_descriptor_is_log_of_the_running_call_before_its_end(ends: Ends) -> None:
    fd = os.dup(2)
    try:
        ends.outbox.capture(fd, "stderr")
        ends.outbox.making(4, 5)
        os.write(fd, b"from below\n")
        ends.outbox.finish(Ok(4, 5, 6, b"null"))
        ends.outbox.flush()
        assert [(type(m), m.id) for m in ends.heard()] == [(Log, 4), (Ok, 4)]
    finally:
        os.close(fd)


def test_one_piece_larger_than_all_the_room_goes_out_whole(ends: Ends) -> None:
    ends.outbox.start()
    ends.outbox.making(1, 5)
    data = b"x" * (ROOM + 1)
    saying = threading.Thread(target=ends.outbox.log, args=("stdout", data), daemon=True)
    saying.start()
    size = 0
    while size < len(data):
        size += sum(len(m.data) for m in ends.heard() if isinstance(m, Log))
    saying.join(20)
    assert size == len(data)
    assert not saying.is_alive()


def test_while_calls_are_short_their_replies_are_sent_without_the_watcher(ends: Ends) -> None:
    for id, at in ((1, 1), (2, MOMENT_US), (3, MOMENT_US + 1)):
        ends.outbox.making(id, at)
        ends.outbox.finish(Ok(id, at, at, b"null"))
    assert [m.id for m in ends.heard()] == [1, 2]
    ends.outbox.flush()
    assert [m.id for m in ends.heard()] == [3]


def test_after_the_watcher_has_looked_the_next_call_is_watched_again(ends: Ends) -> None:
    ends.outbox.start()
    for id in (1, 2):
        ends.outbox.begin()
        ends.outbox.making(id, time.time_ns() // 1000)
        assert [(type(m), m.id) for m in ends.heard()] == [(Started, id)]
        ends.outbox.finish(Ok(id, 5, 6, b"null"))
        ends.outbox.flush()
        assert [type(m) for m in ends.heard()] == [Ok]


def test_what_is_said_between_two_calls_is_sent_too(ends: Ends) -> None:
    ends.outbox.start()
    for _ in range(3):
        ends.outbox.log("stdout", b"from a thread")
        assert [(m.id, m.data) for m in ends.heard()] == [(0, b"from a thread")]
