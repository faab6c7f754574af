"""Registering a package: its bytes are a blob already; here its name gets a new version. Pure; called by the ledger."""

from __future__ import annotations

import msgspec
from msgspec import Struct

from headrace.control.changes.named import Decided, Rows
from headrace.store.rows import Entity, EntityKey

PACKAGE = "package"

_encode = msgspec.msgpack.Encoder().encode


class PackageRecord(Struct, frozen=True, array_like=True):
    """The image of a package: the digest its name means now, and the tasks and jobs that were found in it."""

    digest: str
    size: int
    tasks: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()


class PackageSaved(Struct, frozen=True):
    """What ``PutPackage`` gives: ``outcome`` is new | unchanged | changed."""

    outcome: str
    version: int
    created_at: int


read_package = msgspec.msgpack.Decoder(PackageRecord).decode


class PutPackage(Struct, frozen=True):
    """The name means this digest from now on."""

    name: str
    digest: str
    size: int
    tasks: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()

    def names(self) -> tuple[EntityKey, ...]:
        return ((PACKAGE, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """New, unchanged, or the next version."""
        old = rows.entities.get((PACKAGE, self.name))
        there = old is not None and not old.deleted_at
        image = _encode(PackageRecord(self.digest, self.size, self.tasks, self.jobs))
        if old is not None and there and old.image == image:
            return Decided(PackageSaved("unchanged", old.version, old.created_at))
        version = 1 if old is None else old.version + 1
        created = now if old is None else old.created_at
        entity = Entity(PACKAGE, self.name, version, created, now, image, facts=b"saved")
        return Decided(PackageSaved("changed" if there else "new", version, created), entities=(entity,))
