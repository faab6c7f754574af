"""Parameters of a run against the job's JSON Schema: defaults filled in, every problem at once.

Schemas of the usual kind are checked by a few lines here, in microseconds; all else goes to the ``jsonschema`` library,
which is loaded only then. Never fetches a ``$ref`` from anywhere. Called at submit, and at save for the schema itself.
"""

from __future__ import annotations

import datetime as dt
import re
from collections import OrderedDict
from collections.abc import Callable
from copy import deepcopy
from hashlib import sha256
from typing import Any, cast
from urllib.parse import unquote

import msgspec

from headrace.codec.patterns import linear, refusal
from headrace.model.errors import Invalid, Problem
from headrace.model.naming import did_you_mean, path_text, shown

MAX_PROBLEMS = 200
"""At most so many problems of one set of parameters are listed."""

_WORDS = frozenset(
    ("type", "title", "description", "default", "examples", "deprecated", "$comment", "$schema", "$id", "help")
)
_ROOT_WORDS = _WORDS | {"properties", "required", "additionalProperties"}
_FIELD_WORDS = _WORDS | {"enum", "const", "minimum", "maximum", "minLength", "maxLength", "format"}
_INSTANT = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
_TIME = re.compile(r"\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)?", re.ASCII)
_DATE = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
_SPAN = re.compile(r"P(?!$)(\d+W|(\d+Y)?(\d+M)?(\d+D)?(T(?=\d)(\d+H)?(\d+M)?(\d+(\.\d+)?S)?)?)", re.ASCII)
_UUID = re.compile(r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}", re.ASCII)


