"""A restart: what a new run takes over from one that has ended, and how its cells come to be.

Pure. ``plan`` says what need not be repeated; the API calls it, reads the values and asks for a ``Submit`` that carries
the taken cells. Instances of groups are taken one by one when the new group expands (``core.groups``), so that a list
of a million items costs no more here than a small one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from headrace.core.conditions import met
from headrace.core.draft import Draft
from headrace.core.nodes import Graph, Need, Node
from headrace.model.cells import TaskCell, TaskMore, Value
from headrace.model.facts import TaskTaken
from headrace.model.ids import TaskKey
from headrace.model.states import TaskState

FAILED, START = "failed", "start"
"""The two words of ``from`` that are no task's name."""


class Takeover(Struct, frozen=True):
    """``tasks``: old number by new number, of what is taken whole. ``groups``: the same of those whose instances are."""

    tasks: dict[int, int] = {}
    groups: dict[int, int] = {}
    again: int = 0
    """How many tasks of the new run are repeated, at least in part."""


def plan(graph: Graph, old: Graph, cells: Mapping[int, TaskCell], since: str, *, same_params: bool = True) -> Takeover:
    """What a new run of ``graph`` need not repeat of a run of ``old``, whose tasks and groups are ``cells``.

    Repeated is what did not succeed, the task that ``since`` names, ``finally`` tasks, and what hangs on a repeated
    task. What a condition decided is decided anew. Tasks are known by their names.
    """
    if since == START:
        return Takeover(again=len(graph.nodes))
    found = _Plan(graph, old, cells)
    found.repeat("" if since == FAILED else since, same_params=same_params)
    tasks: dict[int, int] = {}
    groups: dict[int, int] = {}
    for node in graph.nodes:
        no = old.by_name.get(node.name)
        if no is None or no not in cells or node.final:
            continue
        if node.no not in found.again and node.each is None:
            tasks[node.no] = no
        elif node.each is not None and old.nodes[no].each is not None and node.name != since and not found.moved(node):
            # Its instances may stand even where some of them have to be done again.
            groups[node.no] = no
    return Takeover(tasks, groups, len(found.again - set(graph.finals)))


class _Plan:
    """What is repeated of a graph, found to a fixed point, since needs may point anywhere."""

    def __init__(self, graph: Graph, old: Graph, cells: Mapping[int, TaskCell]) -> None:
        self.again: set[int] = set()
        self._graph = graph
        self._old = old
        self._cells = cells

    def repeat(self, since: str, *, same_params: bool) -> None:
        """Find everything that is repeated, at least in part."""
        for node in self._graph.nodes:
            cell = self._cell(node.no)
            other_items = node.each is not None and node.each.reads.input and not same_params
            if (
                node.final
                or node.name == since
                or cell is None
                or not self._whole(cell)
                or other_items
                or (node.each is None) != (cell.counts is None)
            ):
                self.again.add(node.no)
        while more := {node.no for node in self._graph.nodes if node.no not in self.again and self.moved(node)}:
            self.again |= more

    def moved(self, node: Node) -> bool:
        """Whether something that let this task begin, or that it reads, is repeated."""
        reads = {*node.reads.cells, *node.when_reads.cells, *(node.each.reads.cells if node.each else ())}
        if not reads.isdisjoint(self.again) or any(need.task in self.again for need in node.needs if not need.any):
            return True
        others = [need for need in node.needs if need.any]
        return bool(others) and not any(self._stands(need) for need in others)

    def _whole(self, cell: TaskCell) -> bool:
        """Whether nothing of it is left to do: a failure that stops a run leaves instances of a group undone."""
        cut = self._old.stop_on_failure and cell.counts is not None and cell.counts.skipped > 0
        return _done(cell) and not cut

    def _stands(self, need: Need) -> bool:
        cell = self._cell(need.task)
        return need.task not in self.again and cell is not None and met(need, cell)

    def _cell(self, no: int) -> TaskCell | None:
        old = self._old.by_name.get(self._graph.nodes[no].name)
        return None if old is None else self._cells.get(old)


def _done(cell: TaskCell) -> bool:
    return cell.state == TaskState.succeeded or (cell.state == TaskState.skipped and cell.attempt > 0)


def taken(cell: TaskCell, key: TaskKey) -> TaskCell:
    """The cell of a task that a new run takes over, under its new key. Its log stays with the run that made it."""
    origin = cell.more.origin if cell.more is not None and cell.more.origin is not None else cell.key
    return TaskCell(
        *key,
        state=cell.state,
        version=1,
        started_at=cell.started_at,
        ended_at=cell.ended_at,
        exit_status=cell.exit_status,
        exit_code=cell.exit_code,
        reason=cell.reason,
        result=cell.result,
        item=cell.item,
        more=TaskMore(origin=origin),
    )


def take(draft: Draft, cells: tuple[TaskCell, ...]) -> None:
    """Tasks that a new run takes over have ended before it begins; then those that wait for them are told."""
    for cell in cells:
        key, result = cell.key, cell.result
        if result is not None and result.data is not None:
            draft.working_result(key, result)
        draft.put(replace(cell, result=draft.keep(key, result)))
        draft.facts.append(told(cell))
    succeeded = sum(cell.state == TaskState.succeeded for cell in cells)
    said = next((cell.exit_status for cell in cells if cell.no == draft.graph.said_no), None)
    draft.change_run(left=draft.run.left - len(cells), succeeded=draft.run.succeeded + succeeded, exit_status=said)


def told(cell: TaskCell) -> TaskTaken:
    """The fact that a result was taken over."""
    origin = cell.more.origin if cell.more is not None and cell.more.origin is not None else cell.key
    return TaskTaken(cell.no, cell.index, origin[0], cell.state)


def instance(old: TaskCell | None, key: TaskKey, item: Value, values: Mapping[TaskKey, Any]) -> TaskCell | None:
    """The new cell of an instance whose work need not be repeated; None when it must be, or its item is another one."""
    if old is None or not _done(old) or old.item != item:
        return None
    result = old.result
    if result is not None and result.place == "aside":
        found = values.get(old.key)
        if not isinstance(found, Value) or found.data is None:
            return None
        result = Value(found.size, "inline", found.data, "", found.lines, found.count)
    return taken(replace(old, result=result), key)
