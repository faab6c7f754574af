"""EDN into our records: keywords of the right namespace become field names, EDN's own values what the field wants.

The type is walked beside the value, once prepared per record class. What comes out is plain data, as any other wire
gives, so that all that follows (shape, rules, problems with paths) is the same. Called by ``codec.wire``.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from functools import lru_cache
from typing import Any, Final, TypeVar
from uuid import UUID

from msgspec import inspect

from headrace.codec.edn.places import places
from headrace.codec.edn.read import plain_loads
from headrace.codec.edn.values import Char, Keyword, List, Map, Set
from headrace.codec.edn.write import namespace_of
from headrace.codec.shape import shape
from headrace.codec.strict_json import malformed
from headrace.model.naming import path_text

T = TypeVar("T")
_SIMPLE: Final = frozenset({str, int, float, bool, type(None)})


class _Misfit(Exception):
    """Something that cannot be plain data; the path grows on its way out."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.path: list[str | int] = []


def read_record(data: bytes, type_: type[T]) -> T:
    """A record. Raises ``Invalid`` with every problem, or ``TooLarge``."""
    return shape(read_plain(data, type_), type_)


def read_plain(data: bytes, type_: Any) -> Any:
    """Plain data of a text in which a ``type_`` is expected (``Any``: all of it is user data)."""
    value = plain_loads(data)
    try:
        return _plan_of(type_).plain(value)
    except _Misfit as misfit:
        path = path_text(reversed(misfit.path))
        found = places(data)
        raise malformed(str(misfit), found.get(path, (1, 1)), path) from None


def plain(value: Any) -> Any:
    """User data without what JSON has no word for: keywords, characters, instants and the like become text."""
    kind = type(value)
    if kind in _SIMPLE:
        return value
    if kind is list or kind is List:
        return value if kind is list and _SIMPLE.issuperset(map(type, value)) else _items(value, _ANY)
    if kind is dict or kind is Map:
        return _entries(value, _ANY)
    if kind is Set:
        return _items(value, _ANY)
    return _text(value)


def _items(values: Any, plan: _Plan) -> list[Any]:
    made: list[Any] = []
    try:
        for item in values:
            made.append(plan.plain(item))  # noqa: PERF401 # its length tells the place of an error
    except _Misfit as misfit:
        misfit.path.append(len(made))
        raise
    return made


def _entries(value: Mapping[Any, Any], plan: _Plan) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, item in value.items():
        name = key if type(key) is str else _name(key)
        try:
            if name in made:
                raise _Misfit("this key stands here twice, as a keyword and as text")
            made[name] = item if type(item) in _SIMPLE else plan.plain(item)
        except _Misfit as misfit:
            misfit.path.append(name)
            raise
    return made


def _name(key: Any) -> str:
    if isinstance(key, Keyword):
        return key.name
    raise _Misfit(f"a key must be text or a keyword, not {type(key).__name__.lower()}; put it in quotes")


def _text(value: Any) -> str:
    if isinstance(value, Keyword):
        return value.name
    if isinstance(value, datetime):
        return f"{value.astimezone(UTC).isoformat()[:-6]}Z"
    return str(value)


class _Plan:
    """How a value of one type becomes plain data. This one is for user data."""

    def plain(self, value: Any) -> Any:
        """Plain data. Raises ``_Misfit``."""
        return plain(value)


_ANY: Final = _Plan()


class _Scalar(_Plan):
    """Anything but lists and objects. Records' own values stay what they are; msgspec knows instants and ids."""

    def __init__(self, *, words: bool, text: bool, instants: bool = False) -> None:
        self.words = words
        self.text = text
        self.instants = instants

    def plain(self, value: Any) -> Any:
        """A keyword where words are expected, an instant as text where only text is."""
        if isinstance(value, Keyword):
            return value.name if self.words and "/" not in value.name else value
        if isinstance(value, Char) or (self.text and isinstance(value, (date, UUID))):
            return _text(value)
        if self.instants and type(value) is date:
            return datetime(value.year, value.month, value.day, tzinfo=UTC)
        return _loose(value)


class _List(_Plan):
    def __init__(self, item: _Plan) -> None:
        self._item = item

    def plain(self, value: Any) -> Any:
        return _items(value, self._item) if isinstance(value, (list, tuple, Set)) else _loose(value)


class _Dict(_Plan):
    def __init__(self, item: _Plan) -> None:
        self._item = item

    def plain(self, value: Any) -> Any:
        return _entries(value, self._item) if isinstance(value, (dict, Map)) else _loose(value)


