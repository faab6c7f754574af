from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.durations import MAX_MILLIS, millis, size_bytes, text_of
from headrace.model.errors import Invalid


@pytest.mark.parametrize(
    ("text", "ms"),
    [("250ms", 250), ("5s", 5_000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000), ("1.5s", 1_500),
     ("0s", 0), ("0.1ms", 0), ("007s", 7_000), ("0.25h", 900_000)],
)  # fmt: skip
def test_a_duration_is_milliseconds(text, ms):
    assert millis(text) == ms


@pytest.mark.parametrize("text", ["", "5", "5 s", "-5s", "5S", "1w", "s", "1e3s", "5s\n", "٥s", "1.s", "9" * 400 + "d"])
def test_what_is_no_duration_is_refused(text):
    with pytest.raises(Invalid):
        millis(text)


@pytest.mark.parametrize(
    ("text", "size"), [("0", 0), ("512", 512), ("512K", 524_288), ("512M", 536_870_912), ("2G", 2**31), ("1T", 2**40)]
)
def test_a_size_is_bytes(text, size):
    assert size_bytes(text) == size


@pytest.mark.parametrize("text", ["", "1k", "1.5G", "-1", "1KB", "M", "1M\n", "9999999999T"])
def test_what_is_no_size_is_refused(text):
    with pytest.raises(Invalid):
        size_bytes(text)


@given(st.integers(0, MAX_MILLIS))
def test_a_duration_is_written_exactly(ms):
    assert millis(text_of(ms)) == ms


@pytest.mark.parametrize(("ms", "text"), [(0, "0s"), (-5, "0s"), (90_000, "90s"), (3_600_000, "1h"), (1, "1ms")])
def test_the_largest_exact_unit_is_chosen(ms, text):
    assert text_of(ms) == text


@given(st.text(max_size=30))
def test_any_text_is_a_duration_or_refused(text):
    for read in (millis, size_bytes):
        try:
            assert read(text) >= 0
        except Invalid:
            continue
