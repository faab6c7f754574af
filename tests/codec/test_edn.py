"""EDN by itself: what a text means, what is refused and where, and that writing gives back what was read."""

from __future__ import annotations

import datetime as dt
import math
from decimal import Decimal
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.edn import Char, Keyword, List, Map, Ratio, Set, Symbol, dumps, indented, loads, plain_loads
from headrace.codec.edn.values import ratio
from headrace.model.errors import Invalid, TooLarge

K, S = Keyword, Symbol
UID = UUID("f81d4fae-7dec-11d0-a765-00a0c91e6bf6")
NOON = dt.datetime(2026, 3, 29, 12, 0, 0, 123456, tzinfo=dt.UTC)

MEANINGS = [
    ("nil", None),
    ("true", True),
    ("false", False),
    ("0", 0),
    ("-0", 0),
    ("+5", 5),
    ("-17", -17),
    ("123456789012345678901234567890", 123456789012345678901234567890),
    ("42N", 42),
    ("0N", 0),
    ("1.5", 1.5),
    ("1e3", 1000.0),
    ("-2.5E-3", -0.0025),
    ("1.50M", Decimal("1.50")),
    ("3M", Decimal(3)),
    ("1E3M", Decimal("1E3")),
    ("22/7", Ratio(22, 7)),
    ("4/6", Ratio(2, 3)),
    ("4/2", 2),
    ("-6/4", Ratio(-3, 2)),
    ("##Inf", math.inf),
    ("##-Inf", -math.inf),
    (r"\a", Char("a")),
    (r"\newline", Char("\n")),
    (r"\space", Char(" ")),
    (r"\tab", Char("\t")),
    (r"\return", Char("\r")),
    (r"\formfeed", Char("\f")),
    (r"\backspace", Char("\b")),
    (r"\u00e9", Char("é")),
    (r"\u", Char("u")),
    (r"\(", Char("(")),
    (r"\"", Char('"')),
    (r"\;", Char(";")),
    (r"\\", Char("\\")),
    (r"\é", Char("é")),
    (r'"a\tb\r\n\\\"\b\f"', 'a\tb\r\n\\"\b\f'),
    (r'"\u00e9\ud83d\ude00"', "é😀"),
    ('"two\nlines ; no comment"', "two\nlines ; no comment"),
    (":a", K("a")),
    (":a.b/c-d?", K("a.b/c-d?")),
    (":a#b:c", K("a#b:c")),
    (":2xx", K("2xx")),
    ("foo", S("foo")),
    ("foo.bar/baz!", S("foo.bar/baz!")),
    ("/", S("/")),
    ("-", S("-")),
    ("+a", S("+a")),
    ("nilly", S("nilly")),
    ("[]", []),
    ("[1, 2 ,,3]", [1, 2, 3]),
    ("(1 [2] (3))", List([1, [2], List([3])])),
    ("{}", {}),
    ('{:a 1 "a" 2}', {K("a"): 1, "a": 2}),
    ("{1 :i 1.0 :f true :t}", Map([(1, K("i")), (1.0, K("f")), (True, K("t"))])),
    ("{[1 2] {:x 1}}", Map([([1, 2], {K("x"): 1})])),
    ("{nil 1}", Map([(None, 1)])),
    ("{{:a 1} #{2}}", Map([({K("a"): 1}, Set([2]))])),
    ("#{}", Set()),
    ("#{1 1.0 true :a a}", Set([1, 1.0, True, K("a"), S("a")])),
    ("#{#{1} #{2 3}}", Set([Set([1]), Set([3, 2])])),
    ('#:job{:name 1 :_/b 2 :x/c 3 sym 4 "s" 5}', Map([(K("job/name"), 1), (K("b"), 2), (K("x/c"), 3), (S("job/sym"), 4), ("s", 5)])),
    ("#:a {:b 1}", {K("a/b"): 1}),
    ("#:a{:b {:c 1}}", {K("a/b"): {K("c"): 1}}),
    ("#_1 2", 2),
    ("#_ #_ 1 2 3", 3),
    ("[#_ [1 {:a}] 2 #_3]".replace("{:a}", "{:a 1}"), [2]),
    ("{:a #_ :b 1 #_ :c}", {K("a"): 1}),
    ("#_ #unknown 1 2", 2),
    ("#_ #unknown [#other 1] 2", 2),
    ("; all\n1 ; of it\n;", 1),
    (f'#uuid "{UID}"', UID),
    ('#inst "2026-03-29T12:00:00.123456Z"', NOON),
    ('#inst "2026-03-29T14:00:00.123456+02:00"', NOON),
    ('#inst "2026-03-29T12:00:00.123456000-00:00"', NOON),
    ('#inst "2026-03-29"', dt.date(2026, 3, 29)),
    ('#inst #_ x "2026-03-29"', dt.date(2026, 3, 29)),
    ("\ufeffa"[1:], S("a")),
]  # fmt: skip


