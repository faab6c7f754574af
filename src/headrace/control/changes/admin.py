"""The first token of a data folder. Pure; asked by ``control.app`` at each start, so that a lost row comes back."""

from __future__ import annotations

from msgspec import Struct

from headrace.control.auth import Role, hash_token, put_token, token_name
from headrace.control.changes.named import Decided, Rows
from headrace.control.changes.tokens import TOKEN
from headrace.store.rows import EntityKey


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
        return put_token(hashed, Role.admin).decide(rows, now)
