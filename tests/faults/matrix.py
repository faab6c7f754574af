"""Every fault point of the source: whose it is, on which stores it is passed, and at which pass it strikes under load.

``test_matrix`` greps the source: a point that is not here fails the suite, and so does one that is here and is gone.
"""

from __future__ import annotations

from msgspec import Struct

BOTH = ("sqlite", "postgresql")
SQLITE = ("sqlite",)
POSTGRES = ("postgresql",)


class Point(Struct, frozen=True):
    """One fault point. ``nth``: the pass at which the everyday matrix strikes; the tail strikes at ``more``."""

    name: str
    who: str
    nth: int = 1
    stores: tuple[str, ...] = BOTH
    more: tuple[int, ...] = (1, 2, 5)
    elsewhere: str = ""
    """The test that strikes there when nothing under ``headrace up`` passes it."""


POINTS = (
    Point("ledger.before_load", "control", 25),
    Point("ledger.after_decide", "control", 25),
    Point("ledger.before_commit", "control", 25),
    Point("ledger.after_commit", "control", 25),
    Point("ledger.before_answer", "control", 25),
    Point("ledger.before_blob", "control", elsewhere="tests/control/test_ledger_crash.py"),
    Point("store.before_migration", "control", more=()),
    Point("store.after_migration", "control", more=()),
    Point("store.before_write", "control", 20),
    Point("store.after_write", "control", 20),
    Point("store.before_commit", "control", 20),
    Point("store.after_commit", "control", 20),
    Point("blobs.before_fsync", "control", stores=SQLITE, more=(2, 4)),
    Point("blobs.after_fsync", "control", stores=SQLITE, more=(2, 4)),
    Point("blobs.before_rename", "control", stores=SQLITE, more=(2, 4)),
    Point("blobs.after_rename", "control", stores=SQLITE, more=(2, 4)),
    Point("blobs.after_chunk", "control", stores=POSTGRES, more=(2, 4)),
    Point("blobs.before_keep", "control", stores=POSTGRES, more=(2,)),
    Point("blobs.after_keep", "control", 2, more=(1, 3)),
    Point("dispatch.before_post", "control", 2),
    Point("dispatch.after_post", "control", 2),
    Point("outcomes.before_fetch", "control", 3),
    Point("outcomes.before_apply", "control", 3),
    Point("outcomes.after_apply", "control", 3),
    Point("stop.before_post", "control", more=()),
    Point("stop.after_post", "control", more=()),
    Point("outbox.before_ask", "control", 2, more=(1, 4)),
    Point("outbox.after_ask", "control", 2, more=(1, 4)),
    Point("logs.before_store", "control", more=(2,)),
    Point("logs.before_drop", "control", more=(2,)),
    Point("agent.before_journal_accept", "agent", 3),
    Point("agent.after_journal_accept", "agent", 3),
    Point("agent.before_start", "agent", 3),
    Point("agent.before_journal_outcome", "agent", 3),
    Point("agent.after_journal_outcome", "agent", 3),
    Point("agent.before_journal_acknowledged", "agent", 3),
)
