"""What every page needs: tables, types in words, and the docstrings of fields. Pure; called by the pages."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec
from msgspec import inspect as shapes

from headrace.codec.describe import field_texts

GENERATED = "<!-- Written by `make docs` from the code. Do not edit: the next run overwrites it. -->\n"
_CODE = re.compile(r"``([^`]+)``")
_SIMPLE = {
    shapes.AnyType: "anything",
    shapes.NoneType: "null",
    shapes.BoolType: "true or false",
    shapes.IntType: "whole number",
    shapes.FloatType: "number",
    shapes.StrType: "text",
    shapes.BytesType: "bytes",
    shapes.DateTimeType: "instant",
}


def prose(text: str | None) -> str:
    """A docstring as Markdown: its paragraphs, each on one line, with code in single back-ticks."""
    paragraphs = re.split(r"\n\s*\n", inspect.cleandoc(text or ""))
    return "\n\n".join(_CODE.sub(r"`\1`", " ".join(part.split())) for part in paragraphs)


def cell(text: str) -> str:
    """Text that may stand in a table."""
    return text.replace("\n", " ").replace("|", "\\|")


def table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; the empty text when it has no rows."""
    lines = [f"| {' | '.join(cell(c) for c in row)} |" for row in rows]
    if not lines:
        return ""
    return "\n".join([f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}", *lines]) + "\n"


def anchor(heading: str) -> str:
    """Where a heading is reached by a link."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def type_words(info: Any, linked: Iterable[str] = ()) -> str:
    """A type as a reader says it; records that are on the page are links."""
    if isinstance(info, shapes.Metadata):
        return type_words(info.type, linked)
    for kind, words in _SIMPLE.items():
        if isinstance(info, kind):
            return words + _bounds(info)
    if isinstance(info, shapes.StructType):
        name = info.cls.__name__
        return f"[{name}](#{anchor(name)})" if name in linked else name
    if isinstance(info, shapes.LiteralType):
        return " ".join(f"`{value}`" for value in info.values)
    if isinstance(info, shapes.UnionType):
        parts = [type_words(part, linked) for part in info.types if not isinstance(part, shapes.NoneType)]
        return " or ".join(dict.fromkeys(parts))
    if isinstance(info, (shapes.ListType, shapes.VarTupleType)):
        return f"list of {type_words(info.item_type, linked)}"
    if isinstance(info, shapes.DictType):
        inner = type_words(info.value_type, linked)
        return "object" if inner == "anything" else f"object of {inner}"
    return type(info).__name__


def _bounds(info: Any) -> str:
    low, high = getattr(info, "ge", None), getattr(info, "le", None)
    if low is None and high is None:
        return ""
    return f" {low:,} … {high:,}" if high is not None and low is not None else f" from {low:,}"


def default_words(field: Any) -> str:
    """What holds when the field is not given: ``required``, nothing, or the value."""
    if field.required:
        return "**required**"
    value = field.default
    if value is msgspec.NODEFAULT and field.default_factory is not msgspec.NODEFAULT:
        value = field.default_factory()
    if value in (msgspec.UNSET, msgspec.NODEFAULT, None, "", {}, []):
        return ""
    return f"`{msgspec.json.encode(value).decode().strip(chr(34))}`"


def field_docs(cls: type) -> dict[str, str]:
    """The text below each field in the source of a record and of its bases, by the field's name in Python."""
    return {name: prose(text) for name, text in field_texts(cls).items()}


def fields_table(cls: type, linked: Iterable[str], marks: dict[str, str] | None = None, *, bare: bool = False) -> str:
    """The fields of a record: name, type, default, meaning. ``marks``: what else is to be said of a field.

    ``bare``: leave the default out, as in answers, where every field is always written.
    """
    docs = field_docs(cls)
    rows = []
    for field in shapes.type_info(cls).fields:  # type: ignore[attr-defined]  # a record
        means = " ".join(part for part in (docs.get(field.name, ""), (marks or {}).get(field.encode_name, "")) if part)
        words = type_words(field.type, linked)
        rows.append((f"`{field.encode_name}`", words, *(() if bare else (default_words(field),)), means))
    if not any(row[-1] for row in rows):
        return table(("field", "type", *(() if bare else ("default",))), [row[:-1] for row in rows])
    return table(("field", "type", *(() if bare else ("default",)), "meaning"), rows)


def records_below(roots: Iterable[type]) -> list[type]:
    """The records that these refer to, themselves first, in the order in which a reader meets them."""
    found: dict[type, None] = {}
    todo = list(roots)
    while todo:
        cls = todo.pop(0)
        if cls in found:
            continue
        found[cls] = None
        for field in shapes.type_info(cls).fields:  # type: ignore[attr-defined]  # a record
            todo += _structs(field.type)
    return list(found)


def _structs(info: Any) -> list[type]:
    if isinstance(info, shapes.StructType):
        return [info.cls]
    parts = [getattr(info, name, None) for name in ("type", "item_type", "value_type")]
    parts += list(getattr(info, "types", ()))
    return [cls for part in parts if isinstance(part, shapes.Type) for cls in _structs(part)]
