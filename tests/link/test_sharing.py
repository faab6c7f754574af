"""Parameters on their way from control to agent: once per batch, and every attempt has its own again at the end."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.link.records import Assignment, Start
from headrace.link.sharing import SHARED_MIN, apart, together
from headrace.model.errors import Invalid

SMALL, LARGE, OTHER = b'{"n":1}', b'["' + b"x" * SHARED_MIN + b'"]', b'["' + b"y" * SHARED_MIN + b'"]'


def attempt(run: int, index: int, params: bytes) -> Assignment:
    return Assignment(run, 0, index, 1, 1, 7, "python", "t", params=params)


def sent(order: Start) -> Start:
    return msgspec.msgpack.decode(msgspec.msgpack.encode(order), type=Start)


@given(st.lists(st.tuples(st.integers(1, 3), st.sampled_from([SMALL, LARGE, OTHER]))))
def test_what_arrives_is_what_was_sent(given: list[tuple[int, bytes]]) -> None:
    batch = [attempt(run, index, params) for index, (run, params) in enumerate(given)]
    assert list(apart(sent(together(3, batch)))) == batch


def test_large_parameters_of_a_run_travel_once_and_are_one_object_at_the_agent() -> None:
    batch = [attempt(5, index, LARGE) for index in range(50)]
    order = together(3, batch)
    assert len(msgspec.msgpack.encode(order)) < len(LARGE) + 50 * 120
    arrived = apart(sent(order))
    assert all(a.params is arrived[0].params for a in arrived)


def test_small_parameters_travel_with_their_attempts() -> None:
    batch = [attempt(5, 0, SMALL)]
    order = together(3, batch)
    assert (order.attempts is batch, order.params) == (True, [])


@pytest.mark.parametrize("params", [[], [b"{}"]])
def test_a_place_that_the_batch_does_not_have_is_refused(params: list[bytes]) -> None:
    bad = msgspec.structs.replace(attempt(5, 0, b""), shared=1)
    with pytest.raises(Invalid, match="parameters 1 of a batch"):
        apart(Start(3, [bad], params))
