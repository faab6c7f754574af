"""Definition files and bodies: from bytes to a checked record, every problem with path, line and column.

The rules themselves are ``core.check``'s, which the caller passes in (codec does not know core). Called by control when
a job is saved, by the client and CLI when a file is read.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import UNSET, Struct, structs

from headrace.codec.params import ParamsSchema
from headrace.codec.positions import Positions
from headrace.codec.shape import salvage
from headrace.codec.wire import EDN, JSON, MEDIA, SUFFIXES, YAML, media_of, plain, positions_of
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, Problem
from headrace.model.naming import parent_path

Check = Callable[[JobDefinition], Iterable[Problem]]


_EDN = re.compile(rb"\{[\s,]*:|#:")


class Document(Struct, frozen=True):
    """Plain data and where its parts stand. ``name`` is the file's, for messages; ``size`` its bytes."""

    data: Any
    positions: Positions = Positions()
    name: str = ""
    size: int = 0


def read_document(
    data: bytes, *, media: str | None = None, name: str | None = None, type_: Any = JobDefinition
) -> Document:
    """The plain data of a document. The format is ``media``, else what the file's suffix says, else a look at it.

    ``type_`` is what the document describes; EDN's keywords are read by it. Raises ``Invalid`` (malformed, with line
    and column) or ``TooLarge``.
    """
    format_ = media_of(media) if media is not None else _guess(data, name or "")
    if format_ in (JSON, YAML, EDN):
        data = data.removeprefix(b"\xef\xbb\xbf")
    return Document(plain(data, format_, type_), positions_of(data, format_), name or "", len(data))


def definition_from(document: Document, check: Check | None = None) -> JobDefinition:
    """The job definition of a document. Raises ``Invalid`` with every problem, each with line and column.

    ``check`` is ``core.check.check`` with what it needs bound; without it only the shape is looked at. Where the
    shape is wrong, the rest is checked all the same and everything is listed together.
    """
    definition, problems = salvage(document.data, JobDefinition)
    if definition is not None:
        problems = problems + _beyond(problems, _rules(definition, check))
    if problems:
        placed = attach(problems, document.positions)
        what = document.name or "the definition"
        count = "1 problem" if len(placed) == 1 else f"{len(placed)} problems"
        raise Invalid(f"{what} has {count}", problems=tuple(placed))
    if definition is None:
        raise Invalid("the document is no definition")
    return definition


def attach(problems: Iterable[Problem], positions: Positions) -> list[Problem]:
    """The problems in the order of the file, with line and column where the format has them."""
    placed = []
    for problem in problems:
        place = positions.find(problem.path) if problem.line is None else None
        placed.append(structs.replace(problem, line=place[0], column=place[1]) if place else problem)
    return sorted(placed, key=lambda problem: (problem.line or 0, problem.column or 0))


def _rules(definition: JobDefinition, check: Check | None) -> list[Problem]:
    found = list(check(definition)) if check is not None else []
    if definition.params is not UNSET:
        found.extend(ParamsSchema(definition.params).problems)
    return found


def _beyond(shape: list[Problem], rules: list[Problem]) -> list[Problem]:
    """The rules' problems, without those that only follow from a wrong shape at the same place."""
    if not shape:
        return rules
    spoilt = {problem.path for problem in shape}
    holders = {parent_path(path) for path in spoilt}
    kept = []
    for problem in rules:
        path = problem.path
        follows = path in holders
        while path and not follows:
            follows = path in spoilt
            path = parent_path(path)
        if not follows:
            kept.append(problem)
    return kept


def _guess(data: bytes, name: str) -> str:
    for suffix, media in SUFFIXES.items():
        if name.lower().endswith(suffix):
            return MEDIA[media]
    start = data.removeprefix(b"\xef\xbb\xbf").lstrip()
    if _EDN.match(start):
        return EDN
    return JSON if start[:1] in (b"{", b"[") else YAML
