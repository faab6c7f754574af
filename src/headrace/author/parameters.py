"""Annotations of a job's parameters → JSON Schema, which drives checks at submit, CLI flags and forms.

Pure. ``Param`` adds bounds and help to an annotation. Called by ``job``.
"""

from __future__ import annotations

import inspect
from typing import Any

import msgspec

from headrace.author.values import Receiver, builtins, understood
from headrace.model.errors import Invalid


def Param(  # noqa: N802  # reason: reads like a type inside Annotated, as the contract writes it
    *,
    help: str | None = None,
    ge: float | None = None,
    gt: float | None = None,
    le: float | None = None,
    lt: float | None = None,
    multiple_of: float | None = None,
    pattern: str | None = None,
    min_length: int | None = None,
    max_length: int | None = None,
    title: str | None = None,
    examples: list[Any] | None = None,
) -> msgspec.Meta:
    """Bounds and help of a parameter, to be written inside ``Annotated``."""
    bounds: dict[str, Any] = {"ge": ge, "gt": gt, "le": le, "lt": lt, "multiple_of": multiple_of, "pattern": pattern}
    lengths: dict[str, Any] = {"min_length": min_length, "max_length": max_length}
    return msgspec.Meta(**bounds, **lengths, description=help, title=title, examples=examples)


def schema_of(receiver: Receiver) -> dict[str, Any]:
    """The JSON Schema of an object with one property per parameter; parameters without a default are required."""
    names = [n for n, p in receiver.parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    kinds = [understood(receiver.hints[n]) for n in names]
    try:
        schemas, shared = msgspec.json.schema_components(kinds, ref_template="#/$defs/{name}")
    except TypeError as e:
        raise Invalid(f"the parameters of {receiver.name} have an annotation without a JSON form: {e}") from e
    properties = {n: inlined(s, shared, ()) for n, s in zip(names, schemas, strict=True)}
    for name in names:
        default = receiver.parameters[name].default
        if default is not inspect.Parameter.empty:
            properties[name]["default"] = builtins(default)
    schema: dict[str, Any] = {"type": "object", "properties": properties}
    required = [n for n in names if n in receiver.required]
    if required:
        schema["required"] = required
    schema["additionalProperties"] = receiver.rest is not None
    used = {n: s for n, s in shared.items() if f"#/$defs/{n}" in repr(properties)}
    if used:
        schema["$defs"] = used
    return schema


def inlined(schema: Any, shared: dict[str, Any], above: tuple[str, ...]) -> Any:
    """The schema with its references replaced by what they mean; one that contains itself stays a reference."""
    if isinstance(schema, list):
        return [inlined(s, shared, above) for s in schema]
    if not isinstance(schema, dict):
        return schema
    name = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if name and name not in above and not _contains(shared[name], name, shared, ()):
        rest = {k: v for k, v in schema.items() if k != "$ref"}
        return {**inlined(shared[name], shared, (*above, name)), **rest}
    return {k: inlined(v, shared, above) for k, v in schema.items()}


def _contains(schema: Any, name: str, shared: dict[str, Any], seen: tuple[str, ...]) -> bool:
    if isinstance(schema, list):
        return any(_contains(s, name, shared, seen) for s in schema)
    if not isinstance(schema, dict):
        return False
    found = str(schema.get("$ref", "")).removeprefix("#/$defs/")
    if found == name:
        return True
    if found and found not in seen:
        return _contains(shared[found], name, shared, (*seen, found))
    return any(_contains(v, name, shared, seen) for k, v in schema.items() if k != "$ref")
