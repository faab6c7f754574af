"""Reads EDN: one pass over the words of the text with a stack of its own. Strict, bounded, never recursive.

In *plain* mode (bodies and documents) numbers that JSON cannot carry and things without a JSON counterpart are refused
where they stand. Called by ``codec.edn.records`` and whoever needs EDN's own values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Final, NoReturn

from headrace.codec.edn import tokens
from headrace.codec.edn.values import Keyword, List, Map, Ratio, Set, Symbol, token
from headrace.codec.positions import Lines
from headrace.codec.shape import MAX_DEPTH
from headrace.codec.strict_json import INT_MAX, INT_MIN, malformed
from headrace.model.errors import TooLarge
from headrace.model.naming import shown

MAX_BYTES: Final = 16 * 1_048_576
"""Largest EDN text; borders set smaller limits of their own."""

_ROOT, _VECTOR, _LIST, _MAP, _SET, _DISCARD, _TAG, _SPACE = range(8)
_OPENS: Final = {"[": _VECTOR, "{": _MAP, "(": _LIST, "#{": _SET}
_PLAIN_OPENS: Final = {"[": _VECTOR, "{": _MAP}
_CLOSES: Final = {"]": (_VECTOR,), "}": (_MAP, _SET), ")": (_LIST,)}
_OPEN: Final = {
    _VECTOR: "a vector is open, ] is missing",
    _LIST: "a list is open, ) is missing",
    _MAP: "a map is open, } is missing",
    _SET: "a set is open, } is missing",
    _DISCARD: "#_ stands before a value",
    _TAG: "a tag stands before a value",
    _SPACE: "#:name stands before a map",
}
_BRACKETS: Final = "[]{}()#"
_SIMPLE_KEYS: Final = frozenset({str, Keyword})


def loads(data: bytes) -> Any:
    """The value of an EDN text. Raises ``Invalid`` (malformed, with line and column) or ``TooLarge``."""
    return _loads(data, plain=False)


def plain_loads(data: bytes) -> Any:
    """The same for bodies and documents: numbers within JSON's bounds; no ratio, symbol, infinity or not-a-number."""
    return _loads(data, plain=True)


def _loads(data: bytes, *, plain: bool) -> Any:
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the text has {len(data):,} bytes; the limit for EDN is {MAX_BYTES:,}")
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise malformed("the text is not UTF-8", Lines(before).place(len(before))) from None
    words, keyword, at = tokens.cut(text)
    try:
        return _read(words, keyword, plain=plain)
    except ValueError as error:
        _fail(text, words, at, error)


def _read(words: Iterator[str], keyword: Callable[[str], Keyword], *, plain: bool) -> Any:  # noqa: PLR0912 # a call per word costs a third
    """The one value of the words. ``items`` are those of the innermost container so far; raises ValueError.

    One loop without calls on the way of ordinary words: most of the time of reading is spent here.
    """
    stack: list[tuple[list[Any], int, Any]] = []
    items: list[Any] = []
    kind, extra, muted = _ROOT, None, 0
    value: Any
    constants = tokens.CONSTANTS
    for word in words:
        first = word[0]
        if first == ":":
            value = keyword(word)
        elif first == '"':
            value = word[1:-1] if "\\" not in word and word != '"' else tokens.string(word)
        elif first in _BRACKETS:
            if word in _CLOSES:
                value = _closed(word, kind, items, extra)
                items, kind, extra = stack.pop()
            elif word in _PLAIN_OPENS and kind != _SPACE and len(stack) < MAX_DEPTH:
                stack.append((items, kind, extra))
                items, kind, extra = [], _PLAIN_OPENS[word], None
                continue
            elif word[:2] == "##":
                value = _scalar(word, first, plain=plain and not muted)
            else:
                inner, name = _opened(word, kind, extra, muted=muted > 0)
                muted += inner == _DISCARD
                if len(stack) >= MAX_DEPTH:
                    raise ValueError(f"nested deeper than {MAX_DEPTH} levels")
                stack.append((items, kind, extra))
                items, kind, extra = [], inner, name
                continue
        elif word in constants:
            value = constants[word]
        else:
            value = _scalar(word, first, plain=plain and not muted)
        while kind >= _DISCARD:
            ended, name = kind, extra
            items, kind, extra = stack.pop()
            if ended == _DISCARD:
                muted -= 1
                break
            value = _finished(ended, name, value, muted=muted > 0)
        else:
            items.append(value)
    if kind != _ROOT or len(items) != 1:
        raise _Ended(_no_single_value(kind, items))
    return items[0]


