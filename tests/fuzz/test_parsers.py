"""Every parser of what strangers send: whatever comes, a value or an error of ours with a sentence, and at once.

A few thousand texts each in every run; a million each in the tail, in shards. A finding names its text.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any, NamedTuple

import msgspec
import pytest
from mutation import Mutator, fuzz

from headrace.codec import edn, strict_json, yaml
from headrace.codec.documents import definition_from, read_document
from headrace.codec.wire import MSGPACK, plain
from headrace.control.api.cursors import cursor_of
from headrace.control.api.events import _position
from headrace.control.api.logbook import Place, Position, position_of
from headrace.control.api.runs import _after
from headrace.control.credentials import mint_run_token, verify_run_token
from headrace.control.events.cursor import Cursor, read_cursor
from headrace.core.check import check
from headrace.core.durations import instant_us, millis, size_bytes, text_of
from headrace.core.expression import MISSING, MissingValue, parse, render

SHORT, LONG, SHARDS = 2_500, 1_000_000, 4
SELDOM = {"definitions": 50, "json": 4, "messagepack": 4}
"""One text of so many: the name that was meant takes milliseconds to find; others are no readers of ours."""
EDN = [
    b'{:job/name "j" :job/tasks [{:task/name "a" :task/command ["x" "${params.a}"] :task/retries {:max 3}}]}',
    b'#:run{:id 4711 :state :succeeded :labels {"a" "b"} :created_at #inst "2026-03-29T12:00:00.123Z"}',
    b"[1 -2.5e3 3N 1.5M 2/3 \\a \\newline \\u00e9 #{1 2} (a b/c) ##Inf #_ #x y nil true ; c\n]",
    b'{#uuid "f81d4fae-7dec-11d0-a765-00a0c91e6bf6" [:a], {:b "\\u00e9\\n"} #{}}',
]
EDN_WORDS = [b"#_", b"#{", b"#:a{", b"#inst ", b"#uuid ", b"##NaN", b"##Inf", b"##", b":a", b":a/b", b"::", b"/", b"N", b"M", b"\\newline",
             b"\\u12", b"#x ", b"^", b'"2026-03-29"', b"\\ ", b":job/name", b"1/2", b"#:", b"##-Inf", b'\\"', b"nil"]  # fmt: skip
YAML = [
    b'name: j\ntasks:\n  - name: a\n    command: [x, "${params.a}"]\n    retries: {max: 3, delay: 5s}\n',
    b"a: &x {b: [1, 2.5, ~, true]}\nc: *x\nd: |\n  text\n  more\ne: >-\n  folded\n",
    b"- 0o17\n- 0x1f\n- 'q''q'\n- \"\\x41\\u00e9\"\n- !!str 1\n- ? a\n  : b\n",
]
YAML_WORDS = [b"\n  ", b"\n- ", b": ", b"- ", b"? ", b"&a ", b"*a", b"!!int ", b"!!binary ", b"!x ", b"%YAML 1.1\n", b"---\n", b"...\n", b"|2-\n",
              b">+\n", b"<<: *a", b"~", b"#c\n", b"{a: ", b"[", b"0o7", b".inf", b"\\x4"]  # fmt: skip
EXPRESSIONS = [b"${params.a}", b'x ${tasks.a.result.b[3].c["any key"] ?? item ?? "lit\\"eral"} y', b"$${no} ${index}${run.id}", b"${fire.date}"]  # fmt: skip
EXPRESSION_WORDS = [
    b"${",
    b"}",
    b"??",
    b".",
    b"[",
    b"]",
    b'["',
    b'"]',
    b"params",
    b"tasks",
    b".result",
    b"item",
    b"$$",
    b"[0]",
    b'"',
    b"\\",
]
JSON = [b'{"name":"j","tasks":[{"name":"a","command":["x"],"with":{"a":[1,2.5e3,null,true,"\\u00e9"]}}]}', b'[{"a":{"b":{}}},-0.5,"x"]', b'{"a": 1, "b" : [ ]}']  # fmt: skip
PACKED = [msgspec.msgpack.encode(msgspec.json.decode(text)) for text in JSON]
PACKED += [
    b"\x82\xa1a\xca\x3f\x80\x00\x00\xd9\x01b\xcd\x00\x01",
    b"\xde\x00\x01\xda\x00\x01a\xdd\x00\x00\x00\x01\xcf" + b"\x00" * 8,
]
PACKED_WORDS = [bytes((n,)) for n in (0x80, 0x81, 0x82, 0x90, 0x91, 0xA0, 0xA1, 0xC0, 0xC1, 0xC4, 0xC7, 0xCA, 0xCB, 0xCF, 0xD3, 0xD4, 0xD6, 0xD9, 0xDB, 0xDC, 0xDD, 0xDE, 0xDF, 0xFF)]  # fmt: skip
DURATIONS = [
    b"250ms",
    b"5s",
    b"10m",
    b"2h",
    b"1.5d",
    b"512K",
    b"2G",
    b"2026-03-29T01:30:00Z",
    b"2026-03-29T01:30:00.123456+02:00",
]
CURSORS = [
    cursor_of((1_790_000_000_000_000, 4711)).encode(),
    Position(places=[Place(1, -1, 2, 3)]).text().encode(),
    Cursor(7, 8, 9, 1, 2).text().encode(),
    base64.urlsafe_b64encode(msgspec.msgpack.encode(17)),
    mint_run_token(b"s" * 32, 1, 0, epoch=1, expires_at=2**60).encode(),
]
CURSOR_WORDS = [base64.urlsafe_b64encode(word) for word in PACKED_WORDS] + [b"=", b"-", b"_", b"hrr_"]


def read_edn(text: bytes) -> None:
    """What is read reads the same when it is written, and every part of it has its place."""
    value = edn.loads(text)
    again = edn.dumps(value)
    assert edn.dumps(edn.loads(again)) == again
    edn.places(text)
    msgspec.json.encode(edn.read_plain(text, Any))


def read_yaml(text: bytes) -> None:
    """What comes out is JSON."""
    value = yaml.loads(text)
    assert strict_json.loads(msgspec.json.encode(value)) == value
    yaml.places(text)


def read_json(text: bytes) -> None:
    """Strictly, with places."""
    strict_json.loads(text)
    strict_json.places(text)


def read_packed(text: bytes) -> None:
    """What comes out is JSON, whose numbers are told as such."""
    value = plain(text, MSGPACK)
    assert msgspec.json.decode(msgspec.json.encode(value)) == value


def read_definition(text: bytes) -> None:
    """As a definition, in the format that it looks like."""
    definition_from(read_document(text), check)


class Nothing:
    """A scope in which nothing has a value but numbers and texts."""

    def lookup(self, root: str, path: tuple[str | int, ...]) -> Any:
        """By the length of the path."""
        return (MISSING, "text", 3)[len(path) % 3]


def read_expression(text: bytes) -> None:
    """Parsed and rendered."""
    template = text.decode(errors="surrogateescape")
    parse(template)
    try:
        render(template, Nothing())
    except MissingValue:
        return


def read_duration(text: bytes) -> None:
    """As a duration, a size and an instant: each may refuse it, none may fail."""
    words = text.decode(errors="surrogateescape")
    for reader in (millis, size_bytes, instant_us):
        try:
            value = reader(words)
        except ValueError as error:
            raise AssertionError(f"{reader.__name__}: {error!r}") from error
        except Exception as error:
            if getattr(error, "status", 500) >= 500:
                raise
        else:
            assert reader is not millis or millis(text_of(value)) == value


def read_cursors(text: bytes) -> None:
    """As each kind of cursor and as a run's token."""
    words = text.decode(errors="surrogateescape")
    for reader in (_after, position_of, _position, read_cursor, lambda word: verify_run_token(b"s" * 32, word, 0)):
        try:
            reader(words)
        except Exception as error:
            if getattr(error, "status", 500) >= 500:
                raise


