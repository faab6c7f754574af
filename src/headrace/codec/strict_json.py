"""JSON from outside: strict, bounded, and with line and column when something is wrong.

msgspec reads it; what msgspec lets through (duplicate keys, depth, endless numbers) is tested on top, cheaply while all
is well. Only a text in doubt is read a second time by the scanner here, which knows places. Never recursive.
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from headrace.codec.positions import Lines, Place
from headrace.codec.shape import MAX_DEPTH
from headrace.model.errors import Invalid, Problem, TooLarge
from headrace.model.naming import path_text, shown

MAX_BYTES = 32 * 1_048_576
"""Largest body that is read at all; borders set smaller limits of their own."""

INT_MIN, INT_MAX = -(2**63), 2**64 - 1

_CONTAINERS = frozenset((dict, list))
_LONG_NUMBER = re.compile(rb"[0-9]{19}")
_DOUBTFUL = (b" :", b"\t:", b"\n:", b"\r:")
_TOKEN = re.compile(
    r'[ \t\r\n]*(?:(?P<mark>[\[\]{},:])|(?P<text>"(?:[^"\\\x00-\x1f]|\\.)*")'
    r"|(?P<word>-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?(?![0-9.eE+-])|true|false|null))"
)
_NO_BRACKETS = bytes(byte for byte in range(256) if byte not in b"{}[]")
_SPACE = re.compile(r"[ \t\r\n]*")
_NOT_A_NUMBER = re.compile(r"[-+]?(?:NaN|Infinity|inf|nan)\b")


def loads(data: bytes) -> Any:
    """Plain data of a JSON text. Raises ``Invalid`` (malformed, with line and column) or ``TooLarge``."""
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the body has {len(data):,} bytes; the limit is {MAX_BYTES:,}")
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        _explain(data, error)
    keys = keys_within_depth(value)
    doubtful = keys != data.count(b'":') or any(mark in data for mark in _DOUBTFUL)
    if doubtful or _LONG_NUMBER.search(data):
        Scanner(data.decode()).run()
    return value


def surely_strict(data: bytes) -> bool:
    """Whether a text that msgspec has read surely holds no key twice, no deep nesting, no long number. False: ``loads`` knows.

    For bodies of requests, whose record is read straight from the text: about 1 µs per object, and never recursive.
    """
    brackets = data.translate(None, _NO_BRACKETS)
    for _ in range(MAX_DEPTH):
        if not brackets:
            break
        brackets = brackets.replace(b"{}", b"").replace(b"[]", b"")
    if brackets:
        return False
    if _LONG_NUMBER.search(data):
        return False
    if data.count(b":") < 2:
        return True
    try:
        _KEYS_ONCE.decode(data.decode())
    except (ValueError, RecursionError):
        return False
    return True


def _told_once(pairs: list[tuple[str, Any]]) -> None:
    if len(pairs) > 1 and len(dict(pairs)) != len(pairs):
        raise ValueError


_KEYS_ONCE = json.JSONDecoder(object_pairs_hook=_told_once)


def keys_within_depth(value: Any) -> int | None:
    """How many keys all objects of the value have together; None when it is nested too deep."""
    keys = 0
    level = [value] if type(value) in _CONTAINERS else []
    for _ in range(MAX_DEPTH):
        if not level:
            return keys
        objects = [item for item in level if type(item) is dict]
        keys += sum(map(len, objects))
        inner = [held for item in objects for held in item.values() if type(held) in _CONTAINERS]
        if len(objects) < len(level):
            inner += [held for item in level if type(item) is list for held in item if type(held) in _CONTAINERS]
        level = inner
    return None if level else keys


def places(data: bytes) -> dict[str, Place]:
    """Line and column of every path of a JSON text that ``loads`` accepts."""
    scanner = Scanner(data.decode())
    scanner.run()
    return {path_text(path): scanner.lines.place(offset) for path, offset in scanner.found.items()}


def malformed(message: str, place: Place, path: str = "") -> Invalid:
    """The error of a text that is not what its format wants."""
    problem = Problem(path, message, *place)
    return Invalid(f"malformed: {problem}", problems=(problem,), malformed=True)


def _explain(data: bytes, cause: Exception) -> NoReturn:
    """Say where and why msgspec refused; it gives only a byte offset."""
    try:
        text = data.decode()
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        raise malformed("the text is not UTF-8", Lines(before).place(len(before))) from None
    Scanner(text).run()
    raise malformed(str(cause), (1, 1)) from cause


class Scanner:
    """Reads a JSON text once: finds the first thing that is wrong, and the offset of every path."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.lines = Lines(text)
        self.found: dict[tuple[str | int, ...], int] = {}
        self._path: list[str | int] = []
        self._seen: list[set[str] | None] = []
        self._at = 0

    def run(self) -> None:
        """Raises ``Invalid`` at the first error."""
        self._value()
        while self._seen:
            self._member()
        end = _SPACE.match(self.text, self._at)
        if end is None or end.end() != len(self.text):
            self._fail("there is more text behind the end of the document")

    def _member(self) -> None:
        """One step inside the innermost list or object: behind a value, so a comma or the end."""
        keys = self._seen[-1]
        kind, piece, offset = self._next()
        if piece == ("]" if keys is None else "}") and kind == "mark":
            self._seen.pop()
            self._path.pop()
        elif piece == "," and kind == "mark":
            self._entry(keys)
        else:
            self._fail("a comma or the end of the list or object is expected here", offset)

    def _entry(self, keys: set[str] | None) -> None:
        if keys is None:
            last = self._path[-1]
            self._path[-1] = (last if isinstance(last, int) else 0) + 1
        else:
            self._key(keys)
        self._value()

    def _key(self, keys: set[str]) -> None:
        kind, piece, offset = self._next()
        if kind != "text":
            self._fail("a key in double quotes is expected here", offset)
        key = self._string(piece, offset)
        self._path[-1] = key
        if key in keys:
            raise malformed(f"the key {shown(key)} stands here twice", self.lines.place(offset), path_text(self._path))
        keys.add(key)
        kind, piece, behind = self._next()
        if piece != ":" or kind != "mark":
            self._fail("a colon is expected behind the key", behind)
        self.found[tuple(self._path)] = offset

    def _value(self) -> None:
        kind, piece, offset = self._next()
        self.found.setdefault(tuple(self._path), offset)
        if kind == "text":
            self._string(piece, offset)
        elif kind == "word":
            self._number(piece, offset)
        elif piece in "[{":
            self._open(piece, offset)
        else:
            self._fail("a value is expected here", offset)

    def _open(self, piece: str, offset: int) -> None:
        if len(self._seen) >= MAX_DEPTH:
            self._fail(f"nested deeper than {MAX_DEPTH} levels", offset)
        before = self._at
        kind, first, _ = self._next()
        if kind == "mark" and piece + first in ("[]", "{}"):
            return
        self._at = before
        keys: set[str] | None = None if piece == "[" else set()
        self._seen.append(keys)
        self._path.append(-1 if keys is None else "")
        self._entry(keys)

    def _next(self) -> tuple[str, str, int]:
        found = _TOKEN.match(self.text, self._at)
        if found is None or found.lastgroup is None:
            self._unreadable()
        self._at = found.end()
        return found.lastgroup, found.group(found.lastgroup), found.start(found.lastgroup)

    def _unreadable(self) -> NoReturn:
        space = _SPACE.match(self.text, self._at)
        at = space.end() if space else self._at
        if at >= len(self.text):
            self._fail("the text ends too early", at)
        if self.text[at] == '"':
            self._fail("a text is not closed, or holds a control character", at)
        if _NOT_A_NUMBER.match(self.text, at):
            self._fail("NaN and Infinity are not JSON; use null or a text", at)
        self._fail(f"{shown(self.text[at : at + 10])} is no JSON", at)

    def _string(self, piece: str, offset: int) -> str:
        try:
            value: str = json.loads(piece)
            value.encode()
        except ValueError:
            self._fail('a text holds a bad "\\" code', offset)
        return value

    def _number(self, piece: str, offset: int) -> None:
        if piece[0] not in "-0123456789":
            return
        digits = sum(map(str.isdigit, piece)) if len(piece) > 18 else 0
        if digits > 1_000:
            self._fail(f"a number of {digits:,} digits; write it as text", offset)
        if piece.lstrip("-").isdigit():
            if digits and not INT_MIN <= int(piece) <= INT_MAX:
                self._fail("a whole number beyond 64 bits; write it as text", offset)
        elif float(piece) in (float("inf"), float("-inf")):
            self._fail("a number too large for a double; write it as text", offset)

    def _fail(self, message: str, offset: int | None = None) -> NoReturn:
        place = self.lines.place(self._at if offset is None else offset)
        raise malformed(message, place, path_text(part for part in self._path if part not in (-1, "")))
