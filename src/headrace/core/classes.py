"""In which class a ready task waits: its placement with the keys of its limits, its job's lane, its priority.

Pure. A class is one number: the low bits name the placement (a row of its own says what that is), above them stand the
lane of the job and the priority, so that the claim loop can let jobs take turns without knowing them. Private to core
but for the parts of the number, which the claim loop reads.
"""

from __future__ import annotations

from hashlib import blake2b

import msgspec
from msgspec.structs import asdict, replace

from headrace.core.draft import Draft
from headrace.core.expression import MissingValue, render_text
from headrace.core.nodes import LANE_SHIFT, LANES, PARKED, PRIORITY_SHIFT, Node, Placement
from headrace.core.scope import RunScope
from headrace.core.work import Waits
from headrace.model.cells import RunCell, TaskCell, TaskMore
from headrace.model.ids import WHOLE
from headrace.model.limits import Take
from headrace.model.states import RunState

BASE = (1 << LANE_SHIFT) - 1
_LOWEST = 100
KEY_MAX = 200
"""So many characters of a key's value tell it from others."""


def klass_of(placement: Placement) -> int:
    """The stable 48-bit number of a placement; what was added to it later counts only where it says something."""
    told = asdict(placement)
    if not placement.keys:
        del told["keys"]
    return int.from_bytes(blake2b(msgspec.msgpack.encode(told), digest_size=6).digest(), "big")


def lane_of(job: str) -> int:
    """The lane of a job, as it stands in the number of a class. Jobs that share one share its turns."""
    return (blake2b(job.encode(), digest_size=1).digest()[0] % LANES) << LANE_SHIFT


def base_of(klass: int) -> int:
    """The placement that a class names."""
    return klass & BASE


def band_of(klass: int) -> int:
    """What classes of one priority have in common."""
    return klass >> PRIORITY_SHIFT


def waiting_class(klass: int, lane: int, priority: int) -> int:
    """The class in which tasks of this placement, lane and priority wait."""
    return klass | lane | (priority + _LOWEST) << PRIORITY_SHIFT


def class_now(node: Node, run: RunCell, takes: tuple[Take, ...] = ()) -> int:
    """The class in which a ready task of this run is looked for: none while the run is paused."""
    if run.state == RunState.paused:
        return PARKED
    priority = run.priority if node.priority is None else node.priority
    return waiting_class(keyed_class(node, takes), node.lane, priority)


def keyed_class(node: Node, takes: tuple[Take, ...]) -> int:
    """The number of the placement with the keys of these limits."""
    placement = _keyed(node, takes)
    return node.klass if placement is None else klass_of(placement)


def _keyed(node: Node, takes: tuple[Take, ...]) -> Placement | None:
    keys = tuple([key for _, key, _ in takes])
    return replace(node.placement, keys=keys) if any(keys) else None


def waits(node: Node, klass: int, takes: tuple[Take, ...]) -> Waits:
    """Tell that a task waits in this class; one that nobody has written down is told with its placement."""
    return Waits(klass, _keyed(node, takes))


def takes_now(draft: Draft, node: Node, cell: TaskCell, keys: dict[str, str]) -> tuple[Take, ...]:
    """What the task takes of limits, with the values of their keys as they are now; a key without value is empty.

    Where the run's input is not at hand, what was said before stands: the claim looks again.
    """
    limits = node.placement.limits
    if not keys or not any(keys.get(name) for name, _ in limits):
        return tuple([(name, "", units) for name, units in limits])
    if draft.given is None:
        before = cell.more.takes if cell.more is not None else ()
        return before or tuple([(name, "", units) for name, units in limits])
    scope = RunScope(draft, cell if cell.index != WHOLE else None)
    return tuple([(name, _value(keys.get(name, ""), scope), units) for name, units in limits])


def _value(template: str, scope: RunScope) -> str:
    try:
        return render_text(template, scope)[:KEY_MAX] if template else ""
    except MissingValue:
        return ""


def with_takes(more: TaskMore | None, takes: tuple[Take, ...]) -> TaskMore | None:
    """What a ready task says of the limits that it will take from."""
    if not takes:
        return more
    return TaskMore(takes) if more is None else replace(more, takes=takes)
