"""How tasks become ready and are claimed: by their cache, by an agent with room, by their limits.

Pure and private to core: functions over a draft. Never looks at needs (that is ``moving``). Called by changes that make
something ready and by ``Claim``.
"""

from __future__ import annotations

from msgspec.structs import replace

from headrace.core.caching import work_of
from headrace.core.classes import class_now, takes_now, waits, with_takes
from headrace.core.draft import Draft
from headrace.core.eligible import choose, held_back
from headrace.core.ending import EXPRESSION, message_value, side_end
from headrace.core.expression import MissingValue
from headrace.core.limits import ticks_of
from headrace.core.nodes import PARKED, RANK_SLOPE_MS, Node
from headrace.core.render import Rendered, plain_attempt, render_attempt
from headrace.core.scope import RunScope
from headrace.core.work import Alarm, Dispatch, Follow, Parked
from headrace.model.cells import RunCell, TaskCell, TaskMore
from headrace.model.changes import Claim
from headrace.model.facts import TaskDispatched, TaskReadied
from headrace.model.ids import RUN_ITSELF, WHOLE, next_epoch
from headrace.model.states import TaskState

REFUSED_ONCE = 2
"""Flag of a cell: its last dispatch was refused by the agent."""


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
