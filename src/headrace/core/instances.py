"""Instances of a group come into being: given out at once where there is room, ready where there is none.

Pure and private to core; called by ``core.groups`` for each page. What is plain (no limits, nothing looked up, an agent's
work) is made in its final image, without a draft of every cell: a page has hundreds of them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from msgspec import UNSET, Struct
from msgspec.structs import replace

from headrace.core.classes import class_now, takes_now, with_takes
from headrace.core.conditions import holds
from headrace.core.draft import Draft
from headrace.core.eligible import may_begin, rooms_for
from headrace.core.ending import EXPRESSION, message_value, side_end
from headrace.core.expression import MissingValue
from headrace.core.nodes import Node
from headrace.core.readying import claim_task, lease, look_for_room, make_ready, rank_of
from headrace.core.render import Rendered, plain_attempt, render_attempt
from headrace.core.scope import RunScope, item_value
from headrace.core.work import Dispatch
from headrace.model.cells import TaskCell
from headrace.model.facts import TaskDispatched
from headrace.model.ids import next_epoch
from headrace.model.states import TaskState

_DISPATCHED = TaskState.dispatched


class Items(Struct, frozen=True):
    """How many items there are, and the one at a place."""

    total: int
    at: Callable[[int], Any]


def begin(draft: Draft, node: Node, group: TaskCell, indices: Sequence[int], items: Items) -> None:
    """Make these instances."""
    indices = indices[give_out(draft, node, group, indices, items) :]
    rank, klass, keys = rank_of(draft.now, node, draft.run), class_now(node, draft.run), draft.working.keys
    waiting: dict[int, TaskCell] = {}
    for index in indices:
        cell = TaskCell(
            group.run,
            group.no,
            index,
            TaskState.ready,
            1,
            rank=rank,
            klass=klass,
            ready_at=draft.now,
            item=item_value(items.at(index)),
        )
        if node.sift is not UNSET and _sifted(draft, node.sift, cell):
            continue
        if node.limited:
            takes = takes_now(draft, node, cell, keys)
            cell = replace(cell, more=with_takes(None, takes), klass=class_now(node, draft.run, takes))
        if node.cache is not None:
            cell = replace(cell, state=TaskState.blocked, klass=0, rank=0, ready_at=0)
        draft.put(cell)
        if node.cache is not None:
            make_ready(draft, node, cell)
        elif node.inner:
            look_for_room(draft, node, cell)
        elif not claim_task(draft, node, cell, fresh=True):
            waiting.setdefault(cell.klass, cell)
    for cell in waiting.values():
        look_for_room(draft, node, cell)


def _sifted(draft: Draft, when: Any, cell: TaskCell) -> bool:
    """Whether a new instance has ended at once, because the ``when`` of its task does not hold for its item."""
    try:
        if holds(when, RunScope(draft, cell)):
            return False
        end: dict[str, Any] = {"state": TaskState.skipped, "reason": "when"}
    except MissingValue as error:
        end = {"state": TaskState.failed, "reason": EXPRESSION, "error": message_value(str(error))}
    cell = replace(cell, state=TaskState.blocked, klass=0, rank=0, ready_at=0)
    draft.put(cell)
    side_end(draft, cell, **end)
    return True


def give_out(draft: Draft, node: Node, group: TaskCell, indices: Sequence[int], items: Items) -> int:
    """Make the first of these instances already given out, and say how many; the others go the long way.

    The same images, facts and commands as ``claim_task`` gives, one after the other.
    """
    offers, run, now = draft.working.offers, draft.run, draft.now
    if node.limited or node.cache is not None or node.inner or node.klass in draft.working.waiting:
        return 0
    if node.sift is not UNSET:
        return 0
    work = _work(draft, node)
    if work is None or not offers or not may_begin(node, run).ok:
        return 0
    rooms = rooms_for(node.placement, node.klass, offers, draft.taken)
    rank, epoch = rank_of(now, node, run), next_epoch(0, draft.working.incarnation)
    tasks, facts, commands, taken, no = draft.tasks, draft.facts, draft.commands, draft.taken, node.no
    for count, index in enumerate(indices):
        most = max(rooms)
        if most <= 0:
            return count
        place = rooms.index(most)
        agent, boot = offers[place].agent, offers[place].boot
        cell = TaskCell(
            group.run, no, index, _DISPATCHED, 1, 1, epoch, 0, 0, rank, node.klass, agent, boot, ready_at=now,
            item=item_value(items.at(index)),
        )  # fmt: skip
        try:
            spec = work(cell)
        except MissingValue:
            return count
        rooms[place] = most - 1
        taken[place] = taken.get(place, 0) + 1
        key = (group.run, no, index)
        tasks[key] = cell
        if not count:
            lease(draft, cell)
        facts.append(TaskDispatched(no, index, 1, epoch, agent))
        commands.append(Dispatch(key, run.graph, agent, boot, 1, epoch, spec, node.klass))
    return len(indices)


def _work(draft: Draft, node: Node) -> Callable[[TaskCell], Rendered] | None:
    """How the work of an instance is rendered; None when what that needs is not at hand."""
    source, given = node.source, draft.given
    if draft.run.bare and source.fixed is not None:
        bare = source.fixed
        return lambda _: bare
    if given is None:
        return None
    params = given.params
    if source.fixed is not None:
        same = plain_attempt(source, params)
        return lambda _: same
    if not draft.at_hand(node.reads):
        return None
    return lambda cell: render_attempt(source, RunScope(draft, cell), params)
