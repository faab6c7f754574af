"""The expression language of definitions: ``${path}`` and ``${path ?? path ?? "literal"}``, and nothing more.

Pure: it reads texts and asks a ``Scope`` for values; it never evaluates code, never recurses on what users send and is
bounded in length. A path is a root, then ``.name``, ``[3]`` or ``["any key"]``; ``$${`` writes ``${``.
Called by ``core.check`` and ``core.graph.compile`` (which names does a text need?) and wherever a task's inputs are rendered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec

from headrace.model.errors import Invalid

ROOTS: Final = ("params", "tasks", "run", "fire", "item", "index")
"""What a path may begin with."""

MAX_TEXT: Final = 65_536
"""Longest text, in characters, that may hold an expression."""

MAX_STEPS: Final = 64
"""Most steps of one path, and most paths of one expression."""

MAX_EXPRESSIONS: Final = 1_024
"""Most expressions in one text."""

MAX_RENDERED: Final = 4 * 1_048_576
"""Longest text, in characters, that rendering may make out of one text."""

_CACHED_TEXT: Final = 1_024
_OPEN = re.compile(r"\$?\$\{")
_SPACE = re.compile(r"[ \t\r\n]*")
_NAME = re.compile(r"\w[\w-]*")
_INDEX = re.compile(r"\[[ \t]*([0-9]{1,9})[ \t]*\]")
_USUAL = re.compile(r"\$\{ ?(" + "|".join(ROOTS) + r")((?:\.\w[\w-]*){0,32}) ?\}")
"""One path of plain names: nearly all expressions are that."""
_STRING = re.compile(r'"(?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4}))*"')


class Missing(Enum):
    """The type of ``MISSING``."""

    MISSING = "missing"


MISSING: Final = Missing.MISSING
"""What ``Scope.lookup`` answers when a path leads to no value. ``None`` is a value: JSON's null."""


class ExpressionError(Invalid):
    """A text holds a bad expression. ``position`` counts characters of the text from 0."""

    def __init__(self, message: str, position: int) -> None:
        super().__init__(f"{message} (at character {position + 1})")
        self.position = position


class MissingValue(ValueError):
    """A text cannot be rendered: a path has no value, or the text would become too long. ``path`` is as written."""

    def __init__(self, path: str, why: str = "has no value") -> None:
        super().__init__(f"${{{path}}} {why}")
        self.path = path


class Scope(Protocol):
    """Where values come from: the run's params, results of tasks, the item of a fan-out ..."""

    def lookup(self, root: str, path: tuple[str | int, ...]) -> Any:
        """The value, or ``MISSING``. Never raises for a path that the grammar allows."""
        ...


class Ref(msgspec.Struct, frozen=True, gc=False):
    """One path: ``tasks.clean.result.rows[0]`` is ``Ref("tasks", ("clean", "result", "rows", 0))``."""

    root: str
    path: tuple[str | int, ...]

    def __str__(self) -> str:
        return self.root + "".join(map(_step_text, self.path))


class Choice(msgspec.Struct, frozen=True):
    """One ``${…}``: the first path with a value, else the literal if there is one."""

    refs: tuple[Ref, ...]
    literal: str | None = None

    def value(self, scope: Scope) -> Any:
        """The first value that is there and not null; else the literal; else null if a path was null.

        Raises ``MissingValue`` when no path has a value and there is no literal.
        """
        found: Any = MISSING
        for ref in self.refs:
            value = scope.lookup(ref.root, ref.path)
            if value is not MISSING and value is not None:
                return value
            if value is None:
                found = None
        if self.literal is not None:
            return self.literal
        if found is MISSING:
            raise MissingValue(" ?? ".join(map(str, self.refs)))
        return found


class Template(msgspec.Struct, frozen=True):
    """A parsed text: literal pieces and choices in order."""

    parts: tuple[str | Choice, ...]
    refs: tuple[Ref, ...] = ()
    """Every path of the text, each once, in order."""
    exact: bool = False
    """The whole text is one ``${…}``: its value keeps its type."""

    def render(self, scope: Scope) -> Any:
        """The value if the template is exact, else text."""
        if self.exact:
            part = self.parts[0]
            return part.value(scope) if isinstance(part, Choice) else part
        return self._joined(scope)

    def _joined(self, scope: Scope) -> str:
        room = MAX_RENDERED
        pieces: list[str] = []
        for part in self.parts:
            piece = part if isinstance(part, str) else json_text(part.value(scope))
            room -= len(piece)
            if room < 0:
                named = str(part.refs[0]) if isinstance(part, Choice) else "…"
                raise MissingValue(named, f"makes the text longer than {MAX_RENDERED // 1_048_576} MiB")
            pieces.append(piece)
        return "".join(pieces)


