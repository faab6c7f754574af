"""Large parameters travel once per batch and not once per attempt: 50,000 instances over a list of a run's own would
otherwise carry that list 50,000 times. Pure.

Called by control's dispatch loop (``together``) and by the agent's calls (``apart``).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headrace.link.records import Assignment, Start
from headrace.model.errors import Invalid

SHARED_MIN = 1024
"""Bytes of parameters from which on it is worth a look whether others have the same."""


def together(link_epoch: int, batch: list[Assignment]) -> Start:
    """The batch as it travels."""
    params: list[bytes] = []
    places: dict[int, int] = {}
    if not any(len(a.params) >= SHARED_MIN for a in batch):
        return Start(link_epoch, batch)
    return Start(link_epoch, [_placed(a, places, params) for a in batch], params)


def _placed(a: Assignment, places: dict[int, int], params: list[bytes]) -> Assignment:
    if len(a.params) < SHARED_MIN:
        return a
    # All tasks of a run have its parameters, but nothing here relies on it.
    place = places.get(a.run)
    if place is None or params[place] != a.params:
        place = places[a.run] = len(params)
        params.append(a.params)
    return replace(a, params=b"", shared=place)


def apart(order: Start) -> Sequence[Assignment]:
    """The batch with everything in its place; equal parameters are one object. Raises Invalid."""
    if not order.params and all(a.shared < 0 for a in order.attempts):
        return order.attempts
    return [_whole(a, order.params) for a in order.attempts]


def _whole(a: Assignment, params: list[bytes]) -> Assignment:
    if a.shared < 0:
        return a
    if a.shared >= len(params):
        raise Invalid(f"parameters {a.shared} of a batch that has {len(params)}")
    return replace(a, params=params[a.shared], shared=-1)
