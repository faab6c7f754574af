"""How tasks end: counted in their run or group, and what an end does to the run itself.

Pure and private to core: functions over a draft. Never tells those that wait for the task at once: that is ``moving``, or a
``Wake`` where the end is the effect of something else, so that a step stays O(out-degree). Called by every change.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec.structs import replace

from headrace.core.conditions import met
from headrace.core.draft import SWEPT_BY, Draft
from headrace.core.nodes import Graph, Node
from headrace.core.policy import AFTER_LOSS
from headrace.core.work import Follow
from headrace.model.cells import Counts, RunCell, TaskCell, Value
from headrace.model.changes import Wake
from headrace.model.facts import RunChanged, TaskEnded
from headrace.model.ids import WHOLE
from headrace.model.states import RUN_FINAL, TASK_LEASED, RunState, StopIntent, TaskState

REPEAT = "repeat"
"""The reason of a task that has succeeded and is done again."""

EXPRESSION = "expression"
"""The reason of a task whose texts could not be worked out."""


def message_value(message: str, kind: str = "MissingValue") -> Value:
    """An error as it is kept in a cell."""
    data = msgspec.json.encode({"type": kind, "message": message})
    return Value(len(data), "inline", data)


def end(draft: Draft, cell: TaskCell, state: TaskState, **fields: Any) -> TaskCell:
    """The task's final state: counted in its run, or in its group. The caller propagates it."""
    node = draft.graph.nodes[cell.no]
    run = draft.run
    leased = cell.state in TASK_LEASED and cell.counts is None
    changed = draft.change(cell, **{"state": state, "due_at": 0, "pending": 0, "ended_at": draft.now, **fields})
    draft.facts.append(
        TaskEnded(
            changed.no,
            changed.index,
            state,
            changed.attempt,
            changed.exit_status,
            changed.reason,
            changed.started_at,
            changed.ended_at,
        )
    )
    bad = state in {TaskState.failed, TaskState.lost}
    if cell.state == TaskState.held and cell.reason in AFTER_LOSS:
        draft.held(-1)
        run = draft.run
    if cell.index == WHOLE:
        draft.change_run(
            left=run.left - (not node.final),
            finals=run.finals - node.final,
            live=run.live - leased,
            failed=run.failed + (bad and not node.allow_failure),
            canceled=run.canceled + (state == TaskState.canceled),
            succeeded=run.succeeded + (state == TaskState.succeeded),
            exit_status=_exit_status(draft.graph, run, changed, bad=bad and not node.allow_failure),
        )
    else:
        _count_instance(draft, cell, state)
    if bad and draft.graph.stop_on_failure and not node.allow_failure and not node.final:
        _stop_for_failure(draft, node, changed)
    return changed


def side_end(draft: Draft, cell: TaskCell, state: TaskState, **fields: Any) -> None:
    """A task's end as the effect of something else: those that wait for it are told by a ``Wake``."""
    ended = end(draft, cell, state, **fields)
    node = draft.graph.nodes[cell.no]
    told = node.final or draft.run.intent not in SWEPT_BY
    if cell.index == WHOLE and node.edges and told and draft.run.state not in RUN_FINAL:
        draft.owe(ended, draft.now)


def halted_state(run: RunCell, cell: TaskCell) -> TaskState:
    """How a task ends that may not begin (again) because its run is being brought to its end."""
    if run.intent in SWEPT_BY:
        return TaskState.canceled
    if cell.attempt == 0:
        return TaskState.skipped
    if cell.more is not None and cell.more.repeated and not cell.failures and not cell.lost:
        return TaskState.canceled
    return TaskState.lost if cell.lost else TaskState.failed


def _exit_status(graph: Graph, run: RunCell, cell: TaskCell, *, bad: bool) -> str | None:
    """What the run says: its first failure, else what the task says whose result is the run's."""
    if len(graph.nodes) == 1:
        return cell.exit_status
    if bad:
        return cell.exit_status if run.exit_status is None or run.failed == 0 else run.exit_status
    return cell.exit_status if cell.no == graph.said_no and run.failed == 0 else run.exit_status


def _count_instance(draft: Draft, cell: TaskCell, state: TaskState) -> None:
    group = draft.task(cell.no)
    if group is None or group.counts is None:
        raise AssertionError(f"group of {cell.key} is not loaded")
    counts = group.counts
    name = state.name
    counts = replace(counts, live=counts.live - 1, **{name: getattr(counts, name) + 1})
    group = draft.change(group, counts=counts)
    each = draft.graph.nodes[cell.no].each
    if counts.live == 0 and counts.ended == counts.total:
        close_group(draft, group)
    elif counts.created < counts.total and not group.due_at and each and counts.live <= each.low:
        # With the name of the page that it needs: the wake is not followed by another one that has it.
        draft.change(group, due_at=draft.now)
        draft.commands.append(Follow(Wake(group.run, group.no, WHOLE, counts.created)))


def close_group(draft: Draft, group: TaskCell) -> None:
    """All instances have ended: the group has its state."""
    counts = group.counts or Counts()
    if counts.failed or counts.lost:
        state = TaskState.failed
    elif counts.canceled:
        state = TaskState.canceled
    elif counts.total and counts.skipped == counts.total:
        state = TaskState.skipped
    else:
        state = TaskState.succeeded
    side_end(draft, group, state)


def end_uncreated(draft: Draft, group: TaskCell) -> None:
    """The run is being brought to its end: instances that have no rows yet will never begin."""
    counts = group.counts or Counts()
    state = TaskState.canceled if draft.run.intent in SWEPT_BY else TaskState.skipped
    if counts.total < 0:
        side_end(draft, group, state, reason="stopped")
        return
    missing = counts.total - counts.created
    if missing:
        counted = {state.name: getattr(counts, state.name) + missing}
        counts = replace(counts, created=counts.total, **counted)
    group = draft.change(group, counts=counts, due_at=0)
    if counts.live == 0:
        close_group(draft, group)


def _stop_for_failure(draft: Draft, node: Node, cell: TaskCell) -> None:
    """``on_failure: stop``: nothing new begins except what this failure calls for, and what depends on that."""
    run = draft.run
    if run.intent not in {StopIntent.none, StopIntent.failure}:
        return
    failed = cell if cell.index == WHOLE else replace(cell, state=TaskState.failed, exit_status=None)
    spared = spared_by(draft.graph, node, failed, run.spared)
    if run.intent == StopIntent.none:
        if run.state == RunState.paused:
            draft.more(hold=0)
        draft.change_run(state=RunState.stopping, intent=StopIntent.failure, spared=spared, reason=run.reason)
        draft.facts.append(RunChanged(state=RunState.stopping, reason="failure"))
        draft.owe_run(cursor=0)
    elif spared != run.spared:
        draft.change_run(spared=spared)


def spared_by(graph: Graph, node: Node, cell: TaskCell, already: bytes) -> bytes:
    """The bitmap ``already``, with what this failure calls for and everything that depends on it."""
    bits = int.from_bytes(already, "little")
    todo = [edge.to for edge in node.edges if met(edge, cell)]
    while todo:
        no = todo.pop()
        if not bits >> no & 1:
            bits |= 1 << no
            todo.extend(edge.to for edge in graph.nodes[no].edges)
    return bits.to_bytes((bits.bit_length() + 7) // 8, "little")
