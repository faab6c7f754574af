"""Changes about named things (jobs, packages, agents, tokens): records with a pure ``decide`` over the rows they name.

They need no graph. The ledger locks and loads the rows of ``names``, calls ``decide`` and writes what comes back, in
the group's commit. A change that raises has touched nothing. Made by the API and the link loops.
"""

from __future__ import annotations

from typing import Any, Protocol

from msgspec import Struct, field

from headrace.store.rows import ArtifactRow, Document, Entity, EntityKey, LogSegment, OutboxRow


class Rows(Struct):
    """What was loaded, overlaid by what earlier changes of the group decided. ``documents``: graph number by digest."""

    entities: dict[EntityKey, Entity] = field(default_factory=dict)
    documents: dict[bytes, int] = field(default_factory=dict)


class Decided(Struct, frozen=True):
    """What one named change writes. ``value`` is what the asker gets."""

    value: Any = None
    entities: tuple[Entity, ...] = ()
    documents: tuple[Document, ...] = ()
    classes: tuple[tuple[int, bytes], ...] = ()
    segments: tuple[LogSegment, ...] = ()
    artifacts: tuple[ArtifactRow, ...] = ()
    outbox: tuple[OutboxRow, ...] = ()
    told: tuple[int, ...] = ()
    """Rows of the outbox that have been delivered, or that nobody waits for any more."""
    over: tuple[tuple[str, str, int], ...] = ()
    """Answers by (scope, key) that go if they were given before the instant."""


class NamedChange(Protocol):
    """What the ledger needs of such a record."""

    def names(self) -> tuple[EntityKey, ...]:
        """The rows to lock."""

    def digests(self) -> tuple[bytes, ...]:
        """Documents to look up."""

    def decide(self, rows: Rows, now: int) -> Decided:
        """Pure. Raises a HeadraceError to refuse."""
