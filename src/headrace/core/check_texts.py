"""Checks the expressions of a definition: do they parse, and does what they name exist where they stand?

Pure; knows every place of a definition that is rendered and those that never are. Called by ``core.check`` only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, Final

import msgspec
from msgspec import UNSET, Struct

from headrace.core.expression import ROOTS, ExpressionError, Ref, parse, texts_of
from headrace.core.render import DEFAULT_INTERPRETER, program_places
from headrace.model.definition import Condition, EachOf, JobDefinition, Task
from headrace.model.errors import Problem
from headrace.model.naming import did_you_mean, path_text

RUN_FIELDS: Final = ("id", "job", "url", "labels")
FIRE_FIELDS: Final = ("instant", "date", "business_date", "previous", "next", "late")
TASK_FIELDS: Final = ("result", "exit_status", "state")
MAX_HINTS: Final = 200
"""How many nearest names one check looks for; each costs time per known name."""

_OTHER_KINDS = ("container", "job", "wait", "approve", "http")
_OURS = re.compile(r"(?<!\$)\$\{\s*(?:" + "|".join(ROOTS) + r")\b")
_Path = tuple[str | int, ...]


class Found:
    """Collects problems, and finds the nearest names within a bound."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self._hints = MAX_HINTS

    def add(self, path: str, message: str) -> None:
        """Note one problem."""
        self.problems.append(Problem(path, message))

    def near(self, name: str, known: Any) -> str:
        """`` (did you mean 'x'?)`` or nothing. Large sets are asked less often, so that the whole stays linear."""
        cost = 1 + len(known) // 500
        if self._hints < cost:
            return ""
        self._hints -= cost
        return did_you_mean(name, known)


class Place(Struct, frozen=True, gc=False):
    """Where a text stands: which roots it may use."""

    path: _Path
    item: bool = False
    """``${item}`` and ``${index}`` exist here."""
    tasks: bool = True
    own: str = ""
    """The task that the text belongs to."""


class Texts:
    """The expression rules of one definition."""

    def __init__(self, definition: JobDefinition, names: dict[str, int], found: Found) -> None:
        self._names = names
        self._found = found
        self._params = _declared(definition.params)
        self._final = {task.name for task in definition.tasks if task.finally_}

    def job(self, definition: JobDefinition) -> None:
        """The job's own texts."""
        for path, text in texts_of(definition.env):
            self._text(Place(("env", *path), tasks=False), text)
        if definition.result is not UNSET:
            for path, text in texts_of(definition.result):
                self._text(Place(("result", *path)), text)
        if definition.concurrency is not UNSET and definition.concurrency.key is not UNSET:
            self._text(Place(("concurrency", "key"), tasks=False), definition.concurrency.key)

    def task(self, no: int, task: Task) -> list[str]:
        """Every task that this task's texts refer to and that exists, each once."""
        named: dict[str, None] = {}
        item = task.each is not UNSET
        for path, text, may_item in _rendered(task):
            place = Place(("tasks", no, *path), item and may_item, own=task.name)
            named.update(dict.fromkeys(self._text(place, text)))
        return list(named)

    def _text(self, place: Place, text: str) -> list[str]:
        if "${" not in text:
            return []
        try:
            refs = parse(text).refs
        except ExpressionError as error:
            self._found.add(path_text(place.path), f"bad expression: {error.message}")
            return []
        named = []
        for ref in refs:
            wrong = self._ref(ref, place)
            if wrong:
                self._found.add(path_text(place.path), f"${{{ref}}}: {wrong}")
            elif ref.root == "tasks":
                named.append(str(ref.path[0]))
        return named

    def _ref(self, ref: Ref, place: Place) -> str:
        """What is wrong with a path, or the empty text."""
        if ref.root == "tasks":
            return self._task_ref(ref, place)
        if ref.root == "params":
            return self._param(ref)
        if ref.root == "run":
            return self._field(ref, RUN_FIELDS)
        if ref.root == "fire":
            return self._field(ref, FIRE_FIELDS)
        if not place.item and place.path[2:3] == ("each",):
            return f"{ref.root} is not known yet: each is what makes the items"
        if not place.item:
            return f"{ref.root} exists only in the texts of a task with each"
        return "index is a number and has no fields" if ref.root == "index" and ref.path else ""

    def _task_ref(self, ref: Ref, place: Place) -> str:
        if not place.tasks:
            return "results of tasks are not known here"
        if len(ref.path) < 2:
            return "say which task and what of it, as in tasks.fetch.result"
        name = str(ref.path[0])
        if name not in self._names:
            return f"there is no task {name!r}{self._found.near(name, self._names)}"
        if name == place.own:
            return "a task cannot read its own result"
        if place.own and name in self._final and place.own not in self._final:
            return f"{name!r} is a finally task: it begins when all others have ended"
        what = str(ref.path[1])
        if what not in TASK_FIELDS:
            return f"a task has {', '.join(TASK_FIELDS)}, not {what!r}{self._found.near(what, TASK_FIELDS)}"
        return ""

    def _param(self, ref: Ref) -> str:
        if self._params is None or not ref.path:
            return ""
        name = ref.path[0]
        if isinstance(name, int):
            return "params is an object: name a parameter"
        if name in self._params:
            return ""
        return f"the schema of params does not declare {name!r}{self._found.near(name, self._params)}"

    def _field(self, ref: Ref, fields: tuple[str, ...]) -> str:
        if ref.path and ref.path[0] in fields:
            return ""
        name = str(ref.path[0]) if ref.path else ""
        near = self._found.near(name, fields) if name else ""
        return f"{ref.root} has {', '.join(fields)}{near}"


