"""YAML documents by the 1.2 core rules, stricter where they surprise people: no `on`, no dates, no octal by accident.

PyYAML (its C reader where there is one) gives events; values, duplicate keys, anchors and every bound are ours. So
nothing but plain data can come out, nesting is no recursion, and aliases cannot blow up. Called by ``codec.documents``.
"""

from __future__ import annotations

import re
from math import isfinite
from typing import Any, NoReturn

import yaml

from headrace.codec.positions import Place
from headrace.codec.shape import MAX_DEPTH
from headrace.codec.strict_json import INT_MAX, INT_MIN, malformed
from headrace.model.errors import TooLarge
from headrace.model.naming import path_text, shown

MAX_BYTES = 4 * 1_048_576
"""Largest YAML text; what aliases add may be as much again."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_NULLS = frozenset(("", "~", "null", "Null", "NULL"))
_BOOLS = {"true": True, "false": False}
_NUMBER_START = frozenset("+-.0123456789")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_OCTAL = re.compile(r"0o[0-7]+")
_HEX = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]*)(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_JSON = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_Path = tuple[str | int, ...]
_TAG = "tag:yaml.org,2002:"


def loads(data: bytes) -> Any:
    """Plain data of one YAML document. Raises ``Invalid`` (malformed, with line and column) or ``TooLarge``."""
    return _Reader(_decoded(data)).read()


def places(data: bytes) -> dict[str, Place]:
    """Line and column of every path of a text that ``loads`` accepts."""
    reader = _Reader(_decoded(data), keep_places=True)
    reader.read()
    return reader.places


def plain_scalar(text: str) -> Any:
    """What an unquoted text means. Raises ``ValueError`` for a number that JSON cannot carry."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if text[0] not in _NUMBER_START:
        return text
    if len(text) > 1_000 and text.lstrip("+-").isdigit():
        raise ValueError("a number of more than 1,000 digits; put it in quotes")
    whole: int | None = None
    if _INT.fullmatch(text):
        whole = int(text)
    elif _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        whole = int(text, 0)
    if whole is not None:
        if not INT_MIN <= whole <= INT_MAX:
            raise ValueError("a whole number beyond 64 bits; put it in quotes")
        return whole
    if _FLOAT.fullmatch(text):
        value = float(text)
        if not isfinite(value):
            raise ValueError("a number too large for a double; put it in quotes")
        return value
    if _NOT_JSON.fullmatch(text):
        raise ValueError("infinity and not-a-number have no place in a definition; use null or put it in quotes")
    return text


