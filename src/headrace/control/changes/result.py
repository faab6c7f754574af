"""What an ask gets back, and what makes a repeated ask get the first answer again.

Records only. Called by the ledger, the API and the loops.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from headrace.model.cells import RunCell
from headrace.store.rows import Answer

ANSWERS_KEPT_US = 7 * 24 * 3600 * 1_000_000
"""So long a repeated request gets its first answer again."""

KEY_USED = "was used for another request"
"""Of the refusal of an idempotency key that came with another body before."""


class Result(Struct, frozen=True):
    """What became of a change. ``cell`` is the run after it; ``value`` what a named change gives.

    ``moved``: it changed a run or a task; false for what was done already, came too late or is not owed.

    ``answer`` is set when the same request was answered before: then nothing was changed, and it is to be sent again.
    """

    run: int = 0
    cell: RunCell | None = None
    moved: bool = False
    value: Any = None
    answer: Answer | None = None


class Reply(Struct, frozen=True):
    """What the asker is told, kept under its idempotency key."""

    status: int
    location: str
    body: bytes


class AnswerKey(Struct, frozen=True):
    """An idempotency key. ``request`` is the digest of method, path and body; ``reply`` makes the answer to keep."""

    scope: str
    key: str
    request: bytes
    reply: Callable[[list[Result]], Reply]