def traps(definition: JobDefinition) -> list[Problem]:
    """Texts that look like expressions and stand where nothing is rendered."""
    advice = "is not rendered in program text: pass it by env or argv, or read $HEADRACE_PARAM_<NAME>"
    found = []
    for no, task in enumerate(definition.tasks):
        texts: list[tuple[_Path, str]] = []
        if task.script is not UNSET:
            texts.append((("script",), task.script))
        argv, field = _argv(task)
        texts.extend(((field, at), argv[at]) for at in sorted(program_places(argv)))
        for path, text in texts:
            if hit := _OURS.search(text):
                shown = text[hit.start() : hit.start() + 60].split("}")[0] + "}"
                found.append(Problem(path_text(("tasks", no, *path)), f"{shown} {advice}"))
    return found


def _argv(task: Task) -> tuple[tuple[str, ...], str]:
    if task.command is not UNSET:
        return tuple(task.command), "command"
    if task.script is not UNSET:
        return (DEFAULT_INTERPRETER if task.interpreter is UNSET else tuple(task.interpreter)), "interpreter"
    return (), "command"


def _rendered(task: Task) -> Iterator[tuple[_Path, str, bool]]:
    """Every text of a task that is rendered and holds ``${``; the flag says whether an item may be named there."""
    argv, field = _argv(task)
    if any("${" in text for text in argv):
        raw = program_places(argv) if any(text.startswith("-") for text in argv) else frozenset()
        yield from (((field, at), text, True) for at, text in enumerate(argv) if at not in raw and "${" in text)
    for name, text in task.env.items():
        if "${" in text:
            yield ("env", name), text, True
    for at, text in enumerate(task.outputs):
        yield ("outputs", at), text, True
    if task.with_:
        yield from ((("with", *path), text, True) for path, text in texts_of(task.with_))
    if task.label is not UNSET:
        yield ("label",), task.label, True
    if task.cache is not UNSET and task.cache.key is not UNSET:
        yield ("cache", "key"), task.cache.key, True
    if task.each is not UNSET:
        each = msgspec.to_builtins(task.each) if isinstance(task.each, EachOf) else task.each
        yield from ((("each", *path), text, False) for path, text in texts_of(each))
    if task.when is not UNSET:
        yield from ((("when", *path), text, True) for path, text in texts_of(_plain(task.when)))
    for kind in _OTHER_KINDS:
        given = getattr(task, kind)
        if given is not UNSET:
            yield from (((kind, *path), text, True) for path, text in texts_of(_plain(given)))


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value) if isinstance(value, (Struct, Condition)) else value


def _declared(schema: Any) -> frozenset[str] | None:
    """The parameters that a schema declares; None where it leaves the names open or says them in other ways."""
    if schema is UNSET or not isinstance(schema, dict):
        return None
    if any(schema.get(word) not in (None, False) for word in _OPEN_WORDS):
        return None
    properties = schema.get("properties", {})
    return frozenset(properties) if isinstance(properties, dict) else None


_OPEN_WORDS = (
    "additionalProperties",
    "unevaluatedProperties",
    "patternProperties",
    "$ref",
    "$dynamicRef",
    "allOf",
    "anyOf",
    "oneOf",
    "if",
    "dependentSchemas",
)
