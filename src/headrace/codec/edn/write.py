"""Writes EDN: values as they are, our records with keys in their namespace. What is user data keeps text as keys.

A record says its namespace itself (``edn_namespace``; none: plain keywords). Fields of a closed set of words, and
those marked as ``model.document.State``, become keywords. User data is written with a stack of our own, however deep.
Called by ``codec.wire`` and whoever writes EDN's own values.
"""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Callable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from json.encoder import encode_basestring
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin
from uuid import UUID

import msgspec
from msgspec import UNSET, Struct, structs

from headrace.codec.edn import tokens
from headrace.codec.edn.values import Char, Keyword, List, Ratio, Symbol

DATA, WORD, OURS = range(3)
"""How a field is written: as it is; its text as a keyword; a dictionary of ours, whose keys are keywords."""
_WORD = re.compile(r"[A-Za-z_*!?$%&=<>][\w.*+!?$%&=<>-]*\Z", re.ASCII)
_SURROGATE = re.compile("[\ud800-\udfff]")
_INT_MAX: Final = 2**63
_CHARS: Final = {value: name for name, value in tokens.CHARS.items()}
Field = tuple[str, str, Any, Any, int]


def dumps(value: Any) -> bytes:
    """Any value that ``loads`` gives, and our records, as EDN."""
    return write(value)


def write(value: Any, *, ours: bool = False) -> bytes:
    """A record or data as EDN. What has no form in EDN is written as msgspec writes it in JSON.

    ``ours``: the outermost dictionary is ours, not a user's: its keys become keywords.
    """
    out: list[str] = []
    _any(out, value, OURS if ours else DATA)
    text = "".join(out)
    try:
        return text.encode()
    except UnicodeEncodeError:
        return _SURROGATE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode()


def _any(out: list[str], value: Any, mode: int) -> None:
    """One value of whatever kind."""
    scalar = _SCALARS.get(type(value))
    if scalar is not None:
        out.append(_keyword(value) if mode == WORD and type(value) is str else scalar(value))
    elif isinstance(value, Struct):
        _record(out, value)
    elif mode == OURS and isinstance(value, dict):
        _ours(out, value)
    elif mode == WORD and isinstance(value, (list, tuple)):
        out.append(f"[{' '.join(_keyword(item) for item in value)}]")
    else:
        _tree(out, value)


def _record(out: list[str], value: Any) -> None:
    """A record: its fields under keywords, without those that JSON leaves out too."""
    kind: Any = type(value)
    fields, config = fields_of(kind), kind.__struct_config__
    if config.array_like:
        _tree(out, [getattr(value, field[0]) for field in fields])
        return
    opening = len(out)
    if config.tag is not None:
        out.append(f", :{config.tag_field} {_keyword(config.tag)}")
    for name, key, default, factory, mode in fields:
        item = getattr(value, name)
        if item is UNSET or (item is default and default is not _ALWAYS):
            continue
        if factory is not None and type(item) is factory and not item:
            continue
        out.append(key)
        scalar = _SCALARS.get(type(item))
        if scalar is not None and mode == DATA:
            out.append(scalar(item))
        else:
            _any(out, item, mode)
    if len(out) == opening:
        out.append("{}")
    else:
        out[opening] = "{" + out[opening][2:]
        out.append("}")


def _ours(out: list[str], value: dict[str, Any]) -> None:
    """A dictionary whose keys are ours."""
    separator = "{"
    for key, item in value.items():
        out.append(f"{separator}{_keyword(key)} ")
        _any(out, item, WORD if key == "state" else DATA)
        separator = ", "
    out.append("}" if value else "{}")


def _tree(out: list[str], value: Any) -> None:
    """Lists, maps and sets of any depth; records in them are written by themselves."""
    stack: list[tuple[Iterator[Any], str, bool]] = []
    plain = _entered(out, value)
    if plain is None:
        return
    iterator, close, keyed = plain
    separator = ", " if keyed else " "
    while True:
        for item in iterator:
            if keyed:
                key, item = item
                out.append(f"{encode_basestring(key)} " if type(key) is str else f"{write(key).decode()} ")
            scalar = _SCALARS.get(type(item))
            if scalar is not None:
                out.append(scalar(item))
            elif isinstance(item, Struct):
                _record(out, item)
            elif (inner := _entered(out, item)) is not None:
                stack.append((iterator, close, keyed))
                iterator, close, keyed = inner
                separator = ", " if keyed else " "
                break
            out.append(separator)
        else:
            if out[-1] == separator:
                out[-1] = close
            else:
                out.append(close)
            if not stack:
                return
            iterator, close, keyed = stack.pop()
            separator = ", " if keyed else " "
            out.append(separator)


def _entered(out: list[str], value: Any) -> tuple[Iterator[Any], str, bool] | None:
    """Begin a container; None when the value was none and is written."""
    if isinstance(value, Mapping):
        out.append("{")
        return iter(value.items()), "}", True
    if isinstance(value, List):
        out.append("(")
        return iter(value), ")", False
    if isinstance(value, (list, tuple)):
        out.append("[")
        return iter(value), "]", False
    if isinstance(value, (set, frozenset, AbstractSet)):
        out.append("#{")
        return iter(value), "}", False
    if isinstance(value, msgspec.Raw):
        _any(out, msgspec.json.decode(value), DATA)
    elif isinstance(value, Enum):
        out.append(_keyword(value.value) if isinstance(value.value, str) else str(value.value))
    else:
        _any(out, msgspec.to_builtins(value), DATA)
    return None