class ParamsSchema:
    """One job's schema, ready to check parameters. Immutable once made; share it between runs."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self.schema = schema
        self._usual = _usual(schema)
        self._validator: Any = None
        self._problems: tuple[Problem, ...] | None = () if self._usual is not None else None

    @property
    def problems(self) -> tuple[Problem, ...]:
        """What is wrong with the schema itself, with paths below ``params``."""
        if self._problems is None:
            self._problems = _schema_problems(self.schema)
        return self._problems

    def fill(self, params: dict[str, Any]) -> dict[str, Any]:
        """The parameters with defaults filled in; the given ones are not changed. Raises ``Invalid``."""
        filled = _filled(self.schema, params)
        if self._usual is not None and self._usual(filled):
            return filled
        if problems := self._found(filled):
            count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
            raise Invalid(f"the parameters have {count}", problems=tuple(problems))
        return filled

    def _found(self, params: dict[str, Any]) -> list[Problem]:
        if self.problems:
            return [Problem("params", f"the job's schema is bad: {self.problems[0].message}")]
        if self._validator is None:
            self._validator = _validator(self.schema)
        found: list[Problem] = []
        try:
            for error in self._validator.iter_errors(params):
                found.extend(_told(error))
                if len(found) >= MAX_PROBLEMS:
                    break
        except RecursionError:
            found.append(Problem("params", "nested too deep for the schema"))
        except Exception as error:  # the library raises foreign errors for a $ref that leads nowhere
            found.append(Problem("params", f"the job's schema cannot be used: {error}"))
        return list(dict.fromkeys(found))


class ParamsSchemas:
    """Schemas by content, so that a submit does not compile one. Whoever validates owns one of these."""

    def __init__(self, keep: int = 1_000) -> None:
        self._keep = keep
        self._known: OrderedDict[bytes, ParamsSchema] = OrderedDict()

    def of(self, schema: dict[str, Any]) -> ParamsSchema:
        """The compiled form of a schema."""
        digest = sha256(msgspec.msgpack.encode(schema)).digest()
        found = self._known.get(digest)
        if found is None:
            found = self._known[digest] = ParamsSchema(schema)
            if len(self._known) > self._keep:
                self._known.popitem(last=False)
        self._known.move_to_end(digest)
        return found


def _filled(schema: dict[str, Any], params: dict[str, Any]) -> dict[str, Any]:
    """A copy along the objects whose schema has properties, with the defaults of what is absent."""
    result = dict(params)
    todo: list[tuple[Any, dict[str, Any]]] = [(schema, result)]
    while todo:
        at, into = todo.pop()
        properties = at.get("properties") if isinstance(at, dict) else None
        if not isinstance(properties, dict):
            continue
        for name, inner in properties.items():
            inner = _local(schema, inner)
            if not isinstance(inner, dict):
                continue
            if name not in into:
                if "default" in inner:
                    into[name] = deepcopy(inner["default"])
            elif "properties" in inner and isinstance(into[name], dict):
                into[name] = dict(into[name])
                todo.append((inner, into[name]))
    return result


def _local(root: dict[str, Any], schema: Any) -> Any:
    """Follows ``{"$ref": "#/$defs/X"}`` where there is no default beside it."""
    for _ in range(8):
        if not isinstance(schema, dict) or "default" in schema:
            break
        ref = schema.get("$ref")
        if not isinstance(ref, str) or not ref.startswith("#/$defs/"):
            break
        schema = (root.get("$defs") or {}).get(ref.removeprefix("#/$defs/"))
    return schema


Test = Callable[[Any], bool]


def _usual(schema: dict[str, Any]) -> Test | None:
    """A quick test for schemas that only use the usual words; None for others. False means: look closer."""
    if not isinstance(schema, dict) or not schema.keys() <= _ROOT_WORDS or schema.get("type", "object") != "object":
        return None
    properties = schema.get("properties", {})
    required = schema.get("required", [])
    more = schema.get("additionalProperties", True)
    plain_words = isinstance(schema.get("title", ""), str) and isinstance(schema.get("description", ""), str)
    if not plain_words or not isinstance(properties, dict) or not isinstance(more, bool) or "$schema" in schema:
        return None
    if not isinstance(required, list) or len(set(map(str, required))) < len(required):
        return None
    if not all(isinstance(name, str) for name in required):
        return None
    tests = {name: _field(inner) for name, inner in properties.items()}
    if any(test is None for test in tests.values()) or "$id" in schema:
        return None
    usable = cast(dict[str, Test], tests)

    def test(params: dict[str, Any]) -> bool:
        for name in required:
            if name not in params:
                return False
        for name, value in params.items():
            known = usable.get(name)
            if known is None:
                if not more:
                    return False
            elif not known(value):
                return False
        return True

    return test


def _field(schema: Any) -> Test | None:
    """The quick test of one parameter: True only when it is surely good."""
    if not isinstance(schema, dict) or not schema.keys() <= _FIELD_WORDS or schema.keys() & {"$schema", "$id"}:
        return None
    if not all(isinstance(schema.get(word, ""), str) for word in ("title", "description", "format", "$comment")):
        return None
    type_ = schema.get("type")
    if not isinstance(schema.get("examples", []), list) or not isinstance(schema.get("deprecated", False), bool):
        return None
    if not all(_is_number(schema.get(word, 0)) for word in ("minimum", "maximum")):
        return None
    if not all(_is_count(schema.get(word, 0)) for word in ("minLength", "maxLength")):
        return None
    if "enum" in schema or "const" in schema:
        return _one_of(schema)
    if type_ in ("integer", "number"):
        return _number(schema, whole=type_ == "integer")
    if type_ == "string":
        return _text(schema)
    simple: dict[Any, type] = {"boolean": bool, "object": dict, "array": list, "null": type(None)}
    wanted = simple.get(type_) if isinstance(type_, str) else None
    return None if wanted is None else lambda value: type(value) is wanted


def _one_of(schema: dict[str, Any]) -> Test | None:
    """Only for lists of texts: equality of other values is a matter for the library."""
    values = schema.get("enum", [schema.get("const")])
    alone = schema.keys() <= _WORDS | {"enum", "const"} and not ("enum" in schema and "const" in schema)
    if not alone or not isinstance(values, list) or schema.get("type", "string") != "string":
        return None
    if not values or not all(isinstance(value, str) for value in values):
        return None
    allowed = frozenset(values)
    return lambda value: isinstance(value, str) and value in allowed


def _number(schema: dict[str, Any], *, whole: bool) -> Test:
    low, high = schema.get("minimum", float("-inf")), schema.get("maximum", float("inf"))
    types = (int,) if whole else (int, float)
    return lambda value: type(value) in types and low <= value <= high


def _text(schema: dict[str, Any]) -> Test:
    low, high = schema.get("minLength", 0), schema.get("maxLength", float("inf"))
    checked = FORMATS.get(schema.get("format", ""))
    if checked is None and "format" in schema:
        return lambda _: False
    return lambda value: isinstance(value, str) and low <= len(value) <= high and (checked is None or checked(value))


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _date(value: str) -> bool:
    return bool(_DATE.fullmatch(value)) and _parses(dt.date.fromisoformat, value)


def _instant(value: str) -> bool:
    return bool(_INSTANT.fullmatch(value)) and _parses(dt.datetime.fromisoformat, value.upper())


def _time(value: str) -> bool:
    return bool(_TIME.fullmatch(value)) and _parses(dt.time.fromisoformat, value.upper())


def _parses(read: Callable[[str], object], value: str) -> bool:
    try:
        read(value)
    except ValueError:
        return False
    return True


FORMATS: dict[str, Callable[[str], bool]] = {
    "date": _date,
    "date-time": _instant,
    "time": _time,
    "duration": lambda value: bool(_SPAN.fullmatch(value)),
    "uuid": lambda value: bool(_UUID.fullmatch(value)),
}
"""Formats that are tested; others say something to people only."""


def _validator(schema: dict[str, Any]) -> Any:
    import jsonschema  # 80 ms; only schemas beyond the usual words, and wrong parameters, need it
    import referencing

    formats = jsonschema.FormatChecker(formats=())
    for name, test in FORMATS.items():
        formats.checks(name)(lambda value, test=test: not isinstance(value, str) or test(value))
    schema = {word: value for word, value in schema.items() if word != "$schema"}
    return linear(jsonschema.Draft202012Validator)(schema, format_checker=formats, registry=referencing.Registry())


def _schema_problems(schema: Any) -> tuple[Problem, ...]:
    import jsonschema

    if not isinstance(schema, dict):
        return (Problem("params", "a schema is an object"),)
    found: list[Problem] = []
    meta = jsonschema.Draft202012Validator(jsonschema.Draft202012Validator.META_SCHEMA)
    try:
        found.extend(
            Problem(path_text(("params", *error.absolute_path)), f"not JSON Schema: {_brief(error)}")
            for error in meta.iter_errors(schema)
        )
    except RecursionError:
        found.append(Problem("params", "nested too deep"))
    if schema.get("type", "object") != "object":
        found.append(Problem("params.type", "parameters are an object: write type: object"))
    found.extend(_refs_and_patterns(schema))
    if {"patternProperties", "unevaluatedProperties"} <= _keys(schema):  # the library's test of both is not linear
        found.append(Problem("params", "patternProperties with unevaluatedProperties: write additionalProperties"))
    return tuple(dict.fromkeys(found))


def _refs_and_patterns(schema: dict[str, Any]) -> list[Problem]:
    """References to elsewhere and patterns that are none, anywhere in the schema."""
    found = []
    todo: list[tuple[tuple[str | int, ...], Any]] = [(("params",), schema)]
    while todo:
        path, item = todo.pop()
        if isinstance(item, list):
            todo.extend(((*path, at), inner) for at, inner in enumerate(item))
        if not isinstance(item, dict):
            continue
        ref = item.get("$ref")
        if isinstance(ref, str) and not _leads_somewhere(schema, ref):
            found.append(Problem(path_text((*path, "$ref")), f"{shown(ref)} is not in this document; use $defs"))
        for place, pattern in _patterns(item):
            if told := refusal(pattern):
                found.append(Problem(path_text((*path, *place)), f"not a pattern that can be used: {told}"))
        todo.extend(((*path, key), inner) for key, inner in item.items() if key not in ("default", "enum", "const"))
    return found


def _patterns(item: dict[str, Any]) -> list[tuple[tuple[str, ...], str]]:
    """The patterns that stand in one object of the schema, each with its place there."""
    found: list[tuple[tuple[str, ...], str]] = []
    if isinstance(item.get("pattern"), str):
        found.append((("pattern",), item["pattern"]))
    if isinstance(item.get("patternProperties"), dict):
        found.extend((("patternProperties", pattern), pattern) for pattern in item["patternProperties"])
    return found


def _keys(schema: Any) -> set[str]:
    """Every key anywhere in it, also inside values, for a reference may lead there."""
    found: set[str] = set()
    todo = [schema]
    while todo:
        item = todo.pop()
        if isinstance(item, dict):
            found.update(item)
            todo.extend(item.values())
        elif isinstance(item, list):
            todo.extend(item)
    return found


def _leads_somewhere(root: Any, ref: str) -> bool:
    """Whether a reference stays in the document and its pointer, if it is one, leads to something."""
    if not ref.startswith("#/"):
        return ref.startswith("#")
    for step in ref.removeprefix("#/").split("/"):
        key = unquote(step).replace("~1", "/").replace("~0", "~")
        if isinstance(root, dict) and key in root:
            root = root[key]
        elif isinstance(root, list) and key.isdecimal() and len(key) < 10 and int(key) < len(root):
            root = root[int(key)]
        else:
            return False
    return True


def _told(error: Any) -> list[Problem]:
    """One error of the library as problems with the path of the parameter that is meant."""
    path = ("params", *error.absolute_path)
    if error.validator == "required" and isinstance(error.instance, dict):
        missing = [name for name in error.validator_value if name not in error.instance]
        return [Problem(path_text((*path, name)), "is missing and has no default") for name in missing]
    if error.validator == "additionalProperties" and error.validator_value is False:
        known = list(error.schema.get("properties", {}))
        extra = [name for name in error.instance if name not in known]
        if not error.schema.get("patternProperties"):
            return [
                Problem(path_text((*path, name)), f"unknown parameter{did_you_mean(name, known)}") for name in extra
            ]
    return [Problem(path_text(path), _brief(error))]


def _brief(error: Any) -> str:
    if error.validator == "type":
        wanted = error.validator_value
        words = wanted if isinstance(wanted, str) else " or ".join(map(str, wanted))
        return f"expected {words}, not {shown(error.instance)}"
    if error.validator == "enum":
        return f"{shown(error.instance)} is not one of {shown(error.validator_value, 200)}"
    if error.validator == "format":
        return f"{shown(error.instance)} is no {error.validator_value}"
    if error.validator == "pattern":
        return f"{shown(error.instance)} does not match {error.validator_value}"
    return _cut(error.message)


def _cut(message: str) -> str:
    """The library repeats whole values in its messages; so much of one is enough."""
    return message if len(message) <= 300 else message[:299] + "…"
