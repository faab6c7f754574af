"""Reads named statements and numbered migrations from ``.sql`` files.

Never builds SQL: a statement is the text of its file, from ``-- name: it`` to the next name. Called once at opening by
``store.sqlite`` and ``store.postgres``; the conformance suite compares the names of both.
"""

from __future__ import annotations

import re
from importlib.resources import files

from headrace.model.errors import StoreError

_NAME = re.compile(r"^-- name: (\w+)[^\n]*\n", re.MULTILINE)
_MIGRATION = re.compile(r"^(\d{4})_\w+\.sql$")


def load_queries(package: str) -> dict[str, str]:
    """Every named statement in ``<package>/queries/*.sql``. Raises StoreError when a name comes twice."""
    found: dict[str, str] = {}
    for name, text in _texts(package, "queries"):
        pieces = _NAME.split(text)
        for query, body in zip(pieces[1::2], pieces[2::2], strict=True):
            if query in found:
                raise StoreError(f"{package}/queries/{name}: statement {query!r} is there twice")
            found[query] = body.strip().rstrip(";")
    return found


def load_migrations(package: str) -> list[tuple[int, str]]:
    """(number, text) of ``<package>/migrations/NNNN_name.sql`` in order. Numbers may be left out; none comes twice."""
    found: list[tuple[int, str]] = []
    for name, text in _texts(package, "migrations"):
        match = _MIGRATION.match(name)
        if match is None or (found and int(match[1]) == found[-1][0]):
            raise StoreError(f"{package}/migrations/{name}: a migration has a number of its own: NNNN_name.sql")
        found.append((int(match[1]), text))
    return found


def _texts(package: str, folder: str) -> list[tuple[str, str]]:
    entries = [e for e in files(package).joinpath(folder).iterdir() if e.name.endswith(".sql")]
    return sorted((e.name, e.read_text(encoding="utf-8")) for e in entries)
