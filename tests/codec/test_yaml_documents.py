from __future__ import annotations

import json
import math

import pytest
import yaml as pyyaml
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec import yaml
from headrace.model.errors import Invalid, TooLarge


@pytest.mark.parametrize(
    "text",
    ["on", "off", "yes", "no", "y", "n", "On", "True", "TRUE", "False", "FALSE", "12:30", "12:30:45", "1:1", "0600",
     "007", "-01", "+01", "00", "01.5", "2026-03-29", "2026-03-29T01:02:03Z", "1_000", "0b101", "0x", "0o8", "0xZZ",
     "1.2.3", "1e", "e1", ".", "--1", "+", "5s", "10m", "512M", "=", "nan", "inf", "x", "null x", "~x", "1,000"],
)  # fmt: skip
def test_what_surprises_people_stays_text(text):
    assert yaml.plain_scalar(text) == text
    assert yaml.loads(f"- {text} # comment".encode()) == [text]


@pytest.mark.parametrize(
    ("text", "value"),
    [("true", True), ("false", False), ("null", None), ("Null", None), ("NULL", None), ("~", None), ("", None),
     ("0", 0), ("-0", 0), ("12", 12), ("+5", 5), ("-7", -7), ("0x1F", 31), ("0o17", 15), ("1.5", 1.5), ("0.5", 0.5),
     (".5", 0.5), ("5.", 5.0), ("1e3", 1000.0), ("-1.5E-2", -0.015), ("+.5", 0.5), ("18446744073709551615", 2**64 - 1)],
)  # fmt: skip
def test_the_core_rules_of_yaml_1_2(text, value):
    read = yaml.loads(f"a: {text}".encode())["a"]
    assert read == value
    assert type(read) is type(value)


@pytest.mark.parametrize("text", ['"on"', "'12'", '"true"', "!!str 12", "! 12", "|\n  12", ">-\n  12"])
def test_what_is_quoted_is_text(text):
    read = yaml.loads(f"a: {text}".encode())["a"]
    assert isinstance(read, str)


@pytest.mark.parametrize(
    ("text", "message", "line", "column"),
    [
        ("a: 1\nb: 2\na: 3", "the key 'a' stands here twice", 3, 1),
        ("x: {a: 1, a: 2}", "the key 'a' stands here twice", 1, 11),
        ("a: &x\n  - *x", "stands inside itself", 2, 5),
        ("a: *nobody", "not known", 1, 4),
        ("[" * 5_000, "deeper than 100", 1, 101),
        ("- " * 101 + "x", "deeper than 100", 1, 201),
        ("a: .inf", "infinity", 1, 4),
        ("a: -.INF", "infinity", 1, 4),
        ("a: .nan", "not-a-number", 1, 4),
        ("a: 1e999", "too large for a double", 1, 4),
        ("a: 18446744073709551616", "beyond 64 bits", 1, 4),
        ("a: " + "9" * 10_000, "more than 1,000 digits", 1, 4),
        ("a: !!python/object/apply:os.system [id]", "only plain data", 1, 4),
        ("a: !!timestamp 2026-01-01", "only plain data", 1, 4),
        ("a: !!set {x}", "only plain data", 1, 4),
        ("a: !mine x", "only plain data", 1, 4),
        ("a: b: c", "mapping values are not allowed", 1, 5),
        ("x: 1\na: {day: ${params.day}}", "put texts with ${…} in quotes", 2, 11),
        ("a: 1\n---\nb: 2", "one document", 2, 1),
        ("a: 1\n1: x", "put it in quotes", 2, 1),
        ("true: x", "put it in quotes", 1, 1),
        ("? [a]\n: b", "a key must be text", 1, 3),
        ("a: 1\nb:\n  <<: {x: 1}", "merge keys", 3, 3),
        ("a:\n\t- b", "cannot start any token", 2, 1),
        ("a: \x01", "control characters", 1, 4),
        ('a: "x', "quoted scalar", 1, 6),
    ],
)
def test_bad_yaml_is_malformed_with_line_and_column(text, message, line, column):
    with pytest.raises(Invalid) as caught:
        yaml.loads(text.encode())
    (problem,) = caught.value.problems
    assert caught.value.status == 400
    assert message in problem.message
    assert (problem.line, problem.column) == (line, column)


