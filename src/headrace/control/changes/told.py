"""Rows of the outbox that nobody has to be told any more: they go.

Pure. Called by the outbox loop, through the ledger.
"""

from __future__ import annotations

from msgspec import Struct

from headrace.control.changes.named import Decided, Rows
from headrace.store.rows import EntityKey


class Told(Struct, frozen=True):
    """Take these rows off the outbox. They must be there, and nobody else may be about to deliver them."""

    seqs: tuple[int, ...]

    def names(self) -> tuple[EntityKey, ...]:
        return ()

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Nothing but their end."""
        return Decided(told=self.seqs)
