"""How tasks move: ready, claimed, ended, and what their end means for those that wait for them.

Pure and private to core: functions over a draft, used by every change. What reaches further than the successors of one
task (skips, ends that happen as a side effect) is left to a ``Wake``, so that a step stays O(out-degree).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from headrace.core.caching import CACHED, fresh_hit, value_of, work_of
from headrace.core.classes import class_now, takes_now, waits, with_takes
from headrace.core.conditions import holds, met
from headrace.core.draft import SWEPT_BY, Draft
from headrace.core.eligible import choose, held_back, stopped
from headrace.core.expression import MissingValue
from headrace.core.limits import ticks_of
from headrace.core.nodes import INLINE_READS, PARKED, RANK_SLOPE_MS, Edge, Graph, Node
from headrace.core.policy import AFTER_LOSS
from headrace.core.render import Rendered, plain_attempt, render_attempt
from headrace.core.scope import RunScope
from headrace.core.work import Alarm, Dispatch, Follow, HasFiles, Parked
from headrace.model.cells import Counts, RunCell, TaskCell, TaskMore, Value
from headrace.model.changes import Claim, Wake
from headrace.model.facts import RunChanged, TaskDispatched, TaskEnded, TaskReadied, TaskTaken
from headrace.model.ids import RUN_ITSELF, WHOLE, next_epoch
from headrace.model.states import RUN_FINAL, TASK_LEASED, RunState, StopIntent, TaskState

ANY_HELD = 1
"""Flag of a cell: one alternative of ``needs: {any: […]}`` held."""

REFUSED_ONCE = 2
"""Flag of a cell: its last dispatch was refused by the agent."""

GATE_PASSED = 4
"""Flag of a ``finally`` task: it has learnt that all ordinary tasks have ended."""

DELAYED = 8
"""Flag of a cell: its ``delay`` has begun."""

REPEAT = "repeat"
"""The reason of a task that has succeeded and is done again."""

MISSES_SHIFT = 8
"""Above this bit of the flags: how many alternatives did not hold."""

EXPRESSION = "expression"


def rank_of(now: int, node: Node, run: RunCell) -> int:
    """The constant place among ready tasks: the ready instant in ms, earlier by each point of priority."""
    priority = run.priority if node.priority is None else node.priority
    return now // 1000 - priority * RANK_SLOPE_MS


def make_ready(draft: Draft, node: Node, cell: TaskCell, *, claim: bool = True) -> None:
    """Nothing but room is missing now; claimed in this very step when an agent has room."""
    if node.cache is not None and not draft.working.unlimited and _looks_up(draft, node, cell):
        return
    if claim and not node.inner and claim_task(draft, node, cell, fresh=True):
        return
    takes = takes_now(draft, node, cell, draft.working.keys) if node.limited else ()
    klass = class_now(node, draft.run, takes)
    ready = draft.change(
        cell,
        state=TaskState.ready,
        pending=0,
        due_at=0,
        rank=rank_of(draft.now, node, draft.run),
        klass=klass,
        ready_at=draft.now,
        more=with_takes(cell.more, takes),
    )
    draft.facts.append(TaskReadied(cell.no, cell.index))
    look_for_room(draft, node, ready)


def _looks_up(draft: Draft, node: Node, cell: TaskCell) -> bool:
    """Whether it is first looked up if this work was done before: then the task is woken when that is known."""
    if cell.state != TaskState.blocked or (cell.more is not None and cell.more.cache):
        return False
    try:
        spec = rendering(draft, node, cell)
        if spec is None:
            return False
        work = work_of(draft, node, cell, spec)
    except MissingValue as error:
        side_end(draft, cell, TaskState.failed, reason=EXPRESSION, error=message_value(str(error)))
        return True
    more = TaskMore(cache=work) if cell.more is None else replace(cell.more, cache=work)
    draft.owe(cell, draft.now, pending=0, more=more)
    return True


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


def look_for_room(draft: Draft, node: Node, cell: TaskCell) -> None:
    """A ready task waits to be claimed. What needs no agent is claimed in this commit if the bounds allow."""
    if cell.klass == PARKED:
        return
    if node.inner:
        draft.commands.append(Follow(Claim(*cell.key)))
    else:
        draft.commands.append(waits(node, cell.klass, cell.more.takes if cell.more is not None else ()))


def claim_task(draft: Draft, node: Node, cell: TaskCell, *, fresh: bool) -> bool:
    """Give the task to an agent with room, or end it when its texts cannot be rendered. False: it has to wait.

    ``fresh``: it becomes ready in this step, and so queues behind older tasks of its class that wait. What takes from
    limits is given out by the claim loop only, whose changes lock their rows.
    """
    if not draft.working.offers or (fresh and (node.limited or node.klass in draft.working.waiting)):
        return False
    place = choose(node, draft.run, draft.working.offers, draft.taken)
    if place < 0 or (node.limited and _held(draft, node, cell)):
        return False
    try:
        spec = rendering(draft, node, cell)
    except MissingValue as error:
        side_end(draft, cell, TaskState.failed, reason=EXPRESSION, error=message_value(str(error)))
        return True
    if spec is None:
        return False
    offer = draft.working.offers[place]
    draft.taken[place] = draft.taken.get(place, 0) + 1
    epoch = next_epoch(cell.epoch, draft.working.incarnation)
    attempt = cell.attempt + 1
    draft.change(
        cell,
        state=TaskState.dispatched,
        pending=0,
        due_at=0,
        attempt=attempt,
        epoch=epoch,
        klass=node.klass,
        rank=cell.rank or rank_of(draft.now, node, draft.run),
        ready_at=draft.now if fresh else cell.ready_at,
        agent=offer.agent,
        boot=offer.boot,
        started_at=0,
        ended_at=0,
    )
    lease(draft, cell)
    if node.limited and cell.more is not None:
        draft.ticks.update(ticks_of(draft.working, cell.more.takes, draft.now))
    draft.facts.append(TaskDispatched(cell.no, cell.index, attempt, epoch, offer.agent))
    draft.commands.append(
        Dispatch(cell.key, draft.run.graph, offer.agent, offer.boot, attempt, epoch, spec, node.klass)
    )
    return True


def _held(draft: Draft, node: Node, cell: TaskCell) -> bool:
    """Whether a limit holds it back; the claim loop is told which, and until when."""
    working = draft.working
    if working.unlimited:
        return False
    takes = takes_now(draft, node, cell, {name: limit.key for name, limit in working.limits.items()})
    if cell.more is None or takes != cell.more.takes:
        # A limit counts by another key than when the task became ready: it waits elsewhere from now on.
        klass = class_now(node, draft.run, takes)
        look_for_room(draft, node, draft.change(cell, klass=klass, more=with_takes(cell.more, takes)))
        return True
    hold = held_back(takes, working, draft.now)
    if hold is None:
        return False
    if hold.limit in working.uses:
        draft.commands.append(Parked(cell.klass, hold.limit, hold.reason.at))
    else:
        look_for_room(draft, node, cell)
    return True


def lease(draft: Draft, cell: TaskCell) -> None:
    """Count a task that is under way now, and start the run's own time with its first one."""
    run, timeout = draft.run, draft.graph.timeout_ms
    if timeout and run.deadline_at == 0:
        deadline = draft.now + timeout * 1000
        draft.change_run(deadline_at=deadline, due_at=min(run.due_at or deadline, deadline))
        draft.commands.append(Alarm((run.run, RUN_ITSELF, WHOLE), deadline))
    if cell.index == WHOLE:
        draft.change_run(live=draft.run.live + 1)


def rendering(draft: Draft, node: Node, cell: TaskCell) -> Rendered | None:
    """The attempt's work; None when something that it needs is not at hand. Raises ``MissingValue``."""
    given = draft.given
    if draft.run.bare and node.source.fixed is not None:
        return node.source.fixed
    if given is None:
        return None
    if node.source.fixed is not None:
        return plain_attempt(node.source, given.params)
    if not draft.at_hand(node.reads):
        return None
    instance = cell if cell.index != WHOLE else None
    return render_attempt(node.source, RunScope(draft, instance), given.params)


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