class _Union(_Plan):
    """By the form of the value: an object, a list, anything else."""

    def __init__(self, objects: _Plan | None, lists: _Plan | None, others: _Plan) -> None:
        self._objects = objects
        self._lists = lists
        self._others = others

    def plain(self, value: Any) -> Any:
        if isinstance(value, (dict, Map)):
            return (self._objects or _ANY).plain(value)
        if isinstance(value, (list, tuple, Set)):
            return (self._lists or _ANY).plain(value)
        return self._others.plain(value)


class _Record(_Plan):
    """A record: ``:space/field``, ``:field`` and ``"field"`` name its fields."""

    def __init__(self, info: inspect.StructType) -> None:
        self._info = info
        self._fields: dict[Any, tuple[str, _Plan]] = {}
        self._array: list[_Plan] | None = None
        self._space = namespace_of(info.cls)

    def prepared(self, known: _Known) -> _Record:
        """With its fields filled in; apart, because records hold themselves."""
        info = self._info
        plans = [(field.encode_name, _plan(field.type, known)) for field in info.fields]
        if info.array_like:
            self._array = [plan for _, plan in plans]
        tag = info.tag_field
        for name, plan in [*plans, *([(tag, _WORDS)] if tag else [])]:
            for key in (Keyword(self._space + name), Keyword(name), name):
                self._fields[key] = (name, plan)
        return self

    def plain(self, value: Any) -> Any:
        if self._array is not None and isinstance(value, (list, tuple)):
            plans = self._array + [_ANY] * (len(value) - len(self._array))
            return [plan.plain(item) for plan, item in zip(plans, value, strict=False)]
        if type(value) is not dict:
            return _entries(value, _ANY) if isinstance(value, Map) else _loose(value)
        fields = self._fields
        try:
            quick = {
                (found := fields[key])[0]: item if type(item) in _SIMPLE else found[1].plain(item)
                for key, item in value.items()
            }
        except (KeyError, _Misfit):
            quick = {}
        return quick if len(quick) == len(value) else self._slowly(value)

    def _slowly(self, value: dict[Any, Any]) -> dict[str, Any]:
        """The same where something is not as it should be: says what and where."""
        made: dict[str, Any] = {}
        fields = self._fields
        for key, item in value.items():
            found = fields.get(key)
            name, plan = found if found is not None else (self._other(key), _ANY)
            try:
                if name in made:
                    raise _Misfit("this field stands here twice, under two names")
                made[name] = item if type(item) in _SIMPLE else plan.plain(item)
            except _Misfit as misfit:
                misfit.path.append(name)
                raise
        return made

    def _other(self, key: Any) -> str:
        """A key that is no field: its name is told as unknown later, beside all other problems."""
        name = _name(key) if not isinstance(key, str) else key
        return name.removeprefix(self._space) if self._space else name


def _loose(value: Any) -> Any:
    """A container where none is expected: plain, so that it can be told what it is. Other values as they are."""
    return plain(value) if isinstance(value, (list, tuple, dict, Map, Set)) else value


_WORDS: Final = _Scalar(words=True, text=True)


_Known = dict[type, _Record]


@lru_cache(maxsize=1_024)
def _plan_of(type_: Any) -> _Plan:
    return _plan(inspect.type_info(type_), {})


def _plan(info: inspect.Type, known: _Known) -> _Plan:
    if isinstance(info, inspect.Metadata):
        if (info.extra or {}).get("edn") == "keyword":
            return _WORDS
        info = info.type
    if isinstance(info, inspect.UnionType):
        return _union(info, known)
    if isinstance(info, inspect.StructType):
        if info.cls in known:
            return known[info.cls]
        made = known[info.cls] = _Record(info)
        return made.prepared(known)
    if isinstance(info, (inspect.ListType, inspect.VarTupleType, inspect.SetType, inspect.FrozenSetType)):
        return _List(_plan(info.item_type, known))
    if isinstance(info, inspect.DictType):
        return _Dict(_plan(info.value_type, known))
    if isinstance(info, (inspect.AnyType, inspect.TupleType, inspect.DataclassType, inspect.RawType)):
        return _ANY
    words = isinstance(info, (inspect.LiteralType, inspect.EnumType))
    instants = isinstance(info, inspect.DateTimeType)
    return _Scalar(words=words, text=words or isinstance(info, inspect.StrType), instants=instants)


def _union(info: inspect.UnionType, known: _Known) -> _Plan:
    options = [_plan(option, known) for option in info.types if not isinstance(option, inspect.NoneType)]
    if _ANY in options:
        return _ANY
    objects = [option for option in options if isinstance(option, (_Record, _Dict))]
    lists = [option for option in options if isinstance(option, _List)]
    others = [option for option in options if isinstance(option, _Scalar)]
    if len(options) == 1:
        return options[0]
    scalar = _Scalar(
        words=any(o.words for o in others),
        text=any(o.text for o in others),
        instants=any(o.instants for o in others),
    )
    return _Union(objects[0] if objects else None, lists[0] if lists else None, scalar)
