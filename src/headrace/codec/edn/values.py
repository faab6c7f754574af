"""What EDN has and JSON has not, as immutable values: keywords, symbols, characters, ratios, lists, sets, any-key maps.

Sets and any-key maps tell their members apart by a text of our own (``token``), for two reasons: in EDN 1, 1.0 and true
are three things, and Python's hashes of numbers can be made to collide by whoever writes the document. Made by
``codec.edn.read``; ``codec.edn.write`` turns them back. No rules, no IO.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from collections.abc import Set as AbstractSet
from datetime import UTC, date, datetime
from decimal import Decimal
from hashlib import blake2b
from math import gcd
from typing import Any
from uuid import UUID

from msgspec import Struct


class Keyword(Struct, frozen=True, cache_hash=True):
    """``:name`` or ``:space/name``; ``name`` is the text behind the colon."""

    name: str

    def __str__(self) -> str:
        return f":{self.name}"


class Symbol(Struct, frozen=True):
    """A bare word that is neither nil nor a boolean."""

    name: str

    def __str__(self) -> str:
        return self.name


class Char(Struct, frozen=True):
    r"""One character, as ``\a`` or ``\newline``."""

    value: str

    def __str__(self) -> str:
        return self.value


class Ratio(Struct, frozen=True):
    """A fraction in lowest terms; made by ``ratio``, which gives a whole number where there is no rest."""

    numerator: int
    denominator: int

    def __str__(self) -> str:
        return f"{self.numerator}/{self.denominator}"


def ratio(numerator: int, denominator: int) -> Ratio | int:
    """The fraction in lowest terms, a whole number where it is one. Raises ZeroDivisionError."""
    if not denominator:
        raise ZeroDivisionError("a ratio with the denominator 0")
    common = gcd(numerator, denominator)
    return numerator // common if common == denominator else Ratio(numerator // common, denominator // common)


class List(tuple[Any, ...]):
    """``(a b)``: a list; vectors are Python lists. Equal to a tuple of the same."""

    __slots__ = ()


class Set(AbstractSet[Any]):
    """``#{a b}``: members of any type, in the order of their writing. Immutable."""

    __slots__ = ("_members", "token")

    def __init__(self, members: Iterable[Any] = ()) -> None:
        self._members = {token(member): member for member in members}
        self.token = _digest("#", sorted(self._members))

    def __contains__(self, value: object) -> bool:
        return token(value) in self._members

    def __iter__(self) -> Iterator[Any]:
        return iter(self._members.values())

    def __len__(self) -> int:
        return len(self._members)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Set):
            return self.token == other.token
        return isinstance(other, AbstractSet) and len(other) == len(self) and all(item in self for item in other)

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return f"Set({list(self)!r})"


class Map(Mapping[Any, Any]):
    """``{k v}`` whose keys are of any type, in the order of their writing. Immutable."""

    __slots__ = ("_entries", "_token")

    def __init__(self, entries: Iterable[tuple[Any, Any]] = ()) -> None:
        self._entries = {token(key): (key, value) for key, value in entries}
        self._token = ""

    def __getitem__(self, key: Any) -> Any:
        found = self._entries.get(token(key))
        if found is None:
            raise KeyError(key)
        return found[1]

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def token(self) -> str:
        """What tells this map from others; worked out once."""
        if not self._token:
            pairs = sorted((key, token(value)) for key, (_, value) in self._entries.items())
            self._token = _digest("{", [part for pair in pairs for part in pair])
        return self._token

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mapping) and self.token == token(other)

    def __hash__(self) -> int:
        return hash(self.token)

    def __repr__(self) -> str:
        return f"Map({list(self._entries.values())!r})"


def token(value: Any) -> str:
    """A text that two values share if and only if EDN calls them equal. Containers give a digest of what they hold."""
    kind = type(value)
    if kind is str:
        return f'"{value}'
    if kind is Keyword:
        return f":{value.name}"
    if kind is Set or kind is Map:
        held: str = value.token
        return held
    if isinstance(value, (list, tuple)):
        return _digest("(", [token(item) for item in value])
    if isinstance(value, Mapping):
        pairs = sorted((token(key), token(item)) for key, item in value.items())
        return _digest("{", [part for pair in pairs for part in pair])
    if isinstance(value, AbstractSet):
        return _digest("#", sorted(map(token, value)))
    return _scalar(value)


def _scalar(value: Any) -> str:
    if value is None or value is True or value is False:
        return f"w{value}"
    if isinstance(value, int):
        return f"i{value:x}"
    if isinstance(value, float):
        return f"f{value!r}"
    if isinstance(value, date):
        utc = value.astimezone(UTC) if isinstance(value, datetime) and value.tzinfo else value
        return f"t{utc.isoformat()}"
    if isinstance(value, Decimal):
        return f"d{value}"
    if isinstance(value, UUID):
        return f"u{value}"
    return f"{type(value).__name__} {value}"


def _digest(kind: str, parts: list[str]) -> str:
    digest = blake2b(digest_size=16)
    for part in parts:
        text = part.encode("utf-8", "surrogatepass")
        digest.update(len(text).to_bytes(4, "big"))
        digest.update(text)
    return f"{kind}{digest.hexdigest()}"
