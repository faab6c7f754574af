"""Groups: the instances of a task with ``each`` come into being a window at a time.

Pure and private to core; called when a group is woken. A step creates at most ``CHUNK`` instances, and no more live
ones than the window allows; the group's counts are its cursor.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from headrace.core.draft import Draft
from headrace.core.eligible import stopped
from headrace.core.expression import MissingValue, render
from headrace.core.moving import (
    EXPRESSION,
    claim_task,
    class_now,
    end_uncreated,
    look_for_room,
    message_value,
    rank_of,
    ready_more,
    side_end,
)
from headrace.core.nodes import CHUNK, PARKED, Each, Node
from headrace.core.scope import RunScope, item_value
from headrace.core.work import Follow, Waits
from headrace.model.cells import Counts, TaskCell
from headrace.model.changes import Wake
from headrace.model.facts import GroupExpanded
from headrace.model.ids import WHOLE
from headrace.model.states import TaskState

WHOLE_LIST = -1
"""``Wake.first`` of a wake that needs the whole list."""


class NotItems(ValueError):
    """What ``each`` gives is no list of items."""


class Items(Struct, frozen=True):
    """How many items there are, and the one at a place."""

    total: int
    at: Callable[[int], Any]


def expand(draft: Draft, group: TaskCell, first: int) -> None:
    """Create what the window has room for. ``first``: the item from which the list was loaded."""
    node = draft.node(group)
    each, counts = node.each, group.counts
    if each is None or counts is None:
        raise AssertionError(f"{group.key} is no group")
    if stopped(node, draft.run):
        end_uncreated(draft, group)
        return
    try:
        found = _items(draft, each, counts, first)
    except MissingValue as error:
        side_end(draft, group, TaskState.failed, reason=EXPRESSION, error=message_value(str(error)))
        return
    except NotItems as error:
        side_end(draft, group, TaskState.failed, reason="each", error=message_value(str(error), "NotItems"))
        return
    if isinstance(found, int):
        draft.change(group, due_at=draft.now)
        draft.commands.append(Follow(Wake(group.run, group.no, WHOLE, found)))
    else:
        _create(draft, node, group, counts, each.window, found)


def _create(draft: Draft, node: Node, group: TaskCell, counts: Counts, window: int, items: Items) -> None:
    if items.total == 0:
        side_end(draft, draft.change(group, counts=Counts()), TaskState.succeeded)
        return
    start = counts.created
    created = min(items.total, start + min(CHUNK, max(0, window - counts.live)))
    counts = replace(counts, total=items.total, created=created, live=counts.live + created - start)
    more = created < items.total and counts.live < window
    group = draft.change(group, counts=counts, due_at=draft.now if more else 0)
    draft.facts.append(GroupExpanded(group.no, WHOLE, created, items.total))
    if more:
        draft.commands.append(Follow(Wake(group.run, group.no, WHOLE, created)))
    rank, klass = rank_of(draft.now, node, draft.run), class_now(node, draft.run)
    waits = False
    more_of_each = ready_more(node, group)
    for index in range(start, created):
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
            more=more_of_each,
        )
        draft.put(cell)
        if node.inner:
            look_for_room(draft, node, cell, klass)
            continue
        waits = not claim_task(draft, node, cell, fresh=True) or waits
    if waits and klass != PARKED:
        draft.commands.append(Waits(klass))


def _items(draft: Draft, each: Each, counts: Counts, first: int) -> Items | int:
    """The items, or the ``first`` with which the group must be woken so that they are loaded."""
    if each.fixed is not None:
        return listed(each.fixed)
    if each.paged is not None and first != WHOLE_LIST:
        source = draft.task(each.paged)
        if source is not None and source.result is not None:
            if source.result.count < 0:
                return WHOLE_LIST
            page = draft.working.items.get((source.key, counts.created))
            if page is None:
                return counts.created
            return Items(source.result.count, lambda index: page[index - counts.created])
    elif not draft.at_hand(each.reads):
        return first
    return listed(render(each.source, RunScope(draft)))


def listed(source: Any) -> Items:
    """The items of a rendered ``each``. Raises ``NotItems``."""
    if isinstance(source, list):
        return Items(len(source), source.__getitem__)
    if not isinstance(source, dict):
        raise NotItems(f"each needs a list, not {type(source).__name__}")
    lists = source.get("zip", source.get("product"))
    if not isinstance(lists, list) or not lists or not all(isinstance(one, list) for one in lists):
        raise NotItems("zip and product need lists")
    if "zip" in source:
        if len({len(one) for one in lists}) > 1:
            raise NotItems(f"zip needs lists of one length, not {', '.join(str(len(one)) for one in lists)}")
        return Items(len(lists[0]), lambda index: [one[index] for one in lists])
    return Items(prod(len(one) for one in lists), lambda index: _combination(lists, index))


def _combination(lists: list[list[Any]], index: int) -> list[Any]:
    """The combination at a place, the last list running fastest."""
    chosen: list[Any] = []
    for one in reversed(lists):
        index, place = divmod(index, len(one))
        chosen.append(one[place])
    return chosen[::-1]
