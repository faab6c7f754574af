"""The words of an EDN text: where one ends and the next begins, and what a single one of them means.

One expression cuts the text; it is linear in the length, whatever the text. A word that is wrong raises ``ValueError``
with the sentence to be shown; places are the reader's business. Called by ``codec.edn.read`` and ``codec.edn.places``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from math import inf, isfinite, nan
from typing import Any, Final, NamedTuple
from uuid import UUID

from headrace.codec.edn.values import Char, Keyword, Ratio, Symbol, ratio
from headrace.model.naming import did_you_mean, shown

DIGITS_MAX: Final = 1_000
"""Most digits of a number."""
EXPONENT_MAX: Final = 6_144
"""Largest exponent of a decimal; beyond it a few characters would stand for megabytes."""

_SPACE = r"[ \t\n\r\f\v,]*+(?:;[^\n]*+[ \t\n\r\f\v,]*+)*+"
_END = r" \t\n\r\f\v,()\[\]{}\";\\"
_TOKEN: Final = re.compile(
    rf"""("[^"\\]*+(?:\\.[^"\\]*+)*+"|[^{_END}#][^{_END}]*+|[\[\](){{}}]|#[{{_]|#[^{_END}]*+|\\.[^{_END}]*+|.|\Z){_SPACE}""",
    re.DOTALL,
)
_LEADING: Final = re.compile(_SPACE)
_SMALL = 8_192
"""Characters of a text that is cut at once, and whose keywords are worth remembering."""
_NAME = r"[\w.*+!?$%&=<>-][\w.*+!?$%&=<>':\#-]*"
_KEYWORD = re.compile(rf":(?:{_NAME}/)?{_NAME}\Z")
_SYMBOL = re.compile(rf"(?:/|(?:(?![0-9]|[-+.][0-9]){_NAME}/)?(?![0-9]|[-+.][0-9]){_NAME})\Z")
_NUMBER = re.compile(
    r"(?P<whole>[-+]?(?:0|[1-9][0-9]*))"
    r"(?:(?P<big>N)|/(?P<below>0|[1-9][0-9]*)|(?P<rest>(?:\.[0-9]+)?(?:[eE](?P<exponent>[-+]?[0-9]+))?)(?P<exact>M)?)\Z"
)
_ESCAPE = re.compile(r"\\(?:u([0-9a-fA-F]{4})|(.))", re.DOTALL)
_ESCAPES = {"t": "\t", "r": "\r", "n": "\n", "b": "\b", "f": "\f", "\\": "\\", '"': '"'}
CHARS: Final = {
    "newline": "\n",
    "return": "\r",
    "space": " ",
    "tab": "\t",
    "formfeed": "\f",
    "backspace": "\b",
}
"""Characters with a name."""
CONSTANTS: Final[dict[str, Any]] = {"nil": None, "true": True, "false": False, "0": 0, "1": 1}
"""Words that stand for one value, the most frequent numbers among them."""
_SYMBOLIC = {"##Inf": inf, "##-Inf": -inf, "##NaN": nan}
_INSTANT = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}"
    r"(?:T[0-9]{2}:[0-9]{2}:[0-9]{2}(?:\.(?P<part>[0-9]{1,12}))?(?:Z|[-+][0-9]{2}:[0-9]{2}))?\Z"
)
_UUID = re.compile(r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\Z")
TAGS: Final = ("inst", "uuid")
"""The tags that are read; all others are refused."""


class Cut(NamedTuple):
    """A text as words. ``keyword`` reads those with a colon; ``at`` is where the last word of a large text began."""

    words: Iterator[str]
    keyword: Callable[[str], Keyword]
    at: list[int]


def cut(text: str) -> Cut:
    """The words of the text, and what reads its keywords: they come again and again, in small texts from one to the next."""
    if len(text) > _SMALL:
        at = [0]
        return Cut(_one_by_one(text, at), lru_cache(maxsize=1_024)(keyword), at)
    words = _TOKEN.findall(text, _start(text))
    words.pop()
    return Cut(iter(words), _remembered, [])


def _one_by_one(text: str, at: list[int]) -> Iterator[str]:
    for found in _TOKEN.finditer(text, _start(text)):
        if found[1]:
            at[0] = found.start()
            yield found[1]
    at[0] = len(text)


def found(text: str) -> Iterator[int]:
    """Where each of the words begins, and the end."""
    return (found.start() for found in _TOKEN.finditer(text, _start(text)))


def _start(text: str) -> int:
    leading = _LEADING.match(text)
    return leading.end() if leading else 0


def keyword(word: str) -> Keyword:
    """``:name``."""
    if not _KEYWORD.match(word):
        raise ValueError(f"{shown(word)} is no keyword")
    return Keyword(word[1:])


_remembered = lru_cache(maxsize=2_048)(keyword)


def string(word: str) -> str:
    """A text with its escapes."""
    if len(word) < 2:
        raise ValueError("this text has no end: a closing quote is missing")
    text = word[1:-1]
    if "\\" not in text:
        return text
    text = _ESCAPE.sub(_unescaped, text)
    if max(text) >= "\ud800" or not text.isascii():
        try:
            text = text.encode("utf-16", "surrogatepass").decode("utf-16")
        except UnicodeDecodeError:
            raise ValueError(r"half of a surrogate pair (\uD800 to \uDFFF) stands for no character") from None
    return text


def _unescaped(found: re.Match[str]) -> str:
    if found[1]:
        return chr(int(found[1], 16))
    known = _ESCAPES.get(found[2])
    if known is None:
        raise ValueError(f'{shown(found[0])} is no escape: \\t \\r \\n \\b \\f \\\\ \\" and \\u0000 are')
    return known


def char(word: str) -> Char:
    r"""``\a``, ``\newline``, ``\u0041``."""
    name = word[1:]
    if len(name) == 1 and name not in " \t\n\r\f\v,":
        return Char(name)
    if name in CHARS:
        return Char(CHARS[name])
    if len(name) == 5 and re.match(r"u[0-9a-fA-F]{4}\Z", name):
        value = chr(int(name[1:], 16))
        if not "\ud800" <= value <= "\udfff":
            return Char(value)
    raise ValueError(f"{shown(word)} is no character")


def number(word: str) -> int | float | Decimal | Ratio:
    """A number of any kind."""
    found = _NUMBER.match(word)
    if found is None:
        raise ValueError(f"{shown(word)} is no number")
    if len(word) > DIGITS_MAX:
        raise ValueError(f"a number of more than {DIGITS_MAX:,} digits")
    if found["exact"]:
        if abs(int(found["exponent"] or 0)) > EXPONENT_MAX:
            raise ValueError(f"the exponent of a decimal is at most {EXPONENT_MAX:,}")
        return Decimal(word[:-1])
    if found["below"]:
        try:
            return ratio(int(found["whole"]), int(found["below"]))
        except ZeroDivisionError as error:
            raise ValueError(str(error)) from None
    if not found["rest"]:
        return int(found["whole"])
    value = float(word)
    if not isfinite(value):
        raise ValueError("a number too large for a double; write it with M behind it, or as a text")
    return value


def word_of(word: str) -> Any:
    """A bare word that is no constant: a number, a symbol, a symbolic value."""
    first, second = word[0], word[1:2]
    if first.isdigit() or (first in "+-" and second.isdigit()):
        return number(word)
    if first == "#":
        if word in _SYMBOLIC:
            return _SYMBOLIC[word]
        raise ValueError(f"{shown(word)} is no symbolic value: ##Inf, ##-Inf and ##NaN are")
    if not _SYMBOL.match(word):
        raise ValueError(f"{shown(word)} means nothing in EDN")
    return Symbol(word)


def namespace(word: str) -> str:
    """The ``ns`` of ``#:ns``."""
    name = word[2:]
    if not re.match(rf"{_NAME}\Z", name):
        raise ValueError(f"{shown(word)} is no namespace of a map")
    return name


def tag(word: str, *, known: bool = True) -> str:
    """The name of ``#name``; ``known``: it must be on the list."""
    name = word[1:]
    if not name[:1].isalpha():
        raise ValueError(f"{shown(word)} means nothing in EDN")
    if known and name not in TAGS:
        raise ValueError(f"the tag #{name[:64]} is not known here{did_you_mean(name, TAGS)}: #inst and #uuid are")
    return name


def tagged(tag: str, value: Any) -> Any:
    """What a tag makes of its value."""
    if tag == "inst":
        return _instant(value)
    if not isinstance(value, str) or not _UUID.match(value):
        raise ValueError('#uuid stands before a text like "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"')
    return UUID(value)


def _instant(value: Any) -> datetime | date:
    """An instant in UTC; a day alone stays a day."""
    found = _INSTANT.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError('#inst stands before an RFC 3339 text like "2026-03-29T01:30:00Z"')
    part = found["part"]
    if part is not None and part[6:].strip("0"):
        raise ValueError("an instant has at most microseconds")
    try:
        if part is not None and len(part) != 6:
            value = value.replace(part, part[:6].ljust(6, "0"))
        if len(value) == 10:
            return date.fromisoformat(value)
        instant = datetime.fromisoformat(value)
        return instant if instant.tzinfo is UTC else instant.astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ValueError(f"#inst {shown(value)} is no instant: {error}") from None