def test_bytes_that_are_not_utf8_are_malformed_with_their_place():
    with pytest.raises(Invalid) as caught:
        yaml.loads(b"a: 1\nb: \xff")
    assert (caught.value.problems[0].line, caught.value.problems[0].column) == (2, 4)


@pytest.mark.parametrize("leaf", ["[x,x,x,x,x,x,x,x,x,x]", "{k: " + "x" * 100_000 + "}"])
def test_aliases_cannot_blow_up(leaf):
    lines = [f"a0: &a0 {leaf}"] + [f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(Invalid, match="aliases make the document larger"):
        yaml.loads("\n".join(lines).encode())


def test_aliases_cannot_hide_depth():
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 200)]
    with pytest.raises(Invalid, match="deeper than 100"):
        yaml.loads("\n".join(lines).encode())


def test_honest_aliases_are_read():
    text = b"base: &b {A: 1}\nx: *b\ny: &n text\nz: [*n, *n]"
    assert yaml.loads(text) == {"base": {"A": 1}, "x": {"A": 1}, "y": "text", "z": ["text", "text"]}


def test_a_document_beyond_the_limit_is_too_large():
    with pytest.raises(TooLarge):
        yaml.loads(b"a: " + b"x" * yaml.MAX_BYTES)


def test_every_path_has_its_place():
    text = b'name: x\ntasks:\n  - name: a\n    command: [curl,\n      "-f"]\n    env: {"a b": 1}\n'
    assert yaml.places(text) == {
        "": (1, 1), "name": (1, 1), "tasks": (2, 1), "tasks[0]": (3, 5), "tasks[0].name": (3, 5),
        "tasks[0].command": (4, 5), "tasks[0].command[0]": (4, 15), "tasks[0].command[1]": (5, 7),
        "tasks[0].env": (6, 5), 'tasks[0].env["a b"]': (6, 11),
    }  # fmt: skip


def test_an_empty_document_is_nothing_and_a_byte_order_mark_is_no_text():
    assert yaml.loads(b"") is None
    assert yaml.loads("\ufeffa: é".encode()) == {"a": "é"}


def test_the_reader_in_python_gives_the_same_as_the_one_in_c(monkeypatch):
    text = b"a: [1, on, {x: 0600}]\nb: |\n  text\nc: &q 5\nd: *q\n"
    first = (yaml.loads(text), yaml.places(text))
    monkeypatch.setattr(yaml, "_LOADER", pyyaml.SafeLoader)
    assert (yaml.loads(text), yaml.places(text)) == first


PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=10),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=15,
)


def printable(value) -> bool:
    text = json.dumps(value, ensure_ascii=False)
    return all(char.isprintable() for char in text) and "\ufeff" not in text


@given(PLAIN.filter(printable))
def test_json_is_yaml_and_means_the_same(value):
    def same(a, b):
        if isinstance(a, float) or isinstance(b, float):
            return math.isclose(a, b)
        return a == b

    text = json.dumps(value, ensure_ascii=False)
    read = yaml.loads(text.encode())
    assert same(read, json.loads(text))


@given(st.text(st.sampled_from("ab: -[]{}&*!|>'\"%#\n?,0159.~<"), max_size=60) | st.text(max_size=60))
def test_any_text_is_read_or_refused(text):
    try:
        yaml.loads(text.encode("utf-8", "surrogatepass"))
    except Invalid as error:
        assert error.problems[0].line  # noqa: PT017  both ways are right; the refusal must say where


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(data):
    try:
        yaml.loads(data)
    except Invalid as error:
        assert error.problems[0].line  # noqa: PT017  both ways are right; the refusal must say where
