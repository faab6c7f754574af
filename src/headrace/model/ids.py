"""Identities and units that every room shares.

Pure data: nothing here reads a clock, draws a number or does IO. Called by every layer.
Instants are int microseconds UTC, durations int milliseconds, in memory and in both stores.
"""

from __future__ import annotations

from typing import NewType

RunId = NewType("RunId", int)
"""The numeric handle of a run; below 2**53 so that every JSON reader keeps it exact."""

GraphId = NewType("GraphId", int)
"""The store's number of one kept definition document."""

Instant = NewType("Instant", int)
"""Microseconds since 1970-01-01 UTC."""

Millis = NewType("Millis", int)
"""A duration in milliseconds."""

Epoch = NewType("Epoch", int)
"""Fencing token of an attempt: the store's incarnation in the high bits, a counter in the low ones."""

TaskKey = tuple[int, int, int]
"""(run, no, index): ``no`` is the task's place in its definition, ``index`` the instance, or WHOLE."""

WHOLE = -1
"""The index of a task without ``each``, and of the group cell of a task with ``each``."""

RUN_ITSELF = -1
"""The ``no`` that means the run, where a history row or a timer may belong to a run or to a task."""

MAIN_SPACE = 1
"""The only space there is yet; every named key begins with a space."""

INCARNATION_SHIFT = 40
"""Epochs carry the store's incarnation above this bit; a restore raises it and so outdates every older epoch."""

RUN_ID_MAX = 2**53 - 1


def next_epoch(before: int, incarnation: int) -> int:
    """The epoch of the claim that comes after ``before``: above that, and above all of older incarnations."""
    oldest = incarnation << INCARNATION_SHIFT
    return (max(oldest, before)) + 1
