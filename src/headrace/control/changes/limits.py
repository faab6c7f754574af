"""Making, changing, pausing and deleting a named limit. Its row is what claims lock, so a change counts at once.

Pure. Called by the ledger. Deleting is soft: the versions stay, and work that names it waits until it is put again.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided, Rows
from headrace.core.limits import body_of, limit_of
from headrace.model.errors import Conflict, Invalid, NotFound, Problem
from headrace.model.limits import LIMIT, Limit, LimitBody
from headrace.store.rows import Entity, EntityKey

_encode = msgspec.msgpack.Encoder().encode
read_limit = msgspec.msgpack.Decoder(Limit).decode


class LimitSaved(Struct, frozen=True):
    """What these changes give: ``outcome`` is new | unchanged | changed."""

    outcome: str
    entity: Entity
    limit: Limit


class _OfOne(Struct, frozen=True):
    """A change about one limit."""

    name: str

    def names(self) -> tuple[EntityKey, ...]:
        """Its row."""
        return ((LIMIT, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        """No documents."""
        return ()

    def _old(self, rows: Rows) -> Entity | None:
        old = rows.entities.get((LIMIT, self.name))
        return None if old is None or old.deleted_at else old

    def _there(self, rows: Rows) -> Entity:
        old = self._old(rows)
        if old is None:
            raise NotFound(f"there is no limit {self.name[:100]!r}")
        return old

    def _save(self, rows: Rows, limit: Limit, now: int, fact: bytes) -> Decided:
        old, there = rows.entities.get((LIMIT, self.name)), self._old(rows)
        before = None if there is None else read_limit(there.image)
        same = before is not None and _rate(before) == _rate(limit)
        limit = structs.replace(limit, since=before.since if same and before is not None else now)
        image = _encode(limit)
        if there is not None and there.image == image:
            return Decided(LimitSaved("unchanged", there, limit))
        version = 1 if old is None else old.version + 1
        created = now if there is None else there.created_at
        entity = Entity(LIMIT, self.name, version, created, now, image, facts=fact)
        return Decided(LimitSaved("new" if there is None else "changed", entity, limit), entities=(entity,))


def _rate(limit: Limit) -> tuple[int, int, int]:
    return limit.count, limit.per_us, limit.burst


class PutLimit(_OfOne, frozen=True):
    """The limit is this from now on; a pause by hand survives it. ``create``: only when it is new, or this already."""

    limit: Limit
    create: bool = False

    def decide(self, rows: Rows, now: int) -> Decided:
        """New, unchanged, or the next version."""
        old = self._old(rows)
        limit = self.limit
        if old is not None:
            before = read_limit(old.image)
            limit = structs.replace(limit, paused=before.paused, reason=before.reason)
            if self.create and body_of(before) != body_of(limit):
                raise Conflict(f"there is a limit {self.name} with another content: use PUT to change it")
        return self._save(rows, limit, now, b"saved")


class RestoreLimit(_OfOne, frozen=True):
    """A deleted limit is there again, as it was."""

    def decide(self, rows: Rows, now: int) -> Decided:
        """Never there: NotFound. There already: unchanged."""
        old = rows.entities.get((LIMIT, self.name))
        if old is None or not old.deleted_at:
            there = self._there(rows)
            return Decided(LimitSaved("unchanged", there, read_limit(there.image)))
        limit = structs.replace(read_limit(old.image), since=now)
        entity = Entity(LIMIT, self.name, old.version + 1, old.created_at, now, _encode(limit), facts=b"restored")
        return Decided(LimitSaved("changed", entity, limit), entities=(entity,))


class PatchLimit(_OfOne, frozen=True):
    """Some fields of it are others from now on (a JSON merge patch: null takes a field away)."""

    patch: dict[str, Any]

    def decide(self, rows: Rows, now: int) -> Decided:
        """Unchanged, or the next version. Raises Invalid for what the whole may not be."""
        before = read_limit(self._there(rows).image)
        merged = {**msgspec.to_builtins(body_of(before)), **self.patch}
        try:
            body = msgspec.convert({k: v for k, v in merged.items() if v is not None}, LimitBody)
        except msgspec.ValidationError as error:
            raise Invalid("1 problem", problems=(Problem("", str(error)),)) from error
        limit = structs.replace(limit_of(body), paused=before.paused, reason=before.reason)
        return self._save(rows, limit, now, b"saved")


class PauseLimit(_OfOne, frozen=True):
    """Nothing that takes from it begins until it is resumed (``paused`` false); what runs goes on."""

    paused: bool
    reason: str = ""

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound. Paused already: unchanged."""
        old = self._there(rows)
        limit = structs.replace(read_limit(old.image), paused=self.paused, reason=self.reason if self.paused else "")
        return self._save(rows, limit, now, b"paused" if self.paused else b"resumed")


class DeleteLimit(_OfOne, frozen=True):
    """It is gone; work that names it waits."""

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound."""
        old = self._there(rows)
        gone = structs.replace(old, version=old.version + 1, updated_at=now, deleted_at=now, facts=b"deleted")
        return Decided(LimitSaved("changed", gone, read_limit(old.image)), entities=(gone,))
