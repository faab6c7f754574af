"""What a backup says of itself: its header, its pieces, its manifest. Records only.

Written and read by ``store.archive``; light enough for control, which shows them.
"""

from __future__ import annotations

from msgspec import Struct, field

FORMAT = "headrace-backup"
REVISION = 1


class Header(Struct, frozen=True, kw_only=True):
    """What stands at the beginning: whose rows these are. ``at`` is the instant of the last commit in it, µs."""

    format: str = FORMAT
    revision: int = REVISION
    headrace: str
    store: str
    schema: int
    incarnation: int
    at: int
    made_at: int
    columns: dict[str, list[str]]


class Piece(Struct, frozen=True):
    """One member of the file."""

    name: str
    table: str
    rows: int
    size: int
    sha256: str


class Manifest(Struct, frozen=True, kw_only=True):
    """What stands at the end: everything that must be there."""

    header: Header
    rows: dict[str, int]
    blobs: int
    blob_size: int
    troubles: list[str] = []
    """What was wrong with the store itself when the backup was made: blobs that are damaged or missing."""
    pieces: list[Piece] = field(default_factory=list)
