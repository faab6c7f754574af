"""What the backup process is asked and what it answers. Records only; JSON on its stdin and stdout."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from headrace.store.manifest import Manifest
from headrace.store.restored import Restored


class Work(Struct, frozen=True, kw_only=True):
    """What is to be done. ``dsn`` empty: SQLite in ``folder``. ``file``: the archive."""

    do: Literal["save", "check", "restore"]
    file: str
    folder: str = ""
    dsn: str = ""
    force: bool = False
    held: bool = False
    """Who asks holds the folder's lock, has let this process inherit it, and has not opened the store."""
    parent: int = 0
    """The process that asks: the work ends when it does."""


class Done(Struct, frozen=True, kw_only=True):
    """What came of it. ``error`` says why nothing did; ``kind`` is its class."""

    manifest: Manifest | None = None
    restored: Restored | None = None
    size: int = 0
    error: str = ""
    kind: str = ""