class Target(NamedTuple):
    """A parser and what its language looks like. ``dull``: it never says no as a whole."""

    read: Callable[[bytes], None]
    good: list[bytes]
    words: list[bytes]


TARGETS = {
    "edn": Target(read_edn, EDN, EDN_WORDS),
    "yaml": Target(read_yaml, YAML, YAML_WORDS),
    "json": Target(read_json, JSON, EDN_WORDS),
    "messagepack": Target(read_packed, PACKED, PACKED_WORDS),
    "expressions": Target(read_expression, EXPRESSIONS, EXPRESSION_WORDS),
    "definitions": Target(read_definition, EDN[:1] + YAML[:1] + JSON[:1], EDN_WORDS + YAML_WORDS),
    "durations": Target(read_duration, DURATIONS, [b"ms", b"s", b"d", b"T", b"Z", b"+02:00", b".5", b"K"]),
    "cursors": Target(read_cursors, CURSORS, CURSOR_WORDS),
}


@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_says_yes_or_no_and_never_fails(name: str) -> None:
    target = TARGETS[name]
    accepted = fuzz(target.read, Mutator(1, target.good, target.words), SHORT // SELDOM.get(name, 1))
    assert accepted > 0


@pytest.mark.tail
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("shard", range(SHARDS))
@pytest.mark.parametrize("name", TARGETS)
def test_a_parser_says_yes_or_no_a_million_times(name: str, shard: int) -> None:
    target = TARGETS[name]
    fuzz(target.read, Mutator(1_000 + shard, target.good, target.words), LONG // SHARDS // SELDOM.get(name, 1))


def test_the_fuzzer_finds_what_is_wrong() -> None:
    def fragile(text: bytes) -> None:
        if b"[[" in text:
            raise RecursionError

    with pytest.raises(AssertionError, match="RecursionError"):
        fuzz(fragile, Mutator(1, [b"[]"], []), 10_000)
    mutator = Mutator(5, EDN, EDN_WORDS)
    again = Mutator(5, EDN, EDN_WORDS)
    assert [mutator.text() for _ in range(100)] == [again.text() for _ in range(100)]
