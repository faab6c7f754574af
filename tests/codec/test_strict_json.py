from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.strict_json import Scanner, loads, places, surely_strict
from headrace.model.errors import Invalid

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=5) | st.dictionaries(st.text(max_size=5), inner, max_size=5),
    max_leaves=30,
)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ('{"a":1,\n "a":2}', "the key 'a' stands here twice", 2, 2),
        ('{"a":1,"b":[{"x":1,"x" :2}]}', "the key 'x' stands here twice", 1, 20),
        ('{"\\u0061":1,"a":2}', "the key 'a' stands here twice", 1, 13),
        ('{"a":"\\":","b":1,"b":2}', "the key 'b' stands here twice", 1, 18),
        ("[1,2,]", "a value is expected", 1, 6),
        ("[NaN]", "NaN and Infinity", 1, 2),
        ("[-Infinity]", "NaN and Infinity", 1, 2),
        ("[1e999]", "too large for a double", 1, 2),
        ("[" + "1" * 10_000 + "]", "a number of 10,000 digits", 1, 2),
        ("[1." + "1" * 10_000 + "]", "a number of 10,001 digits", 1, 2),
        ("[18446744073709551616]", "beyond 64 bits", 1, 2),
        ("[" * 101 + "]" * 101, "deeper than 100", 1, 101),
        ("[" * 1_000_000, "deeper than 100", 1, 101),
        ('{"a":' * 100_000, "deeper than 100", 1, 501),
        ('{"a":1,\n "b":}', "a value is expected", 2, 6),
        ('["ab', "not closed", 1, 2),
        ('["a\nb"]', "control character", 1, 2),
        ('["\\x"]', 'bad "\\" code', 1, 2),
        ("", "ends too early", 1, 1),
        ("[1] 2", "more text behind", 1, 4),
        ('{"a" 1}', "colon", 1, 6),
        ("{1:2}", "key in double quotes", 1, 2),
        ("[1 2]", "a comma or the end", 1, 4),
        ("[01]", "is no JSON", 1, 2),
        ("{'a':1}", "is no JSON", 1, 2),
        ("[1}", "a comma or the end", 1, 3),
    ],
)
def test_bad_json_is_malformed_with_line_and_column(text, message, line, column):
    with pytest.raises(Invalid) as caught:
        loads(text.encode())
    (problem,) = caught.value.problems
    assert caught.value.status == 400
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_text_that_is_not_utf8_is_malformed():
    with pytest.raises(Invalid, match="UTF-8"):
        loads(b'{"a":\n "\xff"}')


def test_colons_and_quotes_inside_texts_are_no_keys():
    for value in ({"a": '":', "b": {"c": '"a":1'}}, {"a\\": 1, 'x":': 2}, {"": 1, " ": 2}):
        assert loads(json.dumps(value).encode()) == value
        assert loads(json.dumps(value, indent=1, separators=(" ,", " : ")).encode()) == value


def test_exactly_the_permitted_depth_is_read():
    assert loads(b"[" * 100 + b"]" * 100)


def test_every_path_has_its_place():
    assert places(b'{"a":1,\n "b c":[1,{"d":2}]}') == {
        "": (1, 1),
        "a": (1, 2),
        '["b c"]': (2, 2),
        '["b c"][0]': (2, 9),
        '["b c"][1]': (2, 11),
        '["b c"][1].d': (2, 12),
    }


@given(VALUES, st.sampled_from([None, 1]))
def test_good_json_is_read_as_the_standard_library_reads_it(value, indent):
    text = json.dumps(value, indent=indent)
    assert loads(text.encode()) == json.loads(text)
    Scanner(text).run()


@given(st.text(st.sampled_from('{}[]",:0123e-.\\u tfnrals'), max_size=40))
def test_the_scanner_and_msgspec_accept_the_same(text):
    try:
        msgspec.json.decode(text.encode())
        good = True
    except (msgspec.DecodeError, RecursionError):
        good = False
    try:
        Scanner(text).run()
        scanned = True
    except Invalid as error:
        scanned = "twice" in str(error) or "beyond 64" in str(error)
    assert scanned == good


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    try:
        loads(data)
    except Invalid as error:
        assert error.problems[0].line  # noqa: PT017  both ways are right; the refusal must say where


@given(VALUES)
def test_what_is_surely_strict_is_read_by_the_strict_reader(value: object) -> None:
    text = json.dumps(value).encode()
    assert surely_strict(text) <= (loads(text) == value)
    doubtful = b"{" in text or b"[" in text or re.search(rb"[0-9]{19}", text)
    assert surely_strict(b'{"a":' + text + b"}") or doubtful


@pytest.mark.parametrize(
    ("text", "sure"),
    [
        ('{"a":1,"b":{"a":2},"c":[{"a":1}]}', True),
        ('{"a":1,"a":1}', False),
        ('{"a":1,"\\u0061":1}', False),
        ('{"x":[{"a":1 , "a" : 1}]}', False),
        ("[" * 100 + "]" * 100, True),
        ("[" * 101 + "]" * 101, False),
        ('{"a":' * 101 + "1" + "}" * 101, False),
        ('{"a":18446744073709551616}', False),
        ('{"a":-100000000000000000000000}', False),
        ('{"a":100000000000000000,"b":1.5}', True),
    ],
)
def test_doubt_is_told_of_keys_twice_deep_nesting_and_long_numbers(text: str, sure: bool) -> None:
    assert surely_strict(text.encode()) is sure