def _no_single_value(kind: int, items: list[Any]) -> str:
    if kind != _ROOT:
        return f"the text ends too early: {_OPEN[kind]}"
    return "there is more text behind the end of the value" if items else "there is no value"


def _opened(word: str, kind: int, extra: Any, *, muted: bool) -> tuple[int, Any]:
    """What begins with this word, and what is to be remembered of it."""
    inner = _OPENS.get(word, -1)
    if kind == _SPACE and inner != _MAP:
        raise ValueError(f"#:{extra} stands before a map")
    if inner >= 0:
        return inner, extra if kind == _SPACE else None
    if word == "#_":
        return _DISCARD, None
    if word.startswith("#:"):
        return _SPACE, tokens.namespace(word)
    return _TAG, tokens.tag(word, known=not muted)


def _finished(kind: int, name: Any, value: Any, *, muted: bool) -> Any:
    """The value that a tag or the namespace of a map waited for."""
    if kind == _TAG:
        return value if muted else tokens.tagged(name, value)
    if not isinstance(value, (dict, Map)):
        raise ValueError(f"#:{name} stands before a map")  # noqa: TRY004 # a word of the text, no argument of ours
    return value


def _closed(word: str, kind: int, items: list[Any], extra: Any) -> Any:
    if kind not in _CLOSES[word]:
        what = _OPEN.get(kind)
        raise ValueError(f"{word} closes nothing here: {what}" if what else f"there is nothing that {word} could close")
    if kind == _VECTOR:
        return items
    if kind == _LIST:
        return List(items)
    if kind == _SET:
        members = Set(items)
        if len(members) != len(items):
            raise ValueError(f"{_twice(items)} stands in this set twice")
        return members
    keys, values = items[::2], items[1::2]
    if len(keys) != len(values):
        raise ValueError("a map has a value for each key; the last key has none")
    if extra is not None:
        keys = [_within(extra, key) for key in keys]
    pairs = zip(keys, values, strict=True)
    made: Any = dict(pairs) if _SIMPLE_KEYS.issuperset(map(type, keys)) else Map(pairs)
    if len(made) != len(keys):
        raise ValueError(f"the key {_twice(keys)} stands in this map twice")
    return made


def _scalar(word: str, first: str, *, plain: bool) -> Any:
    if first in "123456789" and len(word) < 19 and word.isdecimal() and word.isascii():
        return int(word)
    if first == "\\":
        return tokens.char(word)
    value = tokens.word_of(word)
    if plain:
        if isinstance(value, int) and not INT_MIN <= value <= INT_MAX:
            raise ValueError("a whole number beyond 64 bits; write it as text")
        if isinstance(value, (Ratio, Symbol)):
            what = "ratio" if isinstance(value, Ratio) else "symbol"
            raise ValueError(f"{shown(str(value))}: a {what} has no place here; write it as text")
        if first == "#":
            raise ValueError(f"{word}: NaN and Infinity have no place here; use nil or a text")
    return value


def _within(namespace: str, key: Any) -> Any:
    if not isinstance(key, (Keyword, Symbol)):
        return key
    if key.name.startswith("_/"):
        return type(key)(key.name[2:])
    return key if "/" in key.name and key.name != "/" else type(key)(f"{namespace}/{key.name}")


def _twice(values: list[Any]) -> str:
    seen: set[str] = set()
    for value in values:
        known = token(value)
        if known in seen:
            return shown(str(value) if isinstance(value, (Keyword, Symbol)) else value)
        seen.add(known)
    return "one thing"


class _Ended(ValueError):
    """What is wrong shows at the end of the text."""


def _fail(text: str, words: Iterator[str], at: list[int], error: ValueError) -> NoReturn:
    """The error at the word that was read last: as many from the end as there are ``words`` behind it."""
    if at:
        offset = at[0]
    else:
        behind = -1 if isinstance(error, _Ended) else sum(1 for _ in words)
        offsets = list(tokens.found(text))
        offset = offsets[max(0, len(offsets) - behind - 2)]
    raise malformed(str(error), Lines(text).place(offset)) from None
