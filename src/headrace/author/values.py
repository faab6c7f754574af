"""Values between tasks: JSON on the way, rebuilt by the receiver's annotation. Never pickle, never ``eval`` of data.

``Receiver`` turns the JSON text of keyword arguments into a call of one function; ``encode`` turns what a task gave
into JSON. Both are made once per function and then cost microseconds. Called by ``runner`` and by in-process runs.
"""

from __future__ import annotations

import inspect
import types
import typing
from collections.abc import Callable, Iterable, Iterator
from math import isfinite
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec

from headrace.author.context import Context
from headrace.model.errors import Invalid

ADVICE = (
    "return JSON types, date/time types, Decimal, UUID, Enum, bytes, set, tuple, dataclass, TypedDict, NamedTuple, "
    "msgspec, attrs or pydantic values; write anything else to a file in ctx.outputs and return its name"
)
EMPTY_ARGS = b"{}"
_KNOWN = (bool, list, tuple, set, frozenset, dict)


class Encoded(msgspec.Struct, frozen=True):
    """A result as JSON. ``lines``: one item a line, ``count`` of them; otherwise ``count`` is -1."""

    data: bytes
    lines: bool = False
    count: int = -1


NOTHING = Encoded(b"null")


def to_plain(value: object) -> Any:
    """``enc_hook`` of every encoder: what msgspec does not know by itself. Raises Invalid with what to do instead."""
    if value is None or isinstance(value, _KNOWN):
        # The encoder knows these by itself: it asks only where one stands as the key of a dict.
        raise Invalid(
            f"a dict has a key of type {type(value).__name__} ({repr(value)[:80]}), and JSON has texts as keys: "
            "make it a text or a number, or return a list of pairs"
        )
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if hasattr(value, "tolist") and getattr(value, "shape", None) == ():
        return value.tolist()
    if isinstance(value, range) or (isinstance(value, Iterable) and type(value).__module__ == "builtins"):
        return list(value)
    raise Invalid(
        f"a value of type {type(value).__module__}.{type(value).__qualname__} cannot pass between tasks: {ADVICE}"
    )


ENCODER = msgspec.json.Encoder(enc_hook=to_plain)


def encode(value: object) -> Encoded:
    """What a task returned, as JSON. Generators and iterators become JSON Lines. Raises Invalid."""
    if value is None:
        return NOTHING
    if isinstance(value, Iterator):
        items = [dump(item) for item in value]
        return Encoded(b"\n".join(items) + b"\n" if items else b"", True, len(items))
    return Encoded(dump(value))


def dump(value: object) -> bytes:
    """One value as JSON text. Raises Invalid."""
    try:
        data = ENCODER.encode(value)
    except (TypeError, ValueError, OverflowError, RecursionError) as e:
        raise Invalid(f"the value cannot be written as JSON ({e}): {ADVICE}") from e
    # The encoder writes null for what JSON has no number for: who reads it must not take that for a missing value.
    if value is not None and b"null" in data and (odd := _no_number(value)) is not None:
        raise Invalid(f"the value has the number {odd} in it, and JSON has none such: make it None or a text")
    return data


def _no_number(value: object) -> float | None:
    """A NaN or infinity in it."""
    left = [msgspec.to_builtins(value, enc_hook=to_plain, str_keys=True)]
    while left:
        one = left.pop()
        if isinstance(one, float):
            if not isfinite(one):
                return one
        elif isinstance(one, dict):
            left.extend(one.values())
        elif isinstance(one, list | tuple | set | frozenset):
            left.extend(one)
    return None


def builtins(value: object) -> Any:
    """The same value as JSON-shaped Python objects (dict, list, str, numbers, bool, None)."""
    return msgspec.json.decode(dump(value))


def from_plain(kind: type, value: Any) -> Any:
    """``dec_hook`` of every decoder: pydantic by its own method; every other unknown class is refused."""
    if hasattr(kind, "model_validate"):
        return kind.model_validate(value)
    if isinstance(value, kind):
        return value
    raise Invalid(f"an argument annotated {kind.__module__}.{kind.__qualname__} cannot be rebuilt from JSON: {ADVICE}")


def understood(annotation: Any) -> Any:
    """The annotation in the words of msgspec: ``Iterable`` and ``Iterator`` become lists, at every depth."""
    origin, args = get_origin(annotation), get_args(annotation)
    if annotation in (inspect.Parameter.empty, Iterable, Iterator) or isinstance(annotation, typing.TypeVar):
        return Any
    if origin in (Iterable, Iterator):
        return list[understood(args[0])]  # type: ignore[misc]  # reason: built at run time from the annotation
    if origin is Annotated:
        return Annotated[(understood(args[0]), *args[1:])]
    if origin in (Union, types.UnionType):
        return Union[tuple(understood(a) for a in args)]  # noqa: UP007  # reason: the members are known at run time only
    return annotation


