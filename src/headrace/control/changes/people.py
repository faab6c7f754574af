"""Users and their sessions. Passwords come in as argon2id texts, sessions as digests: nothing here could be used to log in.

Pure; called by the ledger. A user's ``since`` is when all sessions before it died (password, disabling, made anew).
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, Struct, UnsetType, structs

from headrace.control.changes.named import Decided, Rows
from headrace.model.errors import Conflict, NotFound, Unauthorized
from headrace.store.rows import Entity, EntityKey

USER = "user"
SESSION = "session"
SESSIONS_MAX = 20
"""Sessions that one user may have at once; one more ends the one that was used longest ago."""

_encode = msgspec.msgpack.Encoder().encode


class UserRecord(Struct, frozen=True, array_like=True):
    """The image of a user. ``password`` is an argon2id text; empty: nobody can log in so."""

    role: str
    password: str = ""
    disabled: bool = False
    since: int = 0
    description: str = ""


class SessionRecord(Struct, frozen=True, array_like=True):
    """The image of a session: the digest of its text, when it was made and last used, and its end. Instants in µs."""

    digest: bytes
    made_at: int
    seen_at: int
    expires_at: int


read_user = msgspec.msgpack.Decoder(UserRecord).decode
read_session = msgspec.msgpack.Decoder(SessionRecord).decode


def session_name(user: str, slot: int) -> str:
    """The name of a session's row: a user has places for sessions, so that logins leave no rows behind."""
    return f"{user}/{slot:02d}"


class UserSaved(Struct, frozen=True):
    """What ``SetUser`` gives: the row as it is now, and whether it is ``new``."""

    row: Entity
    new: bool


class SetUser(Struct, frozen=True):
    """Make a user or change one. What is UNSET stays as it is.

    ``create``: one of that name is a conflict. ``must_exist``: none of that name is NotFound.
    """

    name: str
    role: str | UnsetType = UNSET
    password: str | UnsetType = UNSET
    disabled: bool | UnsetType = UNSET
    description: str | UnsetType = UNSET
    create: bool = False
    must_exist: bool = False

    def names(self) -> tuple[EntityKey, ...]:
        return ((USER, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """A password, a role or being disabled ends the sessions there are; what changes nothing writes nothing."""
        old = rows.entities.get((USER, self.name))
        there = old is not None and not old.deleted_at
        if old is not None and there and self.create:
            raise Conflict(f"user {self.name} is there already")
        if not there and self.must_exist:
            raise NotFound(f"no user {self.name}")
        before = read_user(old.image) if old is not None and there else UserRecord("watcher", since=now)
        given = {k: getattr(self, k) for k in ("role", "password", "disabled", "description")}
        record = structs.replace(before, **{k: v for k, v in given.items() if v is not UNSET})
        if old is not None and there and record == before:
            return Decided(UserSaved(old, new=False))
        if (record.role, record.password, record.disabled) != (before.role, before.password, before.disabled):
            record = structs.replace(record, since=now)
        version = 1 if old is None else old.version + 1
        created = old.created_at if old is not None and there else now
        row = Entity(USER, self.name, version, created, now, _encode(record), facts=b"saved")
        return Decided(UserSaved(row, new=not there), entities=(row,))


class DeleteUser(Struct, frozen=True):
    """Delete a user softly; every session and token of theirs is dead with it."""

    name: str

    def names(self) -> tuple[EntityKey, ...]:
        return ((USER, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound."""
        old = rows.entities.get((USER, self.name))
        if old is None or old.deleted_at:
            raise NotFound(f"no user {self.name}")
        gone = structs.replace(old, version=old.version + 1, updated_at=now, deleted_at=now, facts=b"deleted")
        return Decided(gone.version, entities=(gone,))


class Login(Struct, frozen=True):
    """A session begins in a place that is free, or whose session ends so.

    ``password`` is the argon2id text that was checked: another one there by now refuses. ``version`` is the place's row
    when it was looked at (0: none): another one by now is a conflict, look again.
    """

    user: str
    password: str
    name: str
    version: int
    digest: bytes
    lasts: int

    def names(self) -> tuple[EntityKey, ...]:
        return ((USER, self.user), (SESSION, self.name))

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Gives the instant at which the session ends at the latest, µs."""
        user, row = rows.entities.get((USER, self.user)), rows.entities.get((SESSION, self.name))
        record = None if user is None or user.deleted_at else read_user(user.image)
        if record is None or record.disabled or record.password != self.password:
            raise Unauthorized("the name or the password is wrong")
        if (0 if row is None else row.version) != self.version:
            raise Conflict("another login took this place")
        image = _encode(SessionRecord(self.digest, now, now, now + self.lasts))
        begun = Entity(SESSION, self.name, self.version + 1, now, now, image, facts=b"login")
        return Decided(now + self.lasts, entities=(begun,))


class Logout(Struct, frozen=True):
    """A session ends. Ended already, or the place taken by another one: nothing to do."""

    name: str
    digest: bytes

    def names(self) -> tuple[EntityKey, ...]:
        return ((SESSION, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """End it."""
        row = rows.entities.get((SESSION, self.name))
        if row is None or row.deleted_at or read_session(row.image).digest != self.digest:
            return Decided()
        gone = structs.replace(row, version=row.version + 1, updated_at=now, deleted_at=now, facts=b"logout")
        return Decided(entities=(gone,))


class SessionSeen(Struct, frozen=True):
    """The session was used: told now and then, kept without history."""

    name: str
    digest: bytes

    def names(self) -> tuple[EntityKey, ...]:
        return ((SESSION, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Move its last use on."""
        row = rows.entities.get((SESSION, self.name))
        if row is None or row.deleted_at or (record := read_session(row.image)).digest != self.digest:
            return Decided()
        record = structs.replace(record, seen_at=now)
        return Decided(entities=(structs.replace(row, image=_encode(record), facts=b""),))
