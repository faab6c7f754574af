"""Plain data (from JSON, YAML, EDN, MessagePack) into records, with every problem at once.

``msgspec.convert`` does the work while all is well; only when it refuses is the type walked, to list all that is wrong
and to build what can be built of the rest. Never runs code from data and never raises anything but ``Invalid``.
Called by every border that takes documents or requests in.
"""

from __future__ import annotations

import datetime as dt
import decimal
import re
import uuid
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import inspect

from headrace.model.errors import Invalid, Problem
from headrace.model.naming import did_you_mean, path_text, shown

T = TypeVar("T")
Path = tuple[str | int, ...]

MAX_DEPTH = 100
"""Deepest nesting of data that comes from outside."""

MAX_HINTS = 500
"""How many nearest names one document gets; finding one takes about a millisecond."""

_BAD: Any = object()
_MSGSPEC_PATH = re.compile(r" - at `(?:key in )?\$?(.*)`\Z", re.DOTALL)
_SIMPLE: tuple[tuple[type, tuple[type, ...], str], ...] = (
    (inspect.StrType, (str,), "text"),
    (inspect.BoolType, (bool,), "true or false"),
    (inspect.IntType, (int,), "a whole number"),
    (inspect.FloatType, (int, float), "a number"),
    (inspect.NoneType, (type(None),), "null"),
    (inspect.ListType, (list, tuple), "a list"),
    (inspect.VarTupleType, (list, tuple), "a list"),
    (inspect.DictType, (dict,), "an object"),
    (inspect.StructType, (dict,), "an object"),
)


def shape(data: Any, type_: type[T]) -> T:
    """``data`` as a ``type_``. Raises ``Invalid`` with every problem, each with its path."""
    try:
        return msgspec.convert(data, type_, str_keys=True)
    except (msgspec.ValidationError, RecursionError, OverflowError):
        problems = problems_of(data, type_)
        raise Invalid(_headline(len(problems)), problems=tuple(problems)) from None


def problems_of(data: Any, type_: Any) -> list[Problem]:
    """Everything that keeps ``data`` from being a ``type_``; empty when nothing does."""
    return salvage(data, type_)[1]


def salvage(data: Any, type_: type[T]) -> tuple[T | None, list[Problem]]:
    """What could be built of ``data`` and every problem.

    With problems the value is only good for finding more of them: texts that break a pattern stay in it, fields
    of a wrong type have their default. None when not even the outermost record could be built.
    """
    try:
        return msgspec.convert(data, type_, str_keys=True), []
    except (msgspec.ValidationError, RecursionError, OverflowError) as error:
        refused = str(error)
    walker = _Walker()
    value = walker.walk(inspect.type_info(type_), data, ())
    if not walker.problems:
        found = _MSGSPEC_PATH.search(refused)
        where = found.group(1).lstrip(".") if found else ""
        walker.problems.append(Problem(where, _MSGSPEC_PATH.sub("", refused)))
    return (None if value is _BAD else value), walker.problems


def kind_of(value: Any) -> str:
    """What came, in words: ``text 'abc'``, ``the number 3``, ``a list``."""
    if value is None:
        return "nothing (null)"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float)):
        return f"the number {shown(value)}"
    if isinstance(value, str):
        return f"the text {shown(value)}"
    if isinstance(value, (list, tuple)):
        return "a list"
    return "an object" if isinstance(value, dict) else f"the {type(value).__name__.lower()} {shown(str(value))}"


def _headline(count: int) -> str:
    return "1 problem" if count == 1 else f"{count} problems"


