"""The first token of a data folder, and the key of run tokens. Pure; asked by ``control.app`` at each start, so that a lost row comes back."""

from __future__ import annotations

from msgspec import Struct

from headrace.control.changes.named import Decided, Rows
from headrace.control.changes.tokens import TOKEN
from headrace.control.credentials import hash_token, put_token, token_name
from headrace.store.rows import Entity, EntityKey

SECRET: EntityKey = ("secret", "run-tokens")


class AdminToken(Struct, frozen=True):
    """The text in the folder's ``admin-token`` file opens everything. Only its hash is kept."""

    text: str

    def names(self) -> tuple[EntityKey, ...]:
        """The token's row."""
        return ((TOKEN, token_name(hash_token(self.text))),)

    def digests(self) -> tuple[bytes, ...]:
        """No document."""
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Make the row unless it is there; a revoked token stays revoked."""
        hashed = hash_token(self.text)
        if (TOKEN, token_name(hashed)) in rows.entities:
            return Decided()
        return put_token(hashed, "admin", description="of a data folder").decide(rows, now)


class RunSecret(Struct, frozen=True):
    """The key of run tokens is the store's: every node on it makes and knows the same ones. ``value`` is the key.

    ``offered`` is what this node would take; the first that is offered stays. Whoever can read the store can make
    run tokens, each of which opens one run to reading: no more than the store itself shows them.
    """

    offered: bytes

    def names(self) -> tuple[EntityKey, ...]:
        """The key's row."""
        return (SECRET,)

    def digests(self) -> tuple[bytes, ...]:
        """No document."""
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Keep the key unless one is there."""
        there = rows.entities.get(SECRET)
        if there is not None:
            return Decided(there.image)
        return Decided(self.offered, entities=(Entity(*SECRET, 1, now, now, self.offered, facts=b"made"),))
