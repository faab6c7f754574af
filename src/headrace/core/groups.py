"""Groups: the instances of a task with ``each`` come into being a window at a time.

Pure and private to core; called when a group is woken. A step creates at most ``GROWTH`` instances, and no more live
ones than the window allows; the group's counts are its cursor.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod
from typing import Any

from msgspec.structs import replace

from headrace.core.draft import Draft
from headrace.core.eligible import stopped
from headrace.core.ending import EXPRESSION, close_group, end_uncreated, message_value, side_end
from headrace.core.expression import MissingValue, render
from headrace.core.instances import Items, begin
from headrace.core.nodes import GROWTH, TAKE_CHUNK, Each, Node
from headrace.core.restarting import instance, told
from headrace.core.scope import RunScope, item_value
from headrace.core.work import Follow
from headrace.model.cells import Counts, TaskCell
from headrace.model.changes import Wake
from headrace.model.facts import GroupExpanded
from headrace.model.ids import WHOLE, TaskKey
from headrace.model.states import TaskState

WHOLE_LIST = -1
"""``Wake.first`` of a wake that needs the whole list; below it by the item at which its page begins."""


class NotItems(ValueError):
    """What ``each`` gives is no list of items."""


def expand(draft: Draft, group: TaskCell, first: int) -> None:
    """Create what the window has room for. ``first``: the item from which the list was loaded."""
    node = draft.node(group)
    each, counts = node.each, group.counts
    if each is None or counts is None:
        raise AssertionError(f"{group.key} is no group")
    if stopped(node, draft.run):
        end_uncreated(draft, group)
        return
    source = _source(draft, node)
    if source is not None and page_from(first) != counts.created:
        _again(draft, group, counts.created if first >= 0 else WHOLE_LIST - counts.created)
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
        _again(draft, group, found)
    else:
        _create(draft, node, group, each.window, found, source)


def page_from(first: int) -> int:
    """The first item of the page that a wake names, whether it also asks for the whole list or not."""
    return first if first >= 0 else WHOLE_LIST - first


def _again(draft: Draft, group: TaskCell, first: int) -> None:
    """The group is woken once more, with the page that it needs."""
    draft.change(group, due_at=draft.now)
    draft.commands.append(Follow(Wake(group.run, group.no, WHOLE, first)))


def _source(draft: Draft, node: Node) -> TaskKey | None:
    """The group of an earlier run whose instances this one may take over."""
    more = draft.run.more
    old = dict(more.groups).get(node.no) if more is not None and more.source else None
    return None if more is None or old is None else (more.source, old, WHOLE)


def _create(draft: Draft, node: Node, group: TaskCell, window: int, items: Items, source: TaskKey | None) -> None:
    """One page of instances: those that are to be done, and of a restarted run those that need not be."""
    counts = group.counts or Counts()
    if items.total == 0:
        side_end(draft, draft.change(group, counts=Counts()), TaskState.succeeded)
        return
    room = max(0, window - counts.live)
    if source is None:
        until = min(items.total, counts.created + min(GROWTH, room))
        fresh: Sequence[int] = range(counts.created, until)
        counts = replace(counts, created=until)
    else:
        fresh, counts = _take(draft, group, counts, room, items, source)
    counts = replace(counts, total=items.total, live=counts.live + len(fresh))
    more = counts.created < items.total and counts.live < window
    group = draft.change(group, counts=counts, due_at=draft.now if more else 0)
    draft.facts.append(GroupExpanded(group.no, WHOLE, counts.created, items.total))
    if more:
        draft.commands.append(Follow(Wake(group.run, group.no, WHOLE, counts.created)))
    begin(draft, node, group, fresh, items)
    if counts.live == 0 and counts.ended == counts.total:
        close_group(draft, group)


def _take(
    draft: Draft, group: TaskCell, counts: Counts, room: int, items: Items, source: TaskKey
) -> tuple[list[int], Counts]:
    """Of the next page: what is to be done, as far as there is room; the rest has succeeded in an earlier run."""
    fresh: list[int] = []
    index, values = counts.created, draft.working.values
    last = min(items.total, index + TAKE_CHUNK)
    while index < last and len(fresh) < room:
        old = draft.working.tasks.get((source[0], source[1], index))
        cell = instance(old, (group.run, group.no, index), item_value(items.at(index)), values)
        if cell is None:
            fresh.append(index)
        else:
            draft.put(replace(cell, result=draft.keep(cell.key, cell.result)))
            draft.facts.append(told(cell))
            counts = replace(counts, **{cell.state.name: getattr(counts, cell.state.name) + 1})
        index += 1
    return fresh, replace(counts, created=index)


def _items(draft: Draft, each: Each, counts: Counts, first: int) -> Items | int:
    """The items, or the ``first`` with which the group must be woken so that they are loaded."""
    if each.fixed is not None:
        return listed(each.fixed)
    if each.paged is not None and first >= 0:
        source = draft.task(each.paged)
        if source is not None and source.result is not None:
            return _page(draft, source, counts.created, first)
    elif not draft.at_hand(each.reads):
        return first
    return listed(render(each.source, RunScope(draft)))


def _page(draft: Draft, source: TaskCell, created: int, first: int) -> Items | int:
    """The items from ``created`` on, as they were loaded for this page; only who loads may know how many there are."""
    page = draft.working.items.get((source.key, created))
    total = source.result.count if source.result is not None else -1
    if page is not None and total < 0:
        total = draft.working.totals.get(source.key, -1)
    if page is not None and total >= 0:
        return Items(total, lambda index: page[index - created])
    return created if total >= 0 or first != created else WHOLE_LIST - created


_WORDS = {type(None): "null", bool: "true or false", str: "text"}


def listed(source: Any) -> Items:
    """The items of a rendered ``each``. Raises ``NotItems``."""
    if isinstance(source, list):
        return Items(len(source), source.__getitem__)
    if not isinstance(source, dict):
        raise NotItems(f"each needs a list, not {_WORDS.get(type(source), 'a number')}")
    if not source.keys() & {"zip", "product"}:
        raise NotItems("each needs a list, not an object")
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