class _Walker:
    """Walks a type and data side by side; collects problems and builds what it can."""

    def __init__(self, hints: list[int] | None = None) -> None:
        self.problems: list[Problem] = []
        self._hints = [MAX_HINTS] if hints is None else hints

    def walk(self, info: inspect.Type, data: Any, path: Path) -> Any:
        """The value, or ``_BAD`` when nothing of that type can be made of the data."""
        if len(path) > MAX_DEPTH:
            return self._bad(path, f"nested deeper than {MAX_DEPTH} levels")
        description = ""
        if isinstance(info, inspect.Metadata):
            description = str((info.extra_json_schema or {}).get("description", ""))
            info = info.type
        if isinstance(info, inspect.AnyType):
            return data
        if isinstance(info, inspect.UnionType):
            return self._union(info, data, path)
        if isinstance(info, inspect.LiteralType):
            return self._literal(info, data, path)
        for type_, accepted, words in _SIMPLE:
            if isinstance(info, type_):
                if not _is(data, accepted):
                    return self._bad(path, _expected(words, data, description))
                return self._simple(info, data, path, description)
        return self._other(info, data, path)

    def _simple(self, info: Any, data: Any, path: Path, description: str) -> Any:
        if isinstance(info, inspect.StructType):
            return self._other(info, data, path) if info.array_like else self._struct(info, data, path)
        if isinstance(info, inspect.DictType):
            self._length(info, data, path, "entries")
            return self._dict(info, data, path)
        if isinstance(info, (inspect.ListType, inspect.VarTupleType)):
            self._length(info, data, path, "entries")
            items = [self.walk(info.item_type, item, (*path, at)) for at, item in enumerate(data)]
            return [_placeholder(info.item_type) if item is _BAD else item for item in items]
        if isinstance(info, inspect.StrType):
            self._length(info, data, path, "characters")
            if info.pattern is not None and re.search(info.pattern, data) is None:
                words = description or f"must match {info.pattern}"
                self._bad(path, f"{shown(data)} does not fit: {words}")
        elif isinstance(info, (inspect.IntType, inspect.FloatType)):
            self._bounds(info, data, path)
        return data

    def _struct(self, info: inspect.StructType, data: dict[Any, Any], path: Path) -> Any:
        fields = {field.encode_name: field for field in info.fields}
        known = set(fields) | ({info.tag_field} if info.tag_field else set())
        made: dict[str, Any] = {}
        for key, value in data.items():
            field = fields.get(key) if isinstance(key, str) else None
            if field is not None:
                built = self.walk(field.type, value, (*path, key))
                if built is not _BAD:
                    made[field.name] = built
            elif info.forbid_unknown_fields and key not in known:
                free = [name for name in fields if name not in data]
                near = self._near(str(key), free) or self._near(str(key), list(fields))
                self._bad((*path, str(key)), f"unknown field{near}")
        for name, field in fields.items():
            if field.required and name not in data:
                self._bad(path, f"the field {name!r} is missing")
            if field.required and field.name not in made:
                made[field.name] = _placeholder(field.type)
        try:
            return info.cls(**made)
        except (TypeError, ValueError) as error:
            return self._bad(path, str(error))

    def _dict(self, info: inspect.DictType, data: dict[Any, Any], path: Path) -> dict[Any, Any]:
        made: dict[Any, Any] = {}
        for key, value in data.items():
            if not isinstance(key, str):
                self._bad((*path, str(key)), f"a key must be text, not {kind_of(key)}; put it in quotes")
                continue
            inner = (*path, key)
            if not isinstance(info.key_type, (inspect.StrType, inspect.AnyType)):
                self._other(info.key_type, key, inner, strict=False)
            elif isinstance(info.key_type, inspect.StrType):
                self._simple(info.key_type, key, inner, "")
            built = self.walk(info.value_type, value, inner)
            if built is not _BAD:
                made[key] = built
        return made

    def _union(self, info: inspect.UnionType, data: Any, path: Path) -> Any:
        fitting = [option for option in info.types if _fits(option, data)]
        if not fitting:
            return self._bad(path, _expected(" or ".join(map(_words, info.types)), data))
        if isinstance(data, dict) and all(isinstance(option, inspect.StructType) for option in fitting):
            tags = {str(option.tag): option for option in fitting if option.tag is not None}  # type: ignore[attr-defined]  # all are StructType: tested above
            if len(tags) == len(fitting):
                return self._tagged(fitting[0], tags, data, path)
        tries: list[tuple[Any, list[Problem]]] = []
        for option in fitting:
            probe = _Walker(self._hints)
            tries.append((probe.walk(option, data, path), probe.problems))
        value, problems = min(tries, key=lambda tried: len(tried[1]))
        self.problems.extend(problems)
        return value

    def _tagged(self, first: Any, options: dict[str, Any], data: dict[Any, Any], path: Path) -> Any:
        tag = data.get(first.tag_field)
        option = options.get(str(tag))
        if option is None:
            near = self._near(tag, list(options)) if isinstance(tag, str) else ""
            return self._bad((*path, first.tag_field), f"{_expected('one of ' + ', '.join(options), tag)}{near}")
        return self._struct(option, data, path)

    def _literal(self, info: inspect.LiteralType, data: Any, path: Path) -> Any:
        if any(data == value and type(data) is type(value) for value in info.values):
            return data
        names = [str(value) for value in info.values]
        near = self._near(data, names) if isinstance(data, str) else ""
        return self._bad(path, f"{_expected('one of ' + ', '.join(names), data)}{near}")

    def _other(self, info: Any, data: Any, path: Path, *, strict: bool = True) -> Any:
        """Types that JSON has no words for (instants, uuids, enums, ...): as msgspec sees them, one at a time."""
        target = getattr(info, "cls", None) or _NATIVE.get(type(info).__name__)
        if target is None:
            return data
        try:
            return msgspec.convert(data, target, str_keys=True, strict=strict)
        except (msgspec.ValidationError, ValueError, OverflowError) as error:
            return self._bad(path, _MSGSPEC_PATH.sub("", str(error)))

    def _length(self, info: Any, data: Any, path: Path, unit: str) -> None:
        if info.min_length is not None and len(data) < info.min_length:
            self._bad(path, f"must have at least {info.min_length:,} {unit}, not {len(data):,}")
        if info.max_length is not None and len(data) > info.max_length:
            self._bad(path, f"may have at most {info.max_length:,} {unit}, not {len(data):,}")

    def _bounds(self, info: Any, data: float, path: Path) -> None:
        for name, holds, words in _BOUNDS:
            limit = getattr(info, name)
            if limit is not None and not holds(data, limit):
                self._bad(path, f"must be {words} {limit:,}, not {shown(data)}")

    def _near(self, name: str, known: list[str]) -> str:
        if self._hints[0] <= 0:
            return ""
        self._hints[0] -= 1
        return did_you_mean(name, known)

    def _bad(self, path: Path, message: str) -> Any:
        self.problems.append(Problem(path_text(path), message))
        return _BAD


