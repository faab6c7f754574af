"""The wires: media type in, records or bytes out. One table for requests, answers and files.

Strict and bounded for all that comes from outside; the link between control and agent has its own framing and does not
come here. Called by ``control.api``, ``client`` and ``codec.documents``.
"""

from __future__ import annotations

from collections.abc import Callable
from math import isfinite
from typing import Any, Final, TypeVar

import msgspec

from headrace.codec import edn, msgpack_keys, strict_json
from headrace.codec.positions import Positions
from headrace.codec.shape import MAX_DEPTH, shape
from headrace.codec.strict_json import INT_MAX, INT_MIN, MAX_BYTES
from headrace.model.errors import Invalid, NotAvailable, Problem, TooLarge
from headrace.model.naming import did_you_mean, shown

T = TypeVar("T")

JSON: Final = "application/json"
MSGPACK: Final = "application/msgpack"
YAML: Final = "application/yaml"
EDN: Final = "application/edn"

MEDIA: Final = {
    JSON: JSON,
    "text/json": JSON,
    "application/problem+json": JSON,
    "application/merge-patch+json": JSON,
    MSGPACK: MSGPACK,
    "application/x-msgpack": MSGPACK,
    "application/vnd.msgpack": MSGPACK,
    YAML: YAML,
    "application/x-yaml": YAML,
    "text/yaml": YAML,
    "text/x-yaml": YAML,
    EDN: EDN,
}
"""Every name of a media type that is understood → the one that we write."""

SUFFIXES: Final = {".json": JSON, ".yaml": YAML, ".yml": YAML, ".msgpack": MSGPACK, ".edn": EDN}
"""File suffix → media type."""

_READ_TWICE_MAX = 262_144
"""Largest MessagePack text that is read by our own reader, which takes a microsecond for each value."""
_LEAVES = (str, bool, type(None))


def media_of(header: str) -> str:
    """The media type that a ``Content-Type`` names, parameters aside. Raises ``Invalid`` for an unknown one."""
    name = header.partition(";")[0].strip().lower()
    known = MEDIA.get(name)
    if known is None:
        hint = did_you_mean(name, MEDIA)
        raise Invalid(
            f"the media type {name!r} is not known{hint}; send {JSON}, {EDN}, {MSGPACK} or {YAML}", malformed=True
        )
    return known


def plain(data: bytes, media: str, type_: Any = Any) -> Any:
    """Plain data of a body in which a ``type_`` is expected. Raises ``Invalid`` (malformed) or ``TooLarge``.

    Only EDN needs the type: it says which keywords are names of fields.
    """
    format_ = media_of(media)
    return edn.read_plain(data, type_) if format_ == EDN else _READERS[format_](data)


def decode(data: bytes, media: str, type_: type[T]) -> T:
    """A record from a body. Raises ``Invalid`` with every problem, or ``TooLarge``."""
    return shape(plain(data, media, type_), type_)


def encode(value: Any, media: str) -> bytes:
    """A record or plain data as bytes. Raises ``NotAvailable`` for what we only read."""
    return _WRITERS[media_of(media)](value)


def positions_of(data: bytes, media: str) -> Positions:
    """Where paths of a body stand; empty for formats without lines."""
    name = media_of(media)
    if name == JSON:
        return Positions(lambda: strict_json.places(data))
    if name == YAML:
        return Positions(lambda: _yaml().places(data))
    if name == EDN:
        return Positions(lambda: edn.places(data))
    return Positions()


def _read_msgpack(data: bytes) -> Any:
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the body has {len(data):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        value = msgspec.msgpack.decode(data)
    except RecursionError:
        raise Invalid(f"malformed MessagePack: nested deeper than {MAX_DEPTH} levels", malformed=True) from None
    except (msgspec.DecodeError, UnicodeDecodeError, ValueError, OverflowError, TypeError) as error:
        raise Invalid(f"malformed MessagePack: {error}", malformed=True) from None
    wrong = _not_plain(value) or _key_twice(data, value)
    if wrong:
        raise Invalid(f"malformed MessagePack: {wrong}", problems=(Problem("", wrong),), malformed=True)
    return value


def _not_plain(value: Any) -> str:
    """What keeps a decoded value from being plain data, or the empty text. Level by level, never recursive."""
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner: list[Any] = []
        for item in level:
            if isinstance(item, dict):
                if not all(isinstance(key, str) for key in item):
                    return "keys must be text"
                inner.extend(item.values())
            elif isinstance(item, (list, tuple)):
                inner.extend(item)
            elif wrong := _not_leaf(item):
                return wrong
        if not inner:
            return ""
        level = inner
    return f"nested deeper than {MAX_DEPTH} levels"


def _write_msgpack(value: Any) -> bytes:
    """With the same texts as JSON for instants and bytes: what we write we read, and both wires say the same."""
    return msgspec.msgpack.encode(msgspec.to_builtins(value))


def _key_twice(data: bytes, value: Any) -> str:
    """Whether an object names a key twice. What is written as msgspec writes it cannot; the rest is read once more."""
    if msgspec.msgpack.encode(value) == data:
        return ""
    if len(data) > _READ_TWICE_MAX:
        return f"a body of more than {_READ_TWICE_MAX:,} bytes must be written in the shortest form, floats in 64 bits"
    key = msgpack_keys.key_twice(data)
    return "" if key is None else f"the key {shown(key)} stands in one object twice"


def _not_leaf(value: Any) -> str:
    if isinstance(value, _LEAVES):
        return ""
    if isinstance(value, int):
        return "" if INT_MIN <= value <= INT_MAX else "a whole number beyond 64 bits; write it as text"
    if isinstance(value, float):
        return "" if isfinite(value) else "NaN and Infinity have no place here; use null or a text"
    return f"only what JSON has may stand here, not {type(value).__name__}; write it as text"


def _read_yaml(data: bytes) -> Any:
    return _yaml().loads(data)


def _yaml() -> Any:
    """PyYAML takes 15 ms to import, and most requests are JSON."""
    from headrace.codec import yaml

    return yaml


def _no_yaml(_: Any) -> bytes:
    raise NotAvailable("not available: documents are read as YAML, answers are JSON, EDN or MessagePack")


_READERS: Final[dict[str, Callable[[bytes], Any]]] = {
    JSON: strict_json.loads,
    MSGPACK: _read_msgpack,
    YAML: _read_yaml,
}
_WRITERS: Final[dict[str, Callable[[Any], bytes]]] = {
    JSON: msgspec.json.encode,
    MSGPACK: _write_msgpack,
    YAML: _no_yaml,
    EDN: edn.write,
}
