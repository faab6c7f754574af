"""Named limits: how much of something may be used at once, or how often it may be begun.

Records only. A ``Limit`` is the definition that is in force, kept as the image of a named thing of the kind ``limit``.
What is in use of it stands nowhere: it is what the live attempts say they took.
"""

from __future__ import annotations

from typing import Annotated, ClassVar

from msgspec import Meta, Struct

LIMIT = "limit"
"""The kind of named things that hold a ``Limit``."""

GATE = "gate"
"""The kind of rows that stand for "so many runs of this job at once"; they hold nothing, a node locks them."""

GATE_PREFIX = "job:"
"""How the names of gates begin; no limit's does, because names have no colon."""

Take = tuple[str, str, int]
"""(limit, value of its key, units): what an attempt takes while it lives."""

LimitKey = tuple[str, str]
"""(limit, value of its key): what is counted apart."""


class Limit(Struct, frozen=True, array_like=True, gc=False):
    """``slots``: units in use at once, None for no such bound. ``count`` starts per ``per_us``, 0 for no rate; ``burst`` of
    them may come together. ``key``: a text with expressions, counted apart for each value. ``paused``: nothing begins.
    """

    slots: int | None = None
    count: int = 0
    per_us: int = 0
    burst: int = 1
    key: str = ""
    paused: bool = False
    description: str = ""
    reason: str = ""
    """Why it is paused, in the words of who did it."""
    rate: str = ""
    """The rate as it was written, for people."""
    since: int = 0
    """Since when the rate and its burst are these, µs."""


class LimitBody(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """A named limit as people write it: ``slots``, or ``rate`` (with ``burst``), or both; counted apart per ``key``."""

    edn_namespace: ClassVar[str] = "limit"

    slots: Annotated[int, Meta(ge=0, le=2**40)] | None = None
    rate: Annotated[str, Meta(max_length=64)] | None = None
    burst: Annotated[int, Meta(ge=1, le=2**31)] | None = None
    key: Annotated[str, Meta(max_length=1024)] | None = None
    description: Annotated[str, Meta(max_length=4096)] | None = None


class NewLimit(LimitBody, frozen=True, kw_only=True):
    """A named limit that is not there yet: with its name."""

    edn_namespace: ClassVar[str] = "limit"

    name: str


def gate_name(job: str) -> str:
    """The name under which runs of a job are counted."""
    return GATE_PREFIX + job
