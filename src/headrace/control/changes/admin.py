"""The first token of a data folder. Pure; asked by ``control.app`` at each start, so that a lost row comes back."""

from __future__ import annotations

from msgspec import Struct

from headrace.control.auth import TOKEN_KIND, Role, TokenRecord, hash_token, token_entity
from headrace.control.changes.named import Decided, Rows
from headrace.store.rows import EntityKey


class AdminToken(Struct, frozen=True):
    """The text in the folder's ``admin-token`` file opens everything. Only its hash is kept."""

    text: str

    def names(self) -> tuple[EntityKey, ...]:
        """The token's row."""
        return ((TOKEN_KIND, hash_token(self.text)),)

    def digests(self) -> tuple[bytes, ...]:
        """No document."""
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Make the row unless it is there; a revoked token stays revoked."""
        hashed = hash_token(self.text)
        if (TOKEN_KIND, hashed) in rows.entities:
            return Decided()
        return Decided(entities=(token_entity(hashed, TokenRecord(Role.admin, "admin-file"), now),))
