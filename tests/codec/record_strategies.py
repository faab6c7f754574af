"""Hypothesis strategies for any of our records, made from the types themselves. Used by the property tests of the wires."""

from __future__ import annotations

import datetime as dt
import re
from functools import cache
from typing import Any

from hypothesis import strategies as st
from msgspec import inspect

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
KEYS = st.one_of(st.sampled_from(["a", "a b", ":a", "job/name", "", "ü"]), TEXT)
WHOLE = st.integers(min_value=-(2**63), max_value=2**64 - 1)
NUMBERS = st.floats(allow_nan=False, allow_infinity=False)
DATA = st.recursive(
    st.one_of(st.none(), st.booleans(), WHOLE, NUMBERS, TEXT),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)
INSTANTS = st.datetimes(min_value=dt.datetime(1970, 1, 1), max_value=dt.datetime(9000, 1, 1), timezones=st.just(dt.UTC))  # noqa: DTZ001 # the zone comes beside
DEEPEST = 3
EXAMPLES = (
    "a",
    "b-1",
    "x_y",
    "5s",
    "250ms",
    "1.5h",
    "512",
    "512M",
    "2G",
    "2026-03-29",
    "02:00",
    "23:59:30",
    "CH",
    "US-CA",
)
"""Texts for fields that have a pattern."""
_LEAVES: dict[type, Any] = {
    inspect.AnyType: DATA,
    inspect.BoolType: st.booleans(),
    inspect.NoneType: st.none(),
    inspect.DateTimeType: INSTANTS,
    inspect.DateType: st.dates(),
    inspect.UUIDType: st.uuids(),
    inspect.DecimalType: st.decimals(allow_nan=False, allow_infinity=False, places=3),
    inspect.BytesType: st.binary(max_size=8),
    inspect.RawType: DATA,
}


def records(type_: Any) -> st.SearchStrategy[Any]:
    """Values of a type."""
    return _values(inspect.type_info(type_), 0)


def _values(info: inspect.Type, depth: int) -> st.SearchStrategy[Any]:
    if isinstance(info, inspect.Metadata):
        return _values(info.type, depth)
    if isinstance(info, inspect.UnionType):
        return st.one_of([_values(option, depth) for option in _shallow(info.types, depth)])
    if isinstance(info, (inspect.LiteralType,)):
        return st.sampled_from(info.values)
    if isinstance(info, inspect.EnumType):
        return st.sampled_from(list(info.cls))
    if isinstance(info, inspect.StrType):
        return TEXT if info.pattern is None else _matching(info.pattern)
    if isinstance(info, inspect.IntType):
        return _whole(info)
    if isinstance(info, inspect.FloatType):
        return (
            NUMBERS
            if info.ge is None
            else st.floats(min_value=info.ge, max_value=info.le, allow_nan=False, allow_infinity=False)
        )
    if isinstance(info, inspect.StructType):
        return st.deferred(lambda: _of_class(info.cls, depth + 1))
    if isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        least, most = info.min_length or 0, 0 if depth > DEEPEST else 2
        made = st.lists(_values(info.item_type, depth + 1), min_size=least, max_size=max(least, most))
        return made if isinstance(info, inspect.ListType) else made.map(tuple)
    if isinstance(info, inspect.TupleType):
        return st.tuples(*[_values(item, depth + 1) for item in info.item_types])
    if isinstance(info, inspect.DictType):
        keys = (
            KEYS
            if isinstance(info.key_type, inspect.StrType) and info.key_type.pattern is None
            else _values(info.key_type, depth)
        )
        return st.dictionaries(keys, _values(info.value_type, depth + 1), max_size=2)
    return _LEAVES[type(info)]


@cache
def _matching(pattern: str) -> st.SearchStrategy[str]:
    return st.sampled_from(sorted({example for example in EXAMPLES if re.search(pattern, example)}))


@cache
def _of_class(record: type, depth: int) -> st.SearchStrategy[Any]:
    return _record(inspect.type_info(record), depth)


def _whole(info: inspect.IntType) -> st.SearchStrategy[int]:
    least = info.ge if info.ge is not None else info.gt + 1 if info.gt is not None else -(2**63)
    most = info.le if info.le is not None else info.lt - 1 if info.lt is not None else 2**63 - 1
    return st.integers(min_value=least, max_value=most)


def _shallow(options: tuple[inspect.Type, ...], depth: int) -> list[inspect.Type]:
    """Without records where it is deep enough, as long as something is left."""
    flat = [option for option in options if not isinstance(option, inspect.StructType)]
    return flat if depth > DEEPEST and flat else list(options)


def _record(info: Any, depth: int) -> st.SearchStrategy[Any]:
    """All fields that must be there, and a few of the others."""
    needed = {field.name: _values(field.type, depth) for field in info.fields if field.required}
    others = {field.name: field.type for field in info.fields if not field.required}
    if not others or depth > DEEPEST:
        return st.builds(info.cls, **needed)

    def with_some(names: list[str]) -> st.SearchStrategy[Any]:
        return st.builds(info.cls, **needed, **{name: _values(others[name], depth) for name in names})

    return st.lists(st.sampled_from(sorted(others)), unique=True, max_size=5).flatmap(with_some)
