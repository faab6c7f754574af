"""Definitions that come in: read in any format, checked with every problem at once, and pinned.

The rules are ``core.check``'s and ``codec``'s; here they are only brought together. Called by the handlers of jobs and
of submits.
"""

from __future__ import annotations

from functools import partial
from typing import Any

from msgspec import structs

from headrace.codec.documents import Document, definition_from, read_document
from headrace.control.api.call import Call
from headrace.control.api.catalog import Catalog, pinned, read_catalog, uses_python
from headrace.core.check import check
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, Problem
from headrace.store.port import Reader

WRITTEN_BY_SERVER = ("version", "created_at", "updated_at", "packages")
"""Fields that a job is shown with and that nobody sends: a document that was read may be sent back."""


async def definition_of(call: Call, name: str | None = None) -> JobDefinition:
    """The definition in the body. ``name``: what the path calls it. Raises Invalid with every problem."""
    document = read_document(call.raw, media=call.content_type)
    data = document.data
    if not isinstance(data, dict):
        raise Invalid("a definition is an object", malformed=True)
    data = {key: value for key, value in data.items() if key not in WRITTEN_BY_SERVER}
    if name is not None:
        data.setdefault("name", name)
    document = structs.replace(document, data=data)
    definition = await checked(document, call.services.reader)
    if name is not None and definition.name != name:
        message = f"the path says {name[:100]!r}: a job keeps its name"
        raise Invalid("1 problem", problems=(Problem("name", message),))
    return definition


async def checked(document: Document, reader: Reader) -> JobDefinition:
    """A checked and pinned definition. Raises Invalid with every problem."""
    catalog = await _catalog_for(document.data, reader)
    definition = definition_from(document, partial(check, known_tasks=catalog.tasks))
    return pinned(definition, catalog)


async def pinned_definition(definition: JobDefinition, reader: Reader, path: str) -> JobDefinition:
    """The same for a definition that is a record already. Problems get ``path`` in front."""
    catalog = await read_catalog(reader) if uses_python(definition) else Catalog()
    problems = check(definition, known_tasks=catalog.tasks)
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        moved = tuple(structs.replace(p, path=f"{path}.{p.path}" if p.path else path) for p in problems)
        raise Invalid(f"the definition has {count}", problems=moved)
    return pinned(definition, catalog)


async def _catalog_for(data: Any, reader: Reader) -> Catalog:
    tasks = data.get("tasks") if isinstance(data, dict) else None
    python = isinstance(tasks, list) and any(isinstance(t, dict) and "python" in t for t in tasks)
    return await read_catalog(reader) if python else Catalog()
