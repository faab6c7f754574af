"""Pieces of logs that were fetched after their attempt had ended. Pure; called by the ledger."""

from __future__ import annotations

from msgspec import Struct

from headrace.control.changes.named import Decided, Rows
from headrace.store.rows import EntityKey, LogSegment


class KeepSegments(Struct, frozen=True):
    """Keep these pieces; one that is kept already stays as it is."""

    segments: tuple[LogSegment, ...]

    def names(self) -> tuple[EntityKey, ...]:
        return ()

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Nothing to judge."""
        return Decided(len(self.segments), segments=self.segments)
