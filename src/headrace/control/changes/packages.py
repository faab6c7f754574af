"""Registering a package and taking it back: its bytes are a blob already; here its name gets a new version.

Pure; called by the ledger. Nothing here removes bytes: runs that are pinned to them go on.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, structs

from headrace.control.changes.named import Decided, Rows
from headrace.model.errors import Conflict, NotFound
from headrace.store.rows import Entity, EntityKey

PACKAGE = "package"

_encode = msgspec.msgpack.Encoder().encode


class PackageRecord(Struct, frozen=True, array_like=True):
    """The image of a package: the digest its name means now, and the tasks and jobs that were found in it.

    ``removed``: earlier digests that the name will not mean again.
    """

    digest: str
    size: int
    tasks: tuple[str, ...] = ()
    jobs: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


class PackageSaved(Struct, frozen=True):
    """What ``PutPackage`` and ``RollbackPackage`` give: ``outcome`` is new | unchanged | changed."""

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
        gone = () if old is None else read_package(old.image).removed
        removed = tuple(digest for digest in gone if digest != self.digest)
        image = _encode(PackageRecord(self.digest, self.size, self.tasks, self.jobs, removed))
        if old is not None and there and old.image == image:
            return Decided(PackageSaved("unchanged", old.version, old.created_at))
        version = 1 if old is None else old.version + 1
        created = now if old is None else old.created_at
        entity = Entity(PACKAGE, self.name, version, created, now, image, facts=b"saved")
        return Decided(PackageSaved("changed" if there else "new", version, created), entities=(entity,))


class RollbackPackage(Struct, frozen=True):
    """The name means what it meant at an earlier version (``record``: that version's image)."""

    name: str
    record: PackageRecord

    def names(self) -> tuple[EntityKey, ...]:
        return ((PACKAGE, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound. A removed digest: Conflict. The same digest: unchanged."""
        old = _there(rows, self.name)
        now_is = read_package(old.image)
        if self.record.digest in now_is.removed:
            raise Conflict(f"{self.record.digest[:12]} was removed from package {self.name}: register it again")
        if self.record.digest == now_is.digest:
            return Decided(PackageSaved("unchanged", old.version, old.created_at))
        image = _encode(structs.replace(self.record, removed=now_is.removed))
        back = Entity(PACKAGE, self.name, old.version + 1, old.created_at, now, image, facts=b"rolled back")
        return Decided(PackageSaved("changed", back.version, back.created_at), entities=(back,))


class RemovePackage(Struct, frozen=True):
    """Take the name back, or one earlier digest of it. Who asks has looked for users."""

    name: str
    digest: str = ""

    def names(self) -> tuple[EntityKey, ...]:
        return ((PACKAGE, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """Not there: NotFound. The digest that the name means now: Conflict."""
        old = _there(rows, self.name)
        record = read_package(old.image)
        if not self.digest:
            gone = structs.replace(old, version=old.version + 1, updated_at=now, deleted_at=now, facts=b"deleted")
            return Decided(gone.version, entities=(gone,))
        if self.digest == record.digest:
            raise Conflict(f"package {self.name} is {self.digest[:12]} now: roll it back first, or delete the package")
        if self.digest in record.removed:
            return Decided(old.version)
        image = _encode(structs.replace(record, removed=(*record.removed, self.digest)))
        told = structs.replace(old, version=old.version + 1, updated_at=now, image=image, facts=b"digest removed")
        return Decided(told.version, entities=(told,))


def _there(rows: Rows, name: str) -> Entity:
    old = rows.entities.get((PACKAGE, name))
    if old is None or old.deleted_at:
        raise NotFound(f"there is no package {name[:100]!r}")
    return old
