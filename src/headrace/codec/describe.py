"""What the fields of our records mean, for whoever reads a schema: the text that stands below each field in its source.

Source is read, nothing is run. Called by ``control.api.openapi`` and by the generator of the reference.
"""

from __future__ import annotations

import ast
import inspect
import sys
from functools import lru_cache
from itertools import pairwise
from typing import Any

import msgspec
from msgspec import Struct


def field_texts(record: type) -> dict[str, str]:
    """The text below each field of a record and of its bases, by the field's name in Python; empty without source."""
    found: dict[str, str] = {}
    for base in reversed(record.__mro__):
        if issubclass(base, Struct) and base is not Struct:
            found |= _of_module(base.__module__).get(base.__qualname__, {})
    return found


@lru_cache(maxsize=256)
def _of_module(name: str) -> dict[str, dict[str, str]]:
    """Every class at the top of a module, with the texts of its fields."""
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, SyntaxError, KeyError):
        return {}
    return {node.name: _texts(node.body) for node in tree.body if isinstance(node, ast.ClassDef)}


def _texts(body: list[ast.stmt]) -> dict[str, str]:
    found: dict[str, str] = {}
    for node, after in pairwise(body):
        match node, after:
            case ast.AnnAssign(target=ast.Name(name)), ast.Expr(value=ast.Constant(str(text))):
                found[name] = inspect.cleandoc(text)
    return found


def describe(components: dict[str, Any], types: list[Any]) -> None:
    """Put the texts into the components of a schema that was made of these types."""
    for info in records_of(types):
        properties = components.get(info.cls.__name__, {}).get("properties")
        if not properties:
            continue
        texts = field_texts(info.cls)
        for field in info.fields:
            if field.name in texts and field.encode_name in properties:
                properties[field.encode_name]["description"] = " ".join(texts[field.name].split())


def records_of(types: list[Any]) -> list[msgspec.inspect.StructType]:
    """Every record that these types are made of."""
    found: dict[type, msgspec.inspect.StructType] = {}
    todo: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while todo:
        info = todo.pop()
        if isinstance(info, msgspec.inspect.StructType):
            if info.cls not in found:
                found[info.cls] = info
                todo.extend(field.type for field in info.fields)
        else:
            todo.extend(getattr(info, "types", ()))
            todo.extend(getattr(info, name) for name in ("type", "item_type", "value_type") if hasattr(info, name))
    return list(found.values())
