"""The tables of a store as both stores tell them to a backup: the same columns, in the same order, of plain values.

What only makes one store fast (columns of indexes, lists by state, values aside) is made anew by the store that takes the
rows in. A test compares this list with the schema of both stores, so no table and no column can be forgotten. Records
only; used by the ``dump`` and ``fill`` modules of the stores and by ``store.archive``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Literal

from msgspec import Struct

Row = tuple[Any, ...]
Type = Literal["int8", "text", "bytea"]


class Table(Struct, frozen=True):
    """One table: its columns with their types. A column that an older archive does not have is filled with its default."""

    name: str
    columns: tuple[tuple[str, Type], ...]
    defaults: tuple[tuple[str, Any], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names."""
        return tuple(name for name, _ in self.columns)

    @property
    def types(self) -> tuple[Type, ...]:
        """The columns' types."""
        return tuple(kind for _, kind in self.columns)


def _table(name: str, columns: str, **defaults: Any) -> Table:
    """``columns``: names, a ``$`` behind those of text and a ``*`` behind those of bytes."""
    found: list[tuple[str, Type]] = []
    for word in columns.split():
        kind: Type = "text" if word[-1] == "$" else "bytea" if word[-1] == "*" else "int8"
        found.append((word.rstrip("$*"), kind))
    return Table(name, tuple(found), tuple(defaults.items()))


TABLES = (
    _table("meta", "key$ value$"),
    _table("id_block", "what$ next"),
    _table("document", "graph digest* body*"),
    _table("class", "klass body*"),
    _table("run", "id state due_at created_at job$ input* params* at image*"),
    _table("task", "run no idx state klass rank due_at agent at image*"),
    _table("history_run", "run no idx version at commit_no body*"),
    _table("commit_row", "commit_no at node actor$ source$ why$ touched* position second"),
    _table("attempt", "run no idx attempt image*"),
    _table("value", "run no idx data*"),
    _table("segment", "run no idx attempt first last digest$ data*"),
    _table("artifact", "run no idx path$ digest$ size"),
    _table("entity", "space kind$ name$ version created_at updated_at deleted_at facts* image*"),
    _table(
        "entity_history",
        "space kind$ name$ version created_at updated_at deleted_at facts* image* commit_no",
        commit_no=0,
    ),
    _table("answer", "scope$ key$ request* status location$ body* at"),
    _table("outbox", "seq kind$ subject$ body* due_at"),
    _table("limit_use", "name$ key$ run no idx units"),
    _table("limit_tick", "name$ key$ tick at", at=0),
    _table("gate_wait", "name$ key$ rank run"),
    _table("cached", "work* run no idx at"),
    _table("child", "parent no idx epoch run"),
)
"""In the order in which they are written and read."""

BLOBS = _table("blob", "digest$ size no data*")
"""Blobs in pieces of BLOB_PIECE, in order; an empty blob is one empty piece."""
BLOB_PIECE = 262_144


def fitted(rows: Iterable[Row], have: tuple[str, ...], table: Table) -> Iterator[Row]:
    """Rows whose columns are ``have`` with the columns of ``table``."""
    if have == table.names:
        yield from rows
        return
    places = [have.index(name) if name in have else -1 for name in table.names]
    defaults = dict(table.defaults)
    fills = [defaults.get(name) for name in table.names]
    for row in rows:
        yield tuple(fill if place < 0 else row[place] for place, fill in zip(places, fills, strict=True))
