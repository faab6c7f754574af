"""How tasks move on: what an end means for those that wait for it, and how a task that nothing blocks begins.

Pure and private to core: functions over a draft, used by every change. What reaches further than the successors of one
task (skips, ends that happen as a side effect) is left to a ``Wake``, so that a step stays O(out-degree).
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headrace.core.caching import CACHED, fresh_hit, value_of
from headrace.core.conditions import holds, met
from headrace.core.draft import SWEPT_BY, Draft
from headrace.core.eligible import stopped
from headrace.core.ending import EXPRESSION, end, message_value, side_end
from headrace.core.expression import MissingValue
from headrace.core.nodes import INLINE_READS, Edge, Graph, Node
from headrace.core.readying import make_ready
from headrace.core.scope import RunScope
from headrace.core.work import HasFiles
from headrace.model.cells import Counts, RunCell, TaskCell
from headrace.model.facts import TaskTaken
from headrace.model.ids import WHOLE
from headrace.model.states import RUN_FINAL, RunState, StopIntent, TaskState

ANY_HELD = 1
"""Flag of a cell: one alternative of ``needs: {any: […]}`` held."""

GATE_PASSED = 4
"""Flag of a ``finally`` task: it has learnt that all ordinary tasks have ended."""

DELAYED = 8
"""Flag of a cell: its ``delay`` has begun."""

MISSES_SHIFT = 8
"""Above this bit of the flags: how many alternatives did not hold."""


def looked_up(draft: Draft, node: Node, cell: TaskCell) -> None:
    """What was looked up is here: the task has its result, or is ready."""
    hit = fresh_hit(draft, node, cell)
    if hit is None or cell.more is None:
        make_ready(draft, node, cell)
        return
    value = value_of(hit)
    if value is not None and value.data is not None and cell.index == WHOLE:
        draft.working_result(cell.key, value)
    if value is not None and value.place == "blob":
        value = replace(value, data=None)
    said = hit.cell
    ended = end(
        draft,
        cell,
        TaskState.succeeded,
        result=draft.keep(cell.key, value),
        exit_status=said.exit_status,
        exit_code=said.exit_code,
        reason=CACHED,
        more=replace(cell.more, origin=hit.key),
    )
    draft.facts.append(TaskTaken(cell.no, cell.index, hit.key[0], TaskState.succeeded))
    draft.commands.append(HasFiles(cell.run))
    if cell.index == WHOLE:
        propagate(draft, ended)


def propagate(draft: Draft, cell: TaskCell) -> None:
    """Tell those that wait for an ended task."""
    node = draft.graph.nodes[cell.no]
    if draft.run.state in RUN_FINAL or (draft.run.intent in SWEPT_BY and not node.final):
        return
    for edge in node.edges:
        waiting = draft.task(edge.to)
        if waiting is not None and waiting.state == TaskState.blocked:
            count_need(draft, waiting, edge, holds_now=met(edge, cell))


def count_need(draft: Draft, cell: TaskCell, need: Edge, *, holds_now: bool) -> None:
    """One condition of a blocked task is decided: it is skipped, or waits for fewer, or nothing blocks it any more."""
    flags, pending = settled_need(draft.graph.nodes[cell.no], cell.flags, cell.pending, need.any, holds_now)
    if pending < 0:
        side_end(draft, cell, TaskState.skipped, reason="needs")
        return
    if pending == cell.pending and flags == cell.flags:
        return
    cell = draft.change(cell, pending=pending, flags=flags)
    if pending == 0:
        activate(draft, cell)


def settled_need(node: Node, flags: int, pending: int, alternative: bool, holds_now: bool) -> tuple[int, int]:
    """New flags and pending count; -1 when the task's conditions can no longer hold."""
    if not alternative:
        return flags, pending - 1 if holds_now else -1
    if flags & ANY_HELD:
        return flags, pending
    if holds_now:
        return flags | ANY_HELD, pending - 1
    flags += 1 << MISSES_SHIFT
    return flags, -1 if flags >> MISSES_SHIFT == node.alternatives else pending


def begin(draft: Draft) -> None:
    """The run may begin: what nothing blocks does. Of a restarted run that may be any task."""
    for no in beginners(draft.graph, draft.run):
        cell = draft.task(no)
        if cell is not None and cell.state == TaskState.blocked and cell.pending == 0:
            activate(draft, cell)


def beginners(graph: Graph, run: RunCell) -> Sequence[int]:
    """The tasks with which a run may begin."""
    return range(len(graph.nodes)) if run.more is not None and run.more.source else graph.roots


def activate(draft: Draft, cell: TaskCell, *, woken: bool = False) -> None:
    """A task that nothing blocks: ``when`` decides, then it is ready, or begins to expand.

    What it reads may not be at hand; then it is woken in a step of its own that loads it. ``woken``: this is that step.
    """
    node = draft.graph.nodes[cell.no]
    if stopped(node, draft.run):
        if draft.run.intent == StopIntent.failure:
            side_end(draft, cell, TaskState.skipped, reason="stopped")
        return
    more = draft.run.more
    if more is not None and (more.waiting or more.begin_at or more.foreign) and draft.run.state != RunState.stopping:
        return
    reads = node.when_reads
    crowded = len(node.reads.cells) + len(reads.cells) > INLINE_READS or node.reads.gathers or reads.gathers
    if not woken and (crowded or not (draft.at_hand(reads) and draft.at_hand(node.reads))):
        draft.owe(cell, draft.now)
        return
    if isinstance(node.when, dict):
        try:
            holds_now = holds(node.when, RunScope(draft))
        except MissingValue as error:
            side_end(draft, cell, TaskState.failed, reason=EXPRESSION, error=message_value(str(error)))
            return
        if not holds_now:
            side_end(draft, cell, TaskState.skipped, reason="when")
            return
    if node.delay_ms and not cell.flags & DELAYED:
        draft.owe(cell, draft.now + node.delay_ms * 1000, flags=cell.flags | DELAYED)
    elif node.each is not None:
        now = draft.now
        draft.owe(cell, now, state=TaskState.running, ready_at=now, started_at=now, counts=Counts(total=-1))
    else:
        make_ready(draft, node, cell)