def parse(text: str) -> Template:
    """The template of a text. Raises ``ExpressionError`` with the position and how to mend it."""
    if "${" not in text:
        return Template((text,) if text else ())
    if len(text) <= _CACHED_TEXT:
        return _parse_cached(text)
    if len(text) > MAX_TEXT:
        raise ExpressionError(
            f"a text with expressions may have {MAX_TEXT:,} characters; this one has {len(text):,}",
            MAX_TEXT,
        )
    return _parse(text)


def render(value: Any, scope: Scope) -> Any:
    """A JSON value with every text in it rendered; keys of objects stay as they are. The value is not changed.

    Raises ``MissingValue`` or ``ExpressionError``.
    """
    if isinstance(value, str):
        return parse(value).render(scope) if "${" in value else value
    if not isinstance(value, (dict, list, tuple)):
        return value
    if isinstance(value, dict) and (flat := _flat(value, scope)) is not None:
        return flat
    holder: list[Any] = [None]
    todo: list[tuple[Any, Any, Any]] = [(holder, 0, value)]
    while todo:
        into, key, item = todo.pop()
        if isinstance(item, str):
            into[key] = parse(item).render(scope) if "${" in item else item
        elif isinstance(item, dict):
            into[key] = made = dict.fromkeys(item)
            todo.extend((made, name, inner) for name, inner in item.items())
        elif isinstance(item, (list, tuple)):
            into[key] = row = [None] * len(item)
            todo.extend((row, at, inner) for at, inner in enumerate(item))
        else:
            into[key] = item
    return holder[0]


def _flat(value: dict[str, Any], scope: Scope) -> dict[str, Any] | None:
    """The same of an object that holds no other ones, as most do; None for one that does."""
    made: dict[str, Any] = {}
    for name, item in value.items():
        if isinstance(item, str):
            made[name] = parse(item).render(scope) if "${" in item else item
        elif isinstance(item, (dict, list, tuple)):
            return None
        else:
            made[name] = item
    return made


def render_text(value: Any, scope: Scope) -> str:
    """Like ``render``, for argv and env: a value that is not text becomes its JSON text."""
    return json_text(render(value, scope))


def refs_of(value: Any) -> tuple[Ref, ...]:
    """Every path used anywhere in a JSON value, each once. Raises ``ExpressionError`` at the first bad text."""
    found: dict[Ref, None] = {}
    todo = [value]
    while todo:
        item = todo.pop()
        if isinstance(item, str):
            if "${" in item:
                found.update(dict.fromkeys(parse(item).refs))
        elif isinstance(item, dict):
            todo.extend(reversed(item.values()))
        elif isinstance(item, (list, tuple)):
            todo.extend(reversed(item))
    return tuple(found)