@pytest.mark.parametrize(("text", "value"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_a_text_means(text, value):
    read = loads(text.encode())
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize(("text", "value"), MEANINGS, ids=[text for text, _ in MEANINGS])
def test_what_was_read_is_written_so_that_it_reads_the_same(text, value):
    again = loads(dumps(value))
    assert again == value
    assert type(again) is type(value)
    assert loads(indented(dumps(value)).encode()) == value


def test_not_a_number_is_read_and_written():
    assert math.isnan(loads(b"##NaN"))
    assert dumps(math.nan) == b"##NaN"


REFUSED = [
    ("", "no value", 1, 1),
    ("  ; nothing\n ", "no value", 2, 2),
    ("1 2", "more text", 1, 4),
    ("007", "no number", 1, 1),
    ("1.", "no number", 1, 1),
    (".5", "means nothing", 1, 1),
    ("1.5N", "no number", 1, 1),
    ("1a", "no number", 1, 1),
    ("0x1F", "no number", 1, 1),
    ("1/0", "denominator 0", 1, 1),
    ("1/02", "no number", 1, 1),
    ("1e400", "too large", 1, 1),
    ("1e9999999M", "exponent", 1, 1),
    ("9" * 1_001, "1,000 digits", 1, 1),
    ("\n  ::a", "no keyword", 2, 3),
    (":", "no keyword", 1, 1),
    (":/a", "no keyword", 1, 1),
    (":a/", "no keyword", 1, 1),
    (":a/b/c", "no keyword", 1, 1),
    ("foo/bar/baz", "means nothing", 1, 1),
    ("'a", "means nothing", 1, 1),
    ("@a", "means nothing", 1, 1),
    ("`a", "means nothing", 1, 1),
    ("^{:a 1} b", "means nothing", 1, 1),
    (r"\foo", "no character", 1, 1),
    ("\\ ", "no character", 1, 1),
    ("\\", "no character", 1, 1),
    (r"\ud800", "no character", 1, 1),
    (r'"\x"', "no escape", 1, 1),
    (r'"\u12"', "no escape", 1, 1),
    (r'"\ud800"', "surrogate", 1, 1),
    ('[1\n "abc', "no end", 2, 2),
    ("[1 2", "] is missing", 1, 5),
    ("(1", ") is missing", 1, 3),
    ("{:a 1", "} is missing", 1, 6),
    ("#{1", "} is missing", 1, 4),
    ("[1)", "closes nothing", 1, 3),
    ("]", "nothing that ] could close", 1, 1),
    ("#_]", "closes nothing", 1, 3),
    ("{:a}", "the last key has none", 1, 4),
    ("{:a 1\n :a 2}", "':a' stands in this map twice", 2, 6),
    ('{"a" 1 "a" 2}', "'a' stands in this map twice", 1, 13),
    ("{1 1 1 2}", "1 stands in this map twice", 1, 9),
    ("#:a{:b 1 :a/b 2}", "':a/b' stands in this map twice", 1, 16),
    ("#{1 2 1}", "1 stands in this set twice", 1, 8),
    ("#{[1] (1)}", "stands in this set twice", 1, 10),
    ("#foo 1", "the tag #foo is not known", 1, 1),
    ("#inst 1", "RFC 3339", 1, 7),
    ('#inst "2026-02-30T00:00:00Z"', "is no instant", 1, 7),
    ('#inst "2026-03-29T12:00:00.1234567Z"', "microseconds", 1, 7),
    ('#inst "2026-03-29T12:00"', "RFC 3339", 1, 7),
    ('#inst "9999-12-31T23:59:59-23:59"', "is no instant", 1, 7),
    ('#uuid "f81d4fae"', "#uuid", 1, 7),
    ("#inst", "a tag stands before a value", 1, 6),
    ("[#inst]", "closes nothing here: a tag", 1, 7),
    ("#_", "#_ stands before a value", 1, 3),
    ("#", "means nothing", 1, 1),
    ("#1", "means nothing", 1, 1),
    ("##Foo", "no symbolic value", 1, 1),
    ("## Inf", "no symbolic value", 1, 1),
    ("#:a [1]", "before a map", 1, 5),
    ("#:a :b", "before a map", 1, 5),
    ("#:a #:b {}", "before a map", 1, 5),
    ("#: {}", "no namespace", 1, 1),
    ("[" * 101, "deeper than 100", 1, 101),
    ("#_ " * 101, "deeper than 100", 1, 301),
]


@pytest.mark.parametrize(("text", "words", "line", "column"), REFUSED, ids=[text[:20] for text, *_ in REFUSED])
def test_what_is_no_edn_is_refused_where_it_stands(text, words, line, column):
    with pytest.raises(Invalid) as caught:
        loads(text.encode())
    (problem,) = caught.value.problems
    assert words in problem.message
    assert (problem.line, problem.column) == (line, column)
    assert caught.value.status == 400


WITH_AN_END = [row for row in REFUSED if not row[0].startswith('"')]
"""A text without an end takes what is behind it."""


@pytest.mark.parametrize(("text", "words", "line", "column"), WITH_AN_END, ids=[text[:20] for text, *_ in WITH_AN_END])
def test_in_a_large_text_it_is_refused_at_the_same_place(text, words, line, column):
    with pytest.raises(Invalid) as caught:
        loads(text.encode() + b" " + b" " * 9_000)
    (problem,) = caught.value.problems
    assert words in problem.message
    if (problem.line, problem.column) != (line, column):
        assert (problem.line, problem.column) >= (line, 9_000)


def test_a_text_that_is_not_utf8_is_refused_where_it_stands():
    with pytest.raises(Invalid) as caught:
        loads(b"[1\n 2 \xff]")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)


def test_a_text_beyond_the_bound_is_too_large():
    with pytest.raises(TooLarge):
        loads(b" " * (16 * 1_048_576 + 1))


@pytest.mark.parametrize("text", ["18446744073709551616", "-9223372036854775809", "1/2", "foo", "##NaN", "##Inf", "[##-Inf]"])  # fmt: skip
def test_bodies_hold_nothing_that_json_cannot_carry(text):
    loads(text.encode())
    with pytest.raises(Invalid, match="text"):
        plain_loads(text.encode())
    assert plain_loads(f"#_ {text} 1".encode()) == 1


def test_members_that_python_calls_equal_stay_apart_and_many_that_collide_cost_nothing():
    assert len(loads(b"#{0 0.0 false}")) == 3
    modulus = 2**61 - 1
    members = " ".join(str(n * modulus) for n in range(1, 20_001))
    assert len(loads(f"#{{{members}}}".encode())) == 20_000


def test_an_instant_is_written_in_utc_and_a_lone_surrogate_as_its_escape():
    zone = dt.timezone(dt.timedelta(hours=2))
    assert dumps(dt.datetime(2026, 3, 29, 14, tzinfo=zone)) == b'#inst "2026-03-29T12:00:00Z"'
    assert dumps("\ud800") == b'"\\ud800"'


def _map(entries):
    return Map(entries)


SCALARS = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(), st.uuids(),
    st.decimals(allow_nan=False, allow_infinity=False).filter(lambda d: abs(d.as_tuple().exponent) < 6_000),
    st.datetimes(timezones=st.just(dt.UTC)), st.dates(),
    st.from_regex(r"[a-z][a-z0-9.?!-]{0,5}(/[a-z][a-z0-9]{0,5})?", fullmatch=True).map(Keyword),
    st.from_regex(r"[a-z_][a-z0-9.?!-]{0,5}(/[a-z][a-z0-9]{0,5})?", fullmatch=True).filter(lambda s: s not in ("nil", "true", "false")).map(Symbol),
    st.characters(exclude_categories=["Cs"], max_codepoint=0xFFFF).map(Char),
    st.builds(ratio, st.integers(), st.integers(min_value=1)),
)  # fmt: skip
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=4),
        st.lists(inner, max_size=4).map(List),
        st.lists(inner, max_size=4).map(Set),
        st.lists(st.tuples(inner, inner), max_size=3).map(_map),
        st.dictionaries(st.one_of(st.text(), st.sampled_from([Keyword("a"), Keyword("b/c")])), inner, max_size=3),
    ),
    max_leaves=12,
)


@given(VALUES)
def test_any_value_survives_writing_and_reading(value):
    again = loads(dumps(value))
    assert again == value
    assert dumps(again) == dumps(value)
    assert loads(indented(dumps(value)).encode()) == value
