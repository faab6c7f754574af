"""What a restore makes different from the backup, the same in both stores: incarnation, credentials, numbers.

Pure. Used by the ``fill`` modules of the stores and by the backup process.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct, field

DAY_US = 86_400_000_000
FIRST_DAY = 20_453
"""2025-12-31, in days since 1970: the incarnation of a restore is at least the days since then."""

RESTORED = "restored"
"""The key of ``meta`` that tells control of a restore whose unfinished attempts are to be looked at."""

STEPS = (("run", 10_000_000), ("commit", 10_000_000), ("graph", 1_000_000), ("agent", 1_000), ("node", 1_000))
"""Numbers go on at the next multiple of these: whatever was given out after the backup is never given out again."""

UNFINISHED_MAX = 1000


class Mark(Struct, frozen=True):
    """Kept under RESTORED: which backup (the instant of its last commit), and when it was restored, µs."""

    backup_at: int
    restored_at: int
    incarnation: int


class Unfinished(Struct, frozen=True):
    """A run that had not ended at the backup: what became of it since is unknown."""

    run: int
    state: int
    job: str | None
    created_at: int


class Restored(Struct, frozen=True, kw_only=True):
    """What a restore did."""

    incarnation: int
    backup_at: int
    rows: dict[str, int]
    blobs: int
    set_aside: str = ""
    unfinished: list[Unfinished] = field(default_factory=list)


def next_incarnation(backup: int, there: int, now: int) -> int:
    """Above the backup's, above that of the store that was in its place, and above those of other restores of it.

    Nobody knows of those in an empty place: so it is also never below the number of days since FIRST_DAY.
    """
    return max(backup + 1, there + 1, now // DAY_US - FIRST_DAY)


def mark_text(mark: Mark) -> str:
    """As ``meta`` keeps it."""
    return msgspec.json.encode(mark).decode()


def read_mark(text: str) -> Mark:
    """From what ``meta`` keeps."""
    return msgspec.json.decode(text, type=Mark)
