"""What happened to a backup, written down: made, removed, asked to be restored. The file itself is not the ledger's.

Pure. Called by the API, through the ledger, after the deed: so that who did it, when and from where can be asked.
"""

from __future__ import annotations

from enum import Enum

from msgspec import Struct

from headrace.control.changes.named import Decided, Rows
from headrace.store.rows import Entity, EntityKey

BACKUP = "backup"


class Deed(Enum):
    """What was done with it; as the event says it."""

    made = b"made"
    removed = b"removed"
    restore_asked = b"restore_asked"


class NoteBackup(Struct, frozen=True):
    """What was done with the backup of this name."""

    name: str
    deed: Deed

    def names(self) -> tuple[EntityKey, ...]:
        """Its row."""
        return ((BACKUP, self.name),)

    def digests(self) -> tuple[bytes, ...]:
        """No documents."""
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """The next version of its row."""
        old = rows.entities.get((BACKUP, self.name))
        version = 1 if old is None else old.version + 1
        created = now if old is None or old.deleted_at else old.created_at
        gone = now if self.deed is Deed.removed else 0
        note = Entity(BACKUP, self.name, version, created, now, b"", deleted_at=gone, facts=self.deed.value)
        return Decided(entities=(note,))