@lru_cache(maxsize=1_024)
def fields_of(record: Any) -> tuple[Field, ...]:
    """The fields of a record class: attribute, key with a separator in front, default, factory, how it is written."""
    space = namespace_of(record)
    omit = record.__struct_config__.omit_defaults
    found = []
    for field in structs.fields(record):
        key = f", :{space}{field.encode_name} "
        given = omit and not field.required
        default = field.default if given and field.default is not msgspec.NODEFAULT else _ALWAYS
        factory = field.default_factory if given and field.default_factory in (list, dict, set) else None
        found.append((field.name, key, default, factory, _mode(field.type)))
    return tuple(found)


def namespace_of(record: type) -> str:
    """``job/`` for a record that is an entity's, the empty text for others."""
    space: str = getattr(record, "edn_namespace", "")
    return f"{space}/" if space else ""


def _mode(type_: Any) -> int:
    """How values of this type are written: as words when every text in it is one of a closed set, or marked."""
    marks: set[int] = set()
    todo = [type_]
    while todo:
        kind = todo.pop()
        origin, args = get_origin(kind), get_args(kind)
        if origin is Annotated:
            extras = [getattr(meta, "extra", None) or {} for meta in args[1:]]
            mark = next((extra["edn"] for extra in extras if "edn" in extra), None)
            if mark is None:
                todo.append(args[0])
            else:
                marks.add(WORD if mark == "keyword" else OURS)
        elif origin in (Union, UnionType):
            todo.extend(args)
        elif origin in (list, tuple):
            todo.extend(args[:1])
        elif origin is Literal:
            marks.add(WORD)
        elif kind in (str, Any, dict, list) or origin is dict:
            marks.add(DATA)
    return marks.pop() if len(marks) == 1 else DATA


def _keyword(text: Any) -> str:
    """A word as a keyword; what cannot be one stays text."""
    if not isinstance(text, str):
        return write(text).decode()
    return f":{text}" if _WORD.match(text) else encode_basestring(text)


def _whole(value: int) -> str:
    return str(value) if -_INT_MAX <= value < _INT_MAX else f"{value}N"


def _float(value: float) -> str:
    text = repr(value)
    return _SYMBOLIC.get(text, text)


def _exact(value: Decimal) -> str:
    if not value.is_finite():
        return {"Infinity": "##Inf", "-Infinity": "##-Inf"}.get(str(value), "##NaN")
    return f"{str(value).replace('E+', 'E')}M"


def _instant(value: datetime) -> str:
    if value.tzinfo is None:
        return encode_basestring(value.isoformat())
    return f'#inst "{value.astimezone(UTC).isoformat()[:-6]}Z"'


def _char(value: Char) -> str:
    text = value.value
    if text in _CHARS:
        return f"\\{_CHARS[text]}"
    return f"\\{text}" if text.isprintable() and not text.isspace() else f"\\u{ord(text):04x}"


_ALWAYS: Final = object()
_SYMBOLIC: Final = {"inf": "##Inf", "-inf": "##-Inf", "nan": "##NaN"}
_SCALARS: Final[dict[type, Callable[[Any], str]]] = {
    str: encode_basestring,
    int: _whole,
    bool: lambda value: "true" if value else "false",
    type(None): lambda _: "nil",
    float: _float,
    datetime: _instant,
    date: lambda value: f'#inst "{value.isoformat()}"',
    UUID: lambda value: f'#uuid "{value}"',
    Decimal: _exact,
    bytes: lambda value: f'"{b64encode(value).decode()}"',
    Keyword: str,
    Symbol: str,
    Ratio: str,
    Char: _char,
}


def indented(data: bytes) -> str:
    """The same EDN for people: pairs and nested values on lines of their own. Only for what ``write`` gave."""
    stack: list[list[str]] = [[]]
    opens: list[str] = []
    for word in tokens.cut(data.decode()).words:
        if word in ("[", "{", "(", "#{"):
            opens.append(word)
            stack.append([])
        elif word in ("]", "}", ")"):
            items = stack.pop()
            stack[-1].append(_laid_out(opens.pop(), items, word))
        elif word:
            last = stack[-1]
            if last and last[-1] in ("#inst", "#uuid"):
                word = f"{last.pop()} {word}"
            last.append(word)
    return stack[0][0]


def _laid_out(start: str, items: list[str], end: str) -> str:
    if start == "{":
        items = [f"{key} {value}" for key, value in zip(items[::2], items[1::2], strict=True)]
    short = sum(map(len, items)) + len(items) <= 80 and not any("\n" in item for item in items)
    if short and (start != "{" or len(items) <= 1):
        return f"{start}{' '.join(items)}{end}"
    joined = "\n".join(items).replace("\n", "\n  ")
    return f"{start}\n  {joined}\n{end}"
