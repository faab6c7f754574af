"""Several changes about named things as one: all of them, or none. Pure; called by the ledger."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headrace.control.changes.named import Decided, NamedChange, Rows
from headrace.store.rows import EntityKey

Outcome = Literal["created", "unchanged", "changed"]


class Together(Struct, frozen=True):
    """A later change sees what an earlier one decided. The first that is refused refuses all.

    ``dry``: nothing is written. Gives the outcome of each.
    """

    changes: tuple[NamedChange, ...]
    dry: bool = False

    def names(self) -> tuple[EntityKey, ...]:
        """The rows of all."""
        return tuple(dict.fromkeys(key for change in self.changes for key in change.names()))

    def digests(self) -> tuple[bytes, ...]:
        """The documents of all."""
        return tuple(dict.fromkeys(digest for change in self.changes for digest in change.digests()))

    def decide(self, rows: Rows, now: int) -> Decided:
        """Over a copy of the rows, so that who is refused has touched nothing."""
        seen = Rows(dict(rows.entities), dict(rows.documents))
        parts: list[Decided] = []
        outcomes: list[Outcome] = []
        for change in self.changes:
            part = change.decide(seen, now)
            outcomes.append(_outcome(part, seen))
            seen.entities.update({(entity.kind, entity.name): entity for entity in part.entities})
            seen.documents.update({document.digest: document.graph for document in part.documents})
            parts.append(part)
        if self.dry:
            return Decided(outcomes)
        return Decided(
            outcomes,
            entities=tuple(entity for part in parts for entity in part.entities),
            documents=tuple(document for part in parts for document in part.documents),
            classes=tuple(dict.fromkeys(one for part in parts for one in part.classes)),
            outbox=tuple(row for part in parts for row in part.outbox),
        )


def _outcome(part: Decided, before: Rows) -> Outcome:
    if not part.entities:
        return "unchanged"
    old = before.entities.get((part.entities[0].kind, part.entities[0].name))
    return "created" if old is None or old.deleted_at else "changed"
