"""Values between tasks: what goes out comes back by the receiver's annotation; what cannot says what to do instead."""

from __future__ import annotations

import dataclasses
import enum
import math
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

import headrace
from headrace.author.values import Receiver, converter, dump, encode
from headrace.model.errors import Invalid


class Colour(enum.Enum):
    red = "r"
    blue = "b"


@dataclasses.dataclass
class Point:
    x: int
    when: date


class Pair(NamedTuple):
    a: int
    b: str


class Row(TypedDict):
    n: int


class Record(msgspec.Struct):
    d: Decimal
    tags: set[str]


JSONISH = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53), 2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)
TYPED: list[tuple[Any, st.SearchStrategy[Any]]] = [
    (Any, JSONISH),
    (date, st.dates()),
    (datetime, st.datetimes(timezones=st.just(UTC))),
    (time, st.times()),
    (timedelta, st.timedeltas(min_value=timedelta(days=-1000), max_value=timedelta(days=1000))),
    (Decimal, st.decimals(allow_nan=False, allow_infinity=False)),
    (uuid.UUID, st.uuids()),
    (Colour, st.sampled_from(Colour)),
    (bytes, st.binary()),
    (set[int], st.sets(st.integers(-(2**53), 2**53))),
    (tuple[int, str], st.tuples(st.integers(0, 9), st.text())),
    (Point, st.builds(Point, st.integers(0, 9), st.dates())),
    (Pair, st.builds(Pair, st.integers(0, 9), st.text())),
    (Row, st.fixed_dictionaries({"n": st.integers(0, 9)})),
    (Record, st.builds(Record, st.decimals(allow_nan=False, allow_infinity=False), st.sets(st.text()))),
    (dict[str, list[date]], st.dictionaries(st.text(), st.lists(st.dates(), max_size=3), max_size=3)),
    (date | None, st.none() | st.dates()),
    (date | str, st.dates()),
]


@pytest.mark.parametrize(("kind", "values"), TYPED, ids=[str(k) for k, _ in TYPED])
def test_a_value_comes_back_as_it_went(kind: Any, values: st.SearchStrategy[Any]) -> None:
    convert = converter(kind)

    @given(values)
    def prove(value: Any) -> None:
        assert convert(dump(value)) == value

    prove()


@pytest.mark.parametrize(
    "value",
    [object(), Path("x"), lambda: 1, [object()]],
    ids=["object", "path", "function", "list"],
)
def test_anything_else_says_what_to_do_instead(value: Any) -> None:
    with pytest.raises(Invalid, match=r"ctx\.outputs"):
        encode(value)


@dataclasses.dataclass
class Numbers:
    one: float
    two: float


@pytest.mark.parametrize("value", [math.nan, [1.0, {"a": (-math.inf,)}], Numbers(1.0, math.inf), iter([1.0, math.nan])])
def test_a_number_that_json_has_not_is_refused_and_never_becomes_null(value: Any) -> None:
    with pytest.raises(Invalid, match="JSON has none such"):
        encode(value)


def test_null_stays_null_beside_numbers_and_texts() -> None:
    assert encode([None, 1.5, "null", {"a": None}]).data == b'[null,1.5,"null",{"a":null}]'


@pytest.mark.parametrize("key", [(1, 2), None, True, frozenset({1})], ids=str)
def test_a_key_that_json_has_not_is_named(key: object) -> None:
    with pytest.raises(Invalid, match=f"key of type {type(key).__name__} .*list of pairs"):
        encode([{"deep": {key: 1}}])


def test_iterators_become_lines_and_are_received_as_lists_or_iterators() -> None:
    encoded = encode(iter([1, 2]))
    assert (encoded.data, encoded.lines, encoded.count) == (b"1\n2\n", True, 2)
    assert next(converter(Iterator[int])(b"[1,2]")) == 1


def call(fn: Callable[..., Any], text: bytes) -> Any:
    args, kwargs = Receiver(fn).arguments(text)
    return fn(*args, **kwargs)


def test_arguments_of_every_shape_are_placed() -> None:
    def f(a: int, /, b: date, *rest: Decimal, c: str = "c", **more: set[int]) -> Any:
        return a, b, rest, c, more

    assert call(f, b'{"a":1,"b":"2026-01-02","rest":["1.5"],"z":[1,1]}') == (
        1, date(2026, 1, 2), (Decimal("1.5"),), "c", {"z": {1}},
    )  # fmt: skip


@pytest.mark.parametrize("text", [b'{"a":"x"}', b"{}", b'{"a":1,"b":2}'])
def test_arguments_that_do_not_fit_are_refused_by_name(text: bytes) -> None:
    def f(a: int) -> None: ...

    with pytest.raises(Invalid, match=r"['\"][ab]['\"]"):
        call(f, text)


def test_importing_headrace_needs_nothing_but_msgspec_at_most_and_its_names_are_pinned() -> None:
    code = "import sys; before = set(sys.modules); import headrace; print(sorted({m.split('.')[0] for m in set(sys.modules) - before}))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "['__future__', 'headrace']\n"
    code = "import sys; from headrace import *; print([m for m in sys.modules if m.split('.')[0] in ('apsw','uvicorn','starlette','yaml','rich','cyclopts') or m.startswith(('headrace.store','headrace.control','headrace.agent','headrace.cli.','headrace.core'))])"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"
    assert headrace.__all__ == sorted(headrace.__all__)
    assert all(getattr(headrace, name) is not None for name in headrace.__all__)
