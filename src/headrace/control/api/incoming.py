"""Definitions that come in: read in any format, checked with every problem at once, and pinned.

The rules are ``core.check``'s and ``codec``'s; here they are only brought together. Called by the handlers of jobs and
of submits.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import Struct, structs

from headrace.codec.documents import Document, definition_from, read_document
from headrace.control.api.call import Call
from headrace.control.aside import aside
from headrace.control.catalog import (
    Catalog,
    missing_of,
    pinned,
    read_catalog,
    told_missing,
    uses_python,
    with_missing,
)
from headrace.core.check import check
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, Problem
from headrace.store.port import Reader

WRITTEN_BY_SERVER = ("version", "created_at", "updated_at", "deleted_at", "waits_for", "packages")
"""Fields that a job is shown with and that nobody sends: a document that was read may be sent back."""


class Incoming(Struct, frozen=True):
    """A checked and pinned definition. ``missing``: tasks that no package has yet, in words."""

    definition: JobDefinition
    missing: tuple[str, ...] = ()


async def document_of(call: Call, type_: Any = JobDefinition) -> Document:
    """The body as a document that describes a ``type_``. Raises Invalid (malformed)."""
    return await aside(len(call.raw), partial(read_document, call.raw, media=call.content_type, type_=type_))


async def definition_of(call: Call, name: str | None = None) -> Incoming:
    """The definition in the body. ``name``: what the path calls it. Raises Invalid with every problem.

    ``?allow_missing=true``: Python tasks may be missing; everything else is checked all the same.
    """
    document = await document_of(call)
    return await named_definition(call, document, name, allow_missing=call.yes("allow_missing"))


WAY_OUT = "; to save the job before its tasks are registered, allow_missing=true"


async def named_definition(call: Call, document: Document, name: str | None, *, allow_missing: bool) -> Incoming:
    """The definition that a document holds, under the name that the path gives it. Raises Invalid."""
    data = document.data
    if not isinstance(data, dict):
        raise Invalid("a definition is an object", malformed=True)
    data = {key: value for key, value in data.items() if key not in WRITTEN_BY_SERVER}
    if name is not None:
        data.setdefault("name", name)
    document = structs.replace(document, data=data)
    incoming = await checked(document, call.services.reader, allow_missing=allow_missing)
    if name is not None and incoming.definition.name != name:
        message = f"the path says {name[:100]!r}: a job keeps its name"
        raise Invalid("1 problem", problems=(Problem("name", message),))
    return incoming


async def checked(document: Document, reader: Reader, *, allow_missing: bool = False) -> Incoming:
    """A checked and pinned definition. Raises Invalid with every problem."""
    catalog = await _catalog_for(document.data, reader)
    return await aside(document.size, partial(incoming_from, document, catalog, allow_missing=allow_missing))


def incoming_from(document: Document, catalog: Catalog, *, allow_missing: bool) -> Incoming:
    """The same with a catalog at hand."""
    missing: list[tuple[str, str]] = []

    def rules(definition: JobDefinition) -> list[Problem]:
        if allow_missing:
            missing.extend(missing_of(definition, catalog))
        found = check(definition, known_tasks=with_missing(catalog, missing))
        if allow_missing or not missing_of(definition, catalog):
            return found
        return [structs.replace(p, message=p.message + WAY_OUT) if p.path.endswith("python") else p for p in found]

    definition = definition_from(document, rules)
    return Incoming(pinned(definition, catalog, missing), told_missing(missing))


async def pinned_definition(definition: JobDefinition, reader: Reader, path: str, size: int) -> JobDefinition:
    """The same for a definition that is a record already, of about so many bytes. Problems get ``path`` in front."""
    catalog = await read_catalog(reader) if uses_python(definition) else Catalog()
    problems = await aside(size, partial(check, definition, known_tasks=catalog.tasks))
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        moved = tuple(structs.replace(p, path=f"{path}.{p.path}" if p.path else path) for p in problems)
        raise Invalid(f"the definition has {count}", problems=moved)
    return pinned(definition, catalog)


async def _catalog_for(data: Any, reader: Reader) -> Catalog:
    tasks = data.get("tasks") if isinstance(data, dict) else None
    python = isinstance(tasks, list) and any(isinstance(t, dict) and "python" in t for t in tasks)
    return await read_catalog(reader) if python else Catalog()