def texts_of(value: Any) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Every text that holds ``${``, in document order, with the keys and indices that lead to it."""
    todo: list[tuple[tuple[str | int, ...], Any]] = [((), value)]
    while todo:
        path, item = todo.pop()
        if isinstance(item, str):
            if "${" in item:
                yield path, item
        elif isinstance(item, dict):
            todo.extend(((*path, key), inner) for key, inner in reversed(item.items()))
        elif isinstance(item, (list, tuple)):
            todo.extend(((*path, at), item[at]) for at in range(len(item) - 1, -1, -1))


def walk(value: Any, path: tuple[str | int, ...]) -> Any:
    """The value that a path leads to inside a JSON value, or ``MISSING``."""
    for step in path:
        if isinstance(step, str):
            if not isinstance(value, dict) or step not in value:
                return MISSING
        elif not isinstance(value, (list, tuple)) or step >= len(value):
            return MISSING
        value = value[step]
    return value


def json_text(value: Any) -> str:
    """Text as it is, any other value as its JSON text."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value).decode()


def _parse(text: str) -> Template:
    if (usual := _USUAL.fullmatch(text)) is not None:
        ref = Ref(usual[1], tuple(usual[2].split(".")[1:]))
        return Template((Choice((ref,)),), (ref,), exact=True)
    parts: list[str | Choice] = []
    plain: list[str] = []
    at = count = 0
    while opening := _OPEN.search(text, at):
        plain.append(text[at : opening.start()])
        if len(opening.group()) == 3:
            plain.append("${")
            at = opening.end()
            continue
        count += 1
        if count > MAX_EXPRESSIONS:
            raise ExpressionError(f"a text may hold {MAX_EXPRESSIONS:,} expressions", opening.start())
        if before := "".join(plain):
            parts.append(before)
        plain.clear()
        choice, at = _choice(text, opening.start())
        parts.append(choice)
    if rest := "".join(plain) + text[at:]:
        parts.append(rest)
    refs = dict.fromkeys(ref for part in parts if isinstance(part, Choice) for ref in part.refs)
    return Template(tuple(parts), tuple(refs), len(parts) == 1 and isinstance(parts[0], Choice))


_parse_cached = lru_cache(maxsize=4_096)(_parse)


def _choice(text: str, start: int) -> tuple[Choice, int]:
    """The choice whose ``${`` is at ``start``, and where the text goes on behind its ``}``."""
    usual = _USUAL.match(text, start)
    if usual is not None:
        root, names = usual.groups()
        return Choice((Ref(root, tuple(names.split(".")[1:])),)), usual.end()
    refs: list[Ref] = []
    at = _skip(text, start + 2)
    while True:
        if text.startswith('"', at):
            if not refs:
                raise ExpressionError(
                    'a literal stands only behind ??, as in ${params.owner ?? "ops"}',
                    at,
                )
            literal, at = _literal(text, at)
            return Choice(tuple(refs), literal), _close(text, at, start)
        ref, at = _ref(text, at, start)
        refs.append(ref)
        if len(refs) > MAX_STEPS:
            raise ExpressionError(f"an expression may name {MAX_STEPS} paths", at)
        at = _skip(text, at)
        if not text.startswith("??", at):
            return Choice(tuple(refs)), _close(text, at, start)
        at = _skip(text, at + 2)


def _ref(text: str, at: int, start: int) -> tuple[Ref, int]:
    root = _NAME.match(text, at)
    if root is None:
        raise _unexpected(
            text,
            at,
            start,
            f"a path is expected here; it begins with one of {', '.join(ROOTS)}",
        )
    if root.group() not in ROOTS:
        raise ExpressionError(
            f"{_shown(root.group())} is not known here; a path begins with one of {', '.join(ROOTS)}. "
            "To write ${ itself, write $${",
            at,
        )
    at = root.end()
    steps: list[str | int] = []
    while at < len(text) and text[at] in ".[":
        step, at = _step(text, at)
        steps.append(step)
        if len(steps) > MAX_STEPS:
            raise ExpressionError(f"a path may have {MAX_STEPS} steps", at)
    return Ref(root.group(), tuple(steps)), at


def _step(text: str, at: int) -> tuple[str | int, int]:
    if text[at] == ".":
        name = _NAME.match(text, at + 1)
        if name is None:
            raise ExpressionError(
                'a name is expected behind the dot; other keys are written ["any key"]',
                at + 1,
            )
        return name.group(), name.end()
    if index := _INDEX.match(text, at):
        return int(index.group(1)), index.end()
    inner = _skip(text, at + 1)
    if not text.startswith('"', inner):
        raise ExpressionError(
            'behind [ stands a whole number or a key in double quotes: [3], ["any key"]',
            inner,
        )
    key, behind = _literal(text, inner)
    behind = _skip(text, behind)
    if not text.startswith("]", behind):
        raise ExpressionError("] is missing behind the key", behind)
    return key, behind + 1


def _literal(text: str, at: int) -> tuple[str, int]:
    found = _STRING.match(text, at)
    if found is None:
        raise ExpressionError(
            'a text in double quotes, written as in JSON, is not closed or holds a bad "\\" code',
            at,
        )
    try:
        value: str = json.loads(found.group())
        value.encode()
    except ValueError:
        raise ExpressionError("the text in quotes holds half of a \\u pair", at) from None
    return value, found.end()


def _close(text: str, at: int, start: int) -> int:
    at = _skip(text, at)
    if not text.startswith("}", at):
        raise _unexpected(text, at, start, "} or ?? is expected here")
    return at + 1


def _unexpected(text: str, at: int, start: int, expected: str) -> ExpressionError:
    if at >= len(text):
        return ExpressionError("${ is not closed by }; to write ${ itself, write $${", start)
    return ExpressionError(
        f"{expected}, not {_shown(text[at : at + 10])}. The language has only ${{path}} and "
        '${path ?? path ?? "literal"}; compute in a task instead',
        at,
    )


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


def _step_text(step: str | int) -> str:
    if isinstance(step, int):
        return f"[{step}]"
    return f".{step}" if _NAME.fullmatch(step) else f"[{json.dumps(step, ensure_ascii=False)}]"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:39] + "…")
