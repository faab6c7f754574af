"""Which rows a commit wrote, as the few bytes that its commit row keeps: from there the history is read in commit order.

Pure. An index of the history by commit would cost every run more than this (measured: 1.0 µs and 18 bytes a history row;
this costs 0.15 µs and 2 bytes). Called by the stores: once a commit to write, once a page of events to read.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import accumulate
from operator import sub

import msgspec

from headrace.model.errors import StoreError
from headrace.model.ids import RUN_ITSELF, WHOLE
from headrace.store.rows import Batch, EntityAt, HistoryAt, Logged, LogPage, Place, Touched

_Packed = tuple[list[int], list[int], list[int] | None, list[int] | None, list[EntityAt]]
"""Run numbers, each as the step from the one before; versions; task numbers; indexes (None: all of runs themselves); entities."""

KEYS_MAX = 65_536
"""So many keys of history are held of one page of commits, but at least one commit's."""

_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Packed).decode


def pack(batch: Batch) -> bytes | None:
    """What the first commit row of this batch keeps; None when nothing of it is history."""
    rows = batch.history
    named = [(e.kind, e.name, e.version) for e in batch.entities if e.facts]
    if not rows:
        return _encode(((), (), None, None, named)) if named else None
    runs = [h.run for h in rows]
    steps = list(map(sub, runs, [0, *runs]))
    versions = [h.version for h in rows]
    nos = [h.no for h in rows]
    if max(nos) == RUN_ITSELF:
        return _encode((steps, versions, None, None, named))
    return _encode((steps, versions, nos, [h.index for h in rows], named))


def unpack(data: bytes) -> Touched:
    """The keys again, in the order in which they were written."""
    try:
        steps, versions, nos, indexes, named = _decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise StoreError("a commit row does not say what it wrote") from error
    count = len(steps)
    runs = accumulate(steps)
    keys: list[HistoryAt] = list(
        zip(
            runs,
            nos if nos is not None else [RUN_ITSELF] * count,
            indexes if indexes is not None else [WHOLE] * count,
            versions,
            strict=True,
        )
    )
    return Touched(tuple(named), tuple(keys))


def bounded(rows: Iterable[tuple[int, int, int, int, bytes]], limit: int, *, ahead: bool = False) -> LogPage:
    """Commits from (position, second, commit, at, touched), as many as ``KEYS_MAX`` allows."""
    found: list[Logged] = []
    keys = 0
    for position, second, commit, at, data in rows:
        touched = unpack(data)
        keys += len(touched.entities) + len(touched.history)
        if found and keys > KEYS_MAX:
            return LogPage(found, more=True, ahead=ahead)
        found.append(Logged(Place(position, second), commit, at, touched))
    return LogPage(found, more=len(found) >= limit, ahead=ahead)


def pruned_until(kept: str | None) -> tuple[Place, int]:
    """The place up to which history was deleted, and its instant, from what ``meta`` says: three numbers, or nothing."""
    if not kept:
        return Place(), 0
    position, second, at = map(int, kept.split())
    return Place(position, second), at