_BOUNDS: tuple[tuple[str, Callable[[float, float], bool], str], ...] = (
    ("ge", lambda value, limit: value >= limit, "at least"),
    ("gt", lambda value, limit: value > limit, "more than"),
    ("le", lambda value, limit: value <= limit, "at most"),
    ("lt", lambda value, limit: value < limit, "less than"),
)
_NATIVE: dict[str, Any] = {
    "DateTimeType": dt.datetime,
    "DateType": dt.date,
    "TimeType": dt.time,
    "TimeDeltaType": dt.timedelta,
    "UUIDType": uuid.UUID,
    "DecimalType": decimal.Decimal,
    "BytesType": bytes,
    "IntType": int,
    "FloatType": float,
}


def _is(data: Any, accepted: tuple[type, ...]) -> bool:
    if isinstance(data, bool):
        return bool in accepted
    return isinstance(data, accepted)


def _fits(info: inspect.Type, data: Any) -> bool:
    if isinstance(info, inspect.Metadata):
        info = info.type
    for type_, accepted, _ in _SIMPLE:
        if isinstance(info, type_):
            return _is(data, accepted)
    if isinstance(info, inspect.LiteralType):
        return any(type(data) is type(value) for value in info.values)
    return True


def _words(info: inspect.Type) -> str:
    if isinstance(info, inspect.Metadata):
        return _words(info.type)
    if isinstance(info, inspect.LiteralType):
        return "one of " + ", ".join(map(str, info.values))
    for type_, _, words in _SIMPLE:
        if isinstance(info, type_):
            return words
    return type(info).__name__


def _expected(words: str, data: Any, description: str = "") -> str:
    hint = ""
    if description:
        words = f"{words} ({description})"
    elif words.startswith(("text", "one of")) and isinstance(data, (int, float)):
        hint = "; put it in quotes"
    elif words == "a list" and isinstance(data, str):
        hint = f"; write it as [{', '.join(data.split())}]" if 0 < len(data) <= 40 and data.isprintable() else ""
    return f"expected {words}, not {kind_of(data)}{hint}"


def _placeholder(info: inspect.Type) -> Any:
    """Something of the type that stands where the data was unusable, so that places behind it keep their number."""
    if isinstance(info, inspect.Metadata):
        info = info.type
    if isinstance(info, inspect.UnionType):
        return _placeholder(info.types[0])
    if isinstance(info, inspect.StructType):
        return info.cls(**{field.name: _placeholder(field.type) for field in info.fields if field.required})
    if isinstance(info, (inspect.ListType, inspect.VarTupleType)):
        return []
    if isinstance(info, inspect.DictType):
        return {}
    return ""
