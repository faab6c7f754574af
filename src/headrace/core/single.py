"""The short way of a run with one task: the same images, facts and commands, built without a draft.

Pure and private to core. Most runs are of this kind, so each µs counts here: records are built by position, in the
order of their fields. Whatever is not the plain case (an expression, a retry, a stopping run) takes the long way; a
test compares the two ways.
"""

from __future__ import annotations

from headrace.core.classes import waiting_class
from headrace.core.eligible import choose
from headrace.core.nodes import Graph
from headrace.core.readying import rank_of
from headrace.core.render import plain_attempt
from headrace.core.settling import DIGEST_KEPT
from headrace.core.work import Dispatch, Ended, Step, Waits, Working
from headrace.model.cells import INLINE_MAX, RunCell, RunInput, TaskCell
from headrace.model.changes import Claim, OutcomeKind, Settle
from headrace.model.facts import RunChanged, RunEnded, RunSubmitted, TaskDispatched, TaskEnded, TaskReadied
from headrace.model.ids import RUN_ITSELF, WHOLE, next_epoch
from headrace.model.states import TASK_LEASED, RunState, StopIntent, TaskState

_QUEUED, _RUNNING, _RUN_SUCCEEDED = RunState.queued, RunState.running, RunState.succeeded
_READY, _DISPATCHED, _SUCCEEDED = TaskState.ready, TaskState.dispatched, TaskState.succeeded
_NONE = StopIntent.none
_TOLD_SUCCESS = OutcomeKind.succeeded
_SUBMITTED = RunSubmitted()
_STARTED = RunChanged(state=RunState.running)
_READIED = TaskReadied(0)


def submit_single(graph: Graph, working: Working, given: RunInput, now: int) -> Step:
    """A new run of one task without expressions; claimed at once when an agent has room."""
    node = graph.nodes[0]
    run, klass, priority = given.run, node.klass, given.priority
    bare = given.params == b"{}"
    place = -1
    offers = working.offers
    cell = RunCell(
        run, given.graph, _QUEUED, 1, 1, 0, 1, 0, 0, 0, _NONE, -1, 0, 0, priority, given.created_at, bare=bare
    )  # fmt: skip
    if offers and klass not in working.waiting:
        place = choose(node, cell, offers)
    rank = rank_of(now, node, cell)
    if place < 0:
        cell = RunCell(
            run, given.graph, _QUEUED, 1, 1, 0, 0, 0, 0, 0, _NONE, -1, 0, 0, priority, given.created_at, bare=bare
        )  # fmt: skip
        klass = waiting_class(klass, node.lane, priority if node.priority is None else node.priority)
        task = TaskCell(run, 0, WHOLE, _READY, 1, 0, 0, 0, 0, rank, klass, 0, 0, 0, 0, 0, now)
        return Step(cell, (task,), (_SUBMITTED, _READIED), (Waits(klass),))
    offer = offers[place]
    agent, boot = offer.agent, offer.boot
    epoch = next_epoch(0, working.incarnation)
    task = TaskCell(run, 0, WHOLE, _DISPATCHED, 1, 1, epoch, 0, 0, rank, klass, agent, boot, 0, 0, 0, now)
    told = Dispatch(
        (run, 0, WHOLE), given.graph, agent, boot, 1, epoch, plain_attempt(node.source, given.params), klass
    )
    decided = Step(cell, (task,), (_SUBMITTED, TaskDispatched(0, WHOLE, 1, epoch, agent)), (told,))
    offer.free -= 1
    return decided


def claim_single(graph: Graph, working: Working, run: RunCell, change: Claim) -> Step | None:
    """The claim of a ready task without expressions; None when it is anything else, or nobody has room."""
    task = working.tasks.get((change.run, change.no, change.index))
    node = graph.nodes[0]
    fixed = node.source.fixed
    if task is None or task.state is not _READY or fixed is None or graph.timeout_ms or task.more is not None:
        return None
    if not run.bare:
        given = working.inputs.get(run.run)
        if given is None:
            return None
        fixed = plain_attempt(node.source, given.params)
    offers = working.offers
    place = choose(node, run, offers)
    if place < 0:
        return None
    offer = offers[place]
    agent, boot, attempt, klass = offer.agent, offer.boot, task.attempt + 1, node.klass
    epoch = next_epoch(task.epoch, working.incarnation)
    taken = TaskCell(
        task.run, 0, WHOLE, _DISPATCHED, task.version + 1, attempt, epoch, 0, 0, task.rank, klass,
        agent, boot, task.lost, task.failures, task.flags, task.ready_at, 0, 0, task.exit_status, task.exit_code,
        task.signal, task.reason, task.result, task.error, None, None, task.seal, task.digest,
    )  # fmt: skip
    leased = RunCell(
        run.run, run.graph, run.state, run.version + 1, run.left, run.finals, run.live + 1, run.failed, run.canceled,
        run.succeeded, run.intent, run.cursor, run.due_at, run.deadline_at, run.priority, run.created_at,
        run.started_at, run.ended_at, run.exit_status, run.reason, run.spared, run.gate, run.bare,
    )  # fmt: skip
    told = Dispatch((task.run, 0, WHOLE), run.graph, agent, boot, attempt, epoch, fixed, klass)
    offer.free -= 1
    return Step(leased, (taken,), (TaskDispatched(0, WHOLE, attempt, epoch, agent),), (told,))


def settle_single(working: Working, run: RunCell, change: Settle, now: int) -> Step | None:
    """The plain success of a run of one task; None when it is anything else."""
    task = working.tasks.get((change.run, change.no, change.index))
    if (
        task is None
        or change.kind is not _TOLD_SUCCESS
        or change.epoch != task.epoch
        or task.state not in TASK_LEASED
        or run.state > _RUNNING
        or change.skip
        or task.more is not None
    ):
        return None
    result = change.result
    if result is not None and result.place == "inline" and result.size > INLINE_MAX:
        return None
    at, over, status = change.started_at, change.ended_at, change.exit_status
    ended = TaskCell(
        task.run, 0, WHOLE, _SUCCEEDED, task.version + 1, task.attempt, task.epoch, 0, 0, task.rank, task.klass,
        task.agent, task.boot, 0, task.failures, 0, task.ready_at, at, over, status, change.exit_code, change.signal,
        change.reason, result, None, None, None, change.seal, change.digest[:DIGEST_KEPT],
    )  # fmt: skip
    first = run.started_at == 0
    done = RunCell(
        run.run, run.graph, _RUN_SUCCEEDED, run.version + 1, 0, 0, 0, 0, 0, 1, _NONE, -1, 0, run.deadline_at,
        run.priority, run.created_at, (at or now) if first else run.started_at, now, status, run.reason, b"", False,
        run.bare,
    )  # fmt: skip
    told = TaskEnded(0, WHOLE, _SUCCEEDED, task.attempt, status, change.reason, at, over)
    closed = RunEnded(RUN_ITSELF, WHOLE, _RUN_SUCCEEDED, status, run.reason)
    facts = (_STARTED, told, closed) if first else (told, closed)
    return Step(done, (ended,), facts, (Ended(run.run),))
