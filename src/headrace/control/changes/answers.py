"""Answers under idempotency keys that are told no more: they go.

Pure. Called by the loop that tidies up, through the ledger.
"""

from __future__ import annotations

from msgspec import Struct

from headrace.control.changes.named import Decided, Rows
from headrace.control.changes.result import ANSWERS_KEPT_US
from headrace.store.rows import EntityKey

LATER_US = 3600 * 1_000_000
"""So much longer they stay than they are told: the clock of another node may be behind this one's."""


class ForgetAnswers(Struct, frozen=True):
    """Delete those of these answers that are told no more; ``keys`` are (scope, key)."""

    keys: tuple[tuple[str, str], ...]

    def names(self) -> tuple[EntityKey, ...]:
        return ()

    def digests(self) -> tuple[bytes, ...]:
        return ()

    def decide(self, rows: Rows, now: int) -> Decided:
        """What was renewed meanwhile stays: the instant goes with each key."""
        before = over_before(now)
        return Decided(over=tuple((scope, key, before) for scope, key in self.keys))


def over_before(now: int) -> int:
    """Answers given before this instant go."""
    return now - ANSWERS_KEPT_US - LATER_US