def _decoded(data: bytes) -> str:
    if len(data) > MAX_BYTES:
        raise TooLarge(f"the document has {len(data):,} bytes; the limit for YAML is {MAX_BYTES:,}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode(errors="replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise malformed("the text is not UTF-8", (line, column)) from None


class _Open:
    """A list or object that is being read. ``key`` is the key whose value comes next; weight counts what it holds."""

    __slots__ = ("anchor", "height", "key", "path", "value", "weight")

    def __init__(self, value: dict[str, Any] | list[Any], anchor: str | None, path: _Path) -> None:
        self.value = value
        self.anchor = anchor
        self.path = path
        self.key: str | None = None
        self.weight = 1
        self.height = 1


class _Reader:
    """Builds plain data from events."""

    def __init__(self, text: str, *, keep_places: bool = False) -> None:
        self.places: dict[str, Place] = {}
        self._text = text
        self._keep = keep_places
        self._stack: list[_Open] = []
        self._anchors: dict[str, tuple[Any, int, int]] = {}
        self._aliased = 0
        self._documents = 0
        self._root: Any = None

    def read(self) -> Any:
        """The one document's data."""
        try:
            for event in yaml.parse(self._text, Loader=_LOADER):
                self._event(event)
        except yaml.MarkedYAMLError as error:
            self._syntax(error)
        except yaml.YAMLError as error:
            at = getattr(error, "position", 0) or 0
            before = self._text[:at]
            place = (before.count("\n") + 1, len(before) - before.rfind("\n"))
            raise malformed(str(getattr(error, "reason", error)), place) from None
        return self._root

    def _event(self, event: Any) -> None:
        if isinstance(event, yaml.ScalarEvent):
            self._scalar(event)
        elif isinstance(event, yaml.MappingStartEvent):
            self._start({}, event, ("map",))
        elif isinstance(event, yaml.SequenceStartEvent):
            self._start([], event, ("seq",))
        elif isinstance(event, (yaml.MappingEndEvent, yaml.SequenceEndEvent)):
            self._end()
        elif isinstance(event, yaml.AliasEvent):
            self._alias(event)
        elif isinstance(event, yaml.DocumentStartEvent):
            self._documents += 1
            if self._documents > 1:
                self._fail(event, "a file holds one document; this is a second one")

    def _scalar(self, event: Any) -> None:
        top = self._stack[-1] if self._stack else None
        as_key = top is not None and isinstance(top.value, dict) and top.key is None
        if as_key and event.value == "<<" and event.implicit[0]:
            self._fail(event, "merge keys (<<) are not part of YAML 1.2; write the fields out")
        value = self._resolved(event)
        if event.anchor:
            self._anchors[event.anchor] = (value, 1 + len(event.value), 0)
        self._place(event, value, 1 + len(event.value), 0)

    def _resolved(self, event: Any) -> Any:
        tag = event.tag
        if tag is not None and tag not in ("!", _TAG + "str"):
            if not tag.startswith(_TAG) or tag[len(_TAG) :] not in ("int", "float", "bool", "null"):
                self._fail(event, f"the tag {shown(tag)} is not known; only plain data may stand in a document")
        elif tag is not None or event.style:
            return event.value
        try:
            return plain_scalar(event.value)
        except ValueError as error:
            self._fail(event, str(error))

    def _start(self, value: dict[str, Any] | list[Any], event: Any, tags: tuple[str, ...]) -> None:
        if event.tag not in (None, "!", *(_TAG + tag for tag in tags)):
            self._fail(event, f"the tag {shown(event.tag)} is not known; only plain data may stand in a document")
        if len(self._stack) >= MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels")
        path = self._place(event, value, 0, 0)
        if event.anchor:
            self._anchors.pop(event.anchor, None)
        self._stack.append(_Open(value, event.anchor, path))

    def _end(self) -> None:
        done = self._stack.pop()
        if done.anchor:
            self._anchors[done.anchor] = (done.value, done.weight, done.height)
        if self._stack:
            top = self._stack[-1]
            top.weight += done.weight
            top.height = max(top.height, done.height + 1)

    def _alias(self, event: Any) -> None:
        if event.anchor not in self._anchors:
            inside = any(level.anchor == event.anchor for level in self._stack)
            self._fail(event, f"*{event.anchor} stands inside itself" if inside else f"&{event.anchor} is not known")
        value, weight, height = self._anchors[event.anchor]
        self._aliased += weight
        if self._aliased > MAX_BYTES:
            self._fail(event, f"aliases make the document larger than {MAX_BYTES:,} characters")
        if len(self._stack) + height > MAX_DEPTH:
            self._fail(event, f"nested deeper than {MAX_DEPTH} levels")
        self._place(event, value, weight, height)

    def _place(self, event: Any, value: Any, weight: int, height: int) -> _Path:
        """Put a finished value, or one just begun, where it belongs; the path of that place."""
        if not self._stack:
            self._root = value
            self._remember(event, ())
            return ()
        top = self._stack[-1]
        top.weight += weight
        top.height = max(top.height, height + 1)
        if isinstance(top.value, list):
            path = (*top.path, len(top.value)) if self._keep else ()
            self._remember(event, path)
            top.value.append(value)
            return path
        if top.key is None:
            self._key(event, top, value)
            return ()
        path = (*top.path, top.key) if self._keep else ()
        top.value[top.key] = value
        top.key = None
        return path

    def _key(self, event: Any, top: _Open, key: Any) -> None:
        if not isinstance(key, str):
            what = event.value if isinstance(event, yaml.ScalarEvent) else "a list or object"
            self._fail(event, f"a key must be text, not {shown(what)}; put it in quotes")
        if key in top.value:
            self._fail(event, f"the key {shown(key)} stands here twice")
        top.key = key
        if self._keep:
            self._remember(event, (*top.path, key))

    def _remember(self, event: Any, path: _Path) -> None:
        if self._keep:
            self.places.setdefault(path_text(path), self._mark(event))

    def _mark(self, event: Any) -> Place:
        mark = event.start_mark
        return mark.line + 1, mark.column + 1

    def _fail(self, event: Any, message: str) -> NoReturn:
        raise malformed(message, self._mark(event))

    def _syntax(self, error: yaml.MarkedYAMLError) -> NoReturn:
        mark = error.problem_mark or error.context_mark
        place = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        lines = self._text.splitlines()
        line = lines[place[0] - 1] if place[0] <= len(lines) else ""
        hint = "; put texts with ${…} in quotes" if "${" in line else ""
        if line[: place[1]].endswith("\t"):
            hint = "; YAML is indented by spaces, not by tabs"
        elif ": " in line and "mapping values" in (error.problem or ""):
            hint = "; put a text with ': ' in it in quotes"
        context = f" {error.context}" if error.context else ""
        raise malformed(f"{error.problem or 'not YAML'}{context}{hint}", place) from None
