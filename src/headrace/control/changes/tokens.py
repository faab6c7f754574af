"""Access tokens by name: only a digest is kept, never the token. Pure; called by the ledger."""

from __future__ import annotations

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided, Rows
from headrace.model.errors import Conflict, NotFound
from headrace.store.rows import Entity, EntityKey

TOKEN = "token"  # noqa: S105 -- the name of a kind of thing, not a secret

_encode = msgspec.msgpack.Encoder().encode


class TokenRecord(Struct, frozen=True, array_like=True):
    """The image of a token: the digest of its text, what it may do, until when (µs; 0: no end).

    ``scopes``: the permissions of its role that it holds, all when empty. ``owner``: the user whose token it is; it can
    do no more than they can, and dies with them. Empty: nobody's, as that of the data folder.
    """

    digest: bytes
    role: str = "admin"
    expires_at: int = 0
    scopes: tuple[str, ...] = ()
    owner: str = ""
    description: str = ""


read_token = msgspec.msgpack.Decoder(TokenRecord).decode


class PutToken(Struct, frozen=True):
    """Make a token, or give the name another one (``replace``)."""

    name: str
    digest: bytes
    role: str = "admin"
    expires_at: int = 0
    replace: bool = False
    scopes: tuple[str, ...] = ()
    owner: str = ""
    description: str = ""

    def names(self) -> tuple[EntityKey, ...]:
        return ((TOKEN, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """A live token of that name is a conflict unless it is to be replaced; one that has expired is none."""
        old = rows.entities.get((TOKEN, self.name))
        record = TokenRecord(self.digest, self.role, self.expires_at, self.scopes, self.owner, self.description)
        image = _encode(record)
        if old is not None and not old.deleted_at:
            if old.image == image:
                return Decided(old.version)
            expires_at = read_token(old.image).expires_at
            if not self.replace and not (expires_at and expires_at <= now):
                raise Conflict(f"token {self.name} is there already")
        version = 1 if old is None else old.version + 1
        entity = Entity(TOKEN, self.name, version, now, now, image, facts=b"made")
        return Decided(version, entities=(entity,))


class RevokeToken(Struct, frozen=True):
    """The token is good for nothing from now on."""

    name: str

    def names(self) -> tuple[EntityKey, ...]:
        return ((TOKEN, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound."""
        old = rows.entities.get((TOKEN, self.name))
        if old is None or old.deleted_at:
            raise NotFound(f"no token {self.name}")
        gone = structs.replace(old, version=old.version + 1, updated_at=now, deleted_at=now, facts=b"revoked")
        return Decided(gone.version, entities=(gone,))
