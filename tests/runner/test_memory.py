"""What a runner could not send any more is found after its death, once and whole."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from headrace.runner.memory import HEAD, SIZE, Memory, make_memory, read_memory
from headrace.runner.protocol import ENCODER, Ok

encode = ENCODER.encode


@pytest.fixture
def fd() -> Iterator[int]:
    made = make_memory()
    yield made
    os.close(made)


def test_notes_wait_until_their_frame_is_sent(fd: int) -> None:
    memory = Memory(fd)
    memory.making(4)
    assert memory.note(encode(Ok(3, 1, 2, b"a")))
    assert memory.note(encode(Ok(4, 3, 4, b"b")))
    assert read_memory(fd, 0) == (4, [Ok(3, 1, 2, b"a"), Ok(4, 3, 4, b"b")])
    memory.sent()
    assert read_memory(fd, 1) == (4, [])
    memory.making(0)
    memory.note(encode(Ok(5, 5, 6, b"c")))
    assert read_memory(fd, 1) == (0, [Ok(5, 5, 6, b"c")])


def test_a_frame_that_was_heard_but_not_yet_noted_as_sent_is_not_told_twice(fd: int) -> None:
    memory = Memory(fd)
    memory.making(1)
    memory.note(encode(Ok(1, 1, 2, b"a")))
    assert read_memory(fd, 1) == (1, [])


def test_what_does_not_fit_is_refused_and_the_rest_stays(fd: int) -> None:
    memory = Memory(fd)
    assert memory.note(encode(Ok(1, 1, 2, b"small")))
    assert not memory.note(encode(Ok(2, 1, 2, b"x" * SIZE)))
    assert read_memory(fd, 0)[1] == [Ok(1, 1, 2, b"small")]


def test_nonsense_in_it_gives_no_messages(fd: int) -> None:
    os.pwrite(fd, HEAD.pack(7, 0, SIZE * 2), 0)
    assert read_memory(fd, 0) == (7, [])
    os.pwrite(fd, HEAD.pack(7, 0, 8) + b"\xff" * 8, 0)
    assert read_memory(fd, 0) == (7, [])
