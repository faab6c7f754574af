"""An attempt's credential does not reach its log, whatever the pieces it is written in."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from headrace.agent.mask import SHOWN, Mask

SECRET = b"hrr_hrr_xhrr_y"


@given(
    st.lists(st.sampled_from([SECRET, b"h", b"hrr_", b"hrr_hrr_x", b"a\n", b"y"]), max_size=8),
    st.lists(st.integers(1, 9), min_size=1),
)
def test_the_secret_never_comes_out_and_nothing_else_is_lost(words: list[bytes], cuts: list[int]) -> None:
    text = b"".join(words)
    mask, out, at, turn = Mask(SECRET), b"", 0, 0
    while at < len(text):
        size = cuts[turn % len(cuts)]
        out += mask.take("stdout", text[at : at + size])
        at, turn = at + size, turn + 1
    out += mask.rest().get("stdout", b"")
    assert out == text.replace(SECRET, SHOWN)
    assert mask.rest() == {}


def test_streams_wait_apart_and_records_do_not_wait() -> None:
    mask = Mask(SECRET)
    assert mask.take("stdout", b"a hrr_") == b"a "
    assert mask.take("stderr", b"hrr_x\n") == b"hrr_x\n"
    assert mask.take("log", b"says " + SECRET + b" h") == b"says *** h"
    assert mask.take("stdout", b"z\n") == b"hrr_z\n"
    assert mask.rest() == {}