def converter(annotation: Any) -> Callable[[Any], Any]:
    """A function from JSON text (bytes or Raw) to a value of this type. Unions that msgspec cannot tell apart are tried in order."""
    kind = understood(annotation)
    try:
        decode = msgspec.json.Decoder(kind, dec_hook=from_plain).decode
    except TypeError:
        if get_origin(kind) not in (Union, types.UnionType):
            raise Invalid(f"the annotation {annotation!r} cannot be rebuilt from JSON: {ADVICE}") from None
        decode = _any_of([converter(a) for a in sorted(get_args(kind), key=lambda a: a is str)])
    if get_origin(annotation) is Iterator:
        return lambda raw: iter(decode(raw))
    return decode


def _any_of(choices: list[Callable[[Any], Any]]) -> Callable[[Any], Any]:
    def decode(raw: Any) -> Any:
        for choice in choices[:-1]:
            try:
                return choice(raw)
            except (msgspec.ValidationError, Invalid):
                continue
        return choices[-1](raw)

    return decode


def hints_of(fn: Callable[..., Any]) -> dict[str, Any]:
    """Annotations of a function, each resolved by itself: one that cannot be (a name imported for typing only) is Any."""
    found: dict[str, Any] = {}
    space = getattr(fn, "__globals__", {})
    for name, hint in getattr(fn, "__annotations__", {}).items():
        if isinstance(hint, str):
            holder = types.SimpleNamespace(__annotations__={name: hint})
            try:
                hint = typing.get_type_hints(holder, globalns=space, include_extras=True)[name]
            except (NameError, AttributeError, TypeError, SyntaxError):
                hint = Any
        found[name] = hint
    return found


def wants_context(fn: Callable[..., Any], hints: dict[str, Any]) -> bool:
    """Whether the first parameter is the ``Context``."""
    first = next(iter(inspect.signature(fn).parameters.values()), None)
    return first is not None and hints.get(first.name) is Context


class Receiver:
    """How one function is called with JSON arguments: ``positional`` names go by place, all others by name."""

    def __init__(self, fn: Callable[..., Any], *, skip: int = 0) -> None:
        hints = hints_of(fn)
        self.context = not skip and wants_context(fn, hints)
        self.name = getattr(fn, "__qualname__", repr(fn))
        parameters = list(inspect.signature(fn).parameters.values())[skip + self.context :]
        self.parameters = {p.name: p for p in parameters}
        self.hints = {p.name: hints.get(p.name, Any) for p in parameters}
        self.required = tuple(p.name for p in parameters if _is_required(p))
        self.rest = next((p.name for p in parameters if p.kind is p.VAR_KEYWORD), None)
        self._converters: dict[str, Callable[[Any], Any]] = {}
        self._split = msgspec.json.Decoder(dict[str, msgspec.Raw])
        self._by_place = any(p.kind in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL) for p in parameters)

    def arguments(self, text: bytes) -> tuple[list[Any], dict[str, Any]]:
        """Positional and keyword arguments out of the JSON text. Raises Invalid naming the argument."""
        if text == EMPTY_ARGS and not self.required:
            return [], {}
        given = self._split.decode(text)
        values = {name: self._convert(name, raw) for name, raw in given.items()}
        missing = [name for name in self.required if name not in values]
        if missing:
            raise Invalid(f"{self.name} needs the argument {missing[0]!r}, which was not given")
        return self._placed(values) if self._by_place else ([], values)

    def _convert(self, name: str, raw: msgspec.Raw) -> Any:
        convert = self._converters.get(name)
        if convert is None:
            convert = self._converters[name] = self._make(name)
        try:
            return convert(raw)
        except (msgspec.ValidationError, ValueError) as e:
            raise Invalid(f"argument {name!r} of {self.name}: {e}") from e

    def _make(self, name: str) -> Callable[[Any], Any]:
        if name not in self.parameters:
            if self.rest is None:
                raise Invalid(f"{self.name} has no parameter {name!r}; it has: {', '.join(self.parameters) or 'none'}")
            return converter(self.hints[self.rest])
        hint = self.hints[name]
        many = self.parameters[name].kind is inspect.Parameter.VAR_POSITIONAL
        return converter(list[hint] if many else hint)  # type: ignore[valid-type]  # reason: a type made at run time

    def _placed(self, values: dict[str, Any]) -> tuple[list[Any], dict[str, Any]]:
        placed: list[Any] = []
        gap = False
        for name, p in self.parameters.items():
            if p.kind is p.VAR_POSITIONAL:
                placed += values.pop(name, [])
            elif p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and name in values and not gap:
                placed.append(values.pop(name))
            else:
                gap = True
        return placed, values


def _is_required(p: inspect.Parameter) -> bool:
    return p.default is p.empty and p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
