"""Frames: whatever the pieces they arrive in, the same messages come out; a broken stream is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.runner.protocol import (
    FRAME_MAX,
    FROM_RUNNER,
    HEAD,
    TO_RUNNER,
    Ask,
    Call,
    Done,
    Frames,
    Log,
    Ok,
    Work,
    frame,
)

MESSAGES = st.one_of(
    st.builds(Ok, st.integers(0, 9), st.just(1), st.just(2), st.binary(max_size=50)),
    st.builds(Log, st.integers(0, 9), st.just(1), st.sampled_from(["stdout", "log"]), st.binary(max_size=50)),
    st.builds(Done, st.integers(0, 9), st.just(1), st.just(2), st.sampled_from(["failed", "canceled"])),
)


@given(st.lists(st.lists(MESSAGES, max_size=4), max_size=4), st.lists(st.integers(1, 40), min_size=1))
def test_messages_come_out_in_order_whatever_the_pieces(frames: list[list[object]], cuts: list[int]) -> None:
    stream = b"".join(map(frame, frames))
    reader = Frames(FROM_RUNNER)
    found, at, turn = [], 0, 0
    while at < len(stream):
        size = cuts[turn % len(cuts)]
        found += reader.feed(stream[at : at + size])
        at, turn = at + size, turn + 1
    assert found == [message for messages in frames for message in messages]
    assert reader.count == len(frames)


def test_a_call_says_all_that_it_was_given() -> None:
    call = Call(1, "flow:a", b"{}", 2, -1, 3, 4, "t", "j", b'{"x":1}', "tok", "http://x", {"A": "b"}, "/w", "/o", "/i")
    assert list(Frames(TO_RUNNER).feed(frame([Work([call]), Ask(7)]))) == [Work([call]), Ask(7)]


def test_a_length_beyond_reason_and_a_message_of_another_kind_break_the_stream() -> None:
    with pytest.raises(ValueError, match="a frame of"):
        Frames(FROM_RUNNER).feed(HEAD.pack(FRAME_MAX + 1))
    with pytest.raises(ValueError, match="Invalid value"):
        Frames(FROM_RUNNER).feed(frame([Ask(1)]))
