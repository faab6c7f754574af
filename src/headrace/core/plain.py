"""The short ways of what happens most in larger jobs: an instance is claimed or succeeds, a task succeeds plainly.

Pure and private to core: the same images, facts and commands as the long way, built without a draft and by position, in
the order of the records' fields. Whatever is not the plain case, as a cell with ``more``, gives None and takes the long
way; tests compare the two. Called by ``core.stepping``.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.core.classes import class_now
from headrace.core.draft import Draft
from headrace.core.eligible import choose
from headrace.core.expression import MissingValue
from headrace.core.nodes import Edge, Graph, Node
from headrace.core.readying import REFUSED_ONCE, rank_of, rendering
from headrace.core.render import Rendered, plain_attempt
from headrace.core.settling import DIGEST_KEPT
from headrace.core.work import Command, Dispatch, Step, Waits, Working
from headrace.model.cells import INLINE_MAX, Counts, RunCell, TaskCell
from headrace.model.changes import Change, Claim, OutcomeKind, Settle
from headrace.model.facts import AnyFact, RunChanged, TaskDispatched, TaskEnded, TaskReadied
from headrace.model.ids import WHOLE, next_epoch
from headrace.model.states import RunState, TaskState

# Names of their own: to look a member up in its class costs more than most of what is done here.
_RUNNING = RunState.running
_BLOCKED, _READY = TaskState.blocked, TaskState.ready
_DISPATCHED, _TASK_RUNS, _SUCCEEDED = TaskState.dispatched, TaskState.running, TaskState.succeeded
_TOLD_SUCCESS = OutcomeKind.succeeded
_STARTED = RunChanged(state=RunState.running)
_SUCCESS = 1 << TaskState.succeeded
_KEPT_FLAGS = ~REFUSED_ONCE
_NO_COUNTS = Counts()

PAGE = 250
"""Instances of one group that end in one step."""


def settle_plain(graph: Graph, working: Working, run: RunCell, change: Settle, now: int) -> Step | None:
    """The success of a task or an instance that leaves its run, and its group, going on."""
    task = working.tasks.get((change.run, change.no, change.index))
    if task is None or run.state > _RUNNING or not _is_plain(task, change):
        return None
    if change.index == WHOLE:
        return _settle_task(graph, working, run, task, change, now)
    return _settle_instance(graph, working, run, task, change)


def _is_plain(task: TaskCell, change: Settle) -> bool:
    """Whether this is the success of the attempt that the task waits for, with nothing that stands aside."""
    if (
        change.kind is not _TOLD_SUCCESS
        or change.epoch != task.epoch
        or (task.state is not _DISPATCHED and task.state is not _TASK_RUNS)
        or change.skip
        or task.more is not None
    ):
        return False
    result = change.result
    return result is None or result.size <= INLINE_MAX or result.place != "inline"


def _ended(task: TaskCell, change: Settle) -> TaskCell:
    return TaskCell(
        task.run, task.no, task.index, _SUCCEEDED, task.version + 1, task.attempt, task.epoch, 0, 0, task.rank,
        task.klass, task.agent, task.boot, 0, task.failures, task.flags & _KEPT_FLAGS, task.ready_at,
        change.started_at, change.ended_at, change.exit_status, change.exit_code, change.signal, change.reason,
        change.result, None, task.item, None, change.seal, change.digest[:DIGEST_KEPT],
    )  # fmt: skip


def _settle_instance(graph: Graph, working: Working, run: RunCell, task: TaskCell, change: Settle) -> Step | None:
    group = working.tasks.get((change.run, change.no, WHOLE))
    if group is None or run.started_at == 0 or _room(graph, group) < 1:
        return None
    return Step(None, (_ended(task, change), _counted(group, 1)), (_told(task, change),))


def settle_page(
    graph: Graph, working: Working, run: RunCell, changes: Sequence[Change], most: int = PAGE
) -> Step | None:
    """The first of these changes, as far as they are plain successes of instances of one group: one step, in which the
    group counts once. It ends before the first that is anything else; None when that is the first or the second.

    The step has a task and a fact for each change that it decides, in their order, and behind them the group.
    """
    first = changes[0]
    if type(first) is not Settle or first.index == WHOLE or run.started_at == 0 or run.state > _RUNNING:
        return None
    if run.more is not None or graph.long or graph.fast:
        return None
    of, no, tasks = first.run, first.no, working.tasks
    group = tasks.get((of, no, WHOLE))
    if group is None:
        return None
    ended: dict[int, TaskCell] = {}
    facts: list[AnyFact] = []
    for change in changes[: min(most, _room(graph, group))]:
        if type(change) is not Settle or change.no != no or change.run != of or change.index in ended:
            break
        task = tasks.get((of, no, change.index))
        if task is None or change.index == WHOLE or not _is_plain(task, change):
            break
        ended[change.index] = _ended(task, change)
        facts.append(_told(task, change))
    if len(ended) < 2:
        return None
    return Step(None, (*ended.values(), _counted(group, len(ended))), tuple(facts))


def _room(graph: Graph, group: TaskCell) -> int:
    """How many instances may succeed before the group has to do something about it."""
    each, c = graph.nodes[group.no].each, group.counts
    if each is None or c is None or group.more is not None:
        return 0
    return c.live - 1 - (each.low if c.created < c.total and not group.due_at else 0)


def _counted(group: TaskCell, count: int) -> TaskCell:
    """The group after so many instances have succeeded."""
    g, c = group, group.counts or _NO_COUNTS
    counts = Counts(
        c.total, c.created, c.live - count, c.succeeded + count, c.failed, c.canceled, c.skipped, c.lost, c.offset,
        c.forgiven,
    )  # fmt: skip
    return TaskCell(
        g.run, g.no, WHOLE, g.state, g.version + 1, g.attempt, g.epoch, g.pending, g.due_at, g.rank, g.klass, g.agent,
        g.boot, g.lost, g.failures, g.flags, g.ready_at, g.started_at, g.ended_at, g.exit_status, g.exit_code,
        g.signal, g.reason, g.result, g.error, g.item, counts, g.seal, g.digest,
    )  # fmt: skip


def _told(task: TaskCell, change: Settle) -> TaskEnded:
    return TaskEnded(
        task.no, task.index, _SUCCEEDED, task.attempt, change.exit_status, change.reason, change.started_at,
        change.ended_at,
    )  # fmt: skip


def _settle_task(graph: Graph, working: Working, run: RunCell, task: TaskCell, change: Settle, now: int) -> Step | None:
    node = graph.nodes[change.no]
    if run.left == 1 or node.final or change.no == graph.said_no:
        return None
    told = TaskEnded(
        task.no, WHOLE, _SUCCEEDED, task.attempt, change.exit_status, change.reason, change.started_at, change.ended_at
    )
    first = run.started_at == 0
    moves = _Moves(graph, working, run, now, [_STARTED, told] if first else [told])
    for edge in node.edges:
        if not moves.follow(edge):
            return None
    r = run
    moved = RunCell(
        r.run, r.graph, _RUNNING, r.version + 1, r.left - 1, r.finals,
        r.live - 1 + moves.claimed, r.failed, r.canceled, r.succeeded + 1, r.intent, r.cursor, r.due_at, r.deadline_at,
        r.priority, r.created_at, r.started_at or change.started_at or now, r.ended_at, r.exit_status, r.reason,
        r.spared, r.gate, r.bare,
    )  # fmt: skip
    for place, count in moves.taken.items():
        working.offers[place].free -= count
    return Step(moved, (_ended(task, change), *moves.tasks), tuple(moves.facts), tuple(moves.commands))


class _Moves:
    """What the success of one task means for those that wait for it, as long as all of them are plain."""

    __slots__ = ("claimed", "commands", "facts", "graph", "now", "run", "taken", "tasks", "working")

    def __init__(self, graph: Graph, working: Working, run: RunCell, now: int, facts: list[AnyFact]) -> None:
        self.graph = graph
        self.working = working
        self.run = run
        self.now = now
        self.facts = facts
        self.tasks: list[TaskCell] = []
        self.commands: list[Command] = []
        self.taken: dict[int, int] = {}
        self.claimed = 0

    def follow(self, edge: Edge) -> bool:
        """Count the need of one task; False when that is not plain."""
        run = self.run
        node = self.graph.nodes[edge.to]
        cell = self.working.tasks.get((run.run, edge.to, WHOLE))
        if cell is None or cell.more is not None or not node.plain:
            return False
        if edge.any or edge.exit is not None or not edge.states & _SUCCESS:
            return False
        if cell.state is not _BLOCKED:
            return True
        pending = cell.pending - 1
        if pending:
            fewer = TaskCell(
                cell.run, cell.no, WHOLE, _BLOCKED, cell.version + 1, 0, cell.epoch, pending, flags=cell.flags
            )
            self.tasks.append(fewer)
            return True
        spec = spec_of(self.working, run, node)
        if spec is None:
            return False
        offers = self.working.offers
        place = -1
        if offers and node.klass not in self.working.waiting:
            place = choose(node, run, offers, self.taken)
        if place < 0:
            self._ready(node, cell)
        else:
            self._claim(node, cell, place, spec)
        return True

    def _ready(self, node: Node, cell: TaskCell) -> None:
        now, klass = self.now, class_now(node, self.run)
        ready = TaskCell(
            cell.run, cell.no, WHOLE, _READY, cell.version + 1, 0, cell.epoch, 0, 0, rank_of(now, node, self.run),
            klass, flags=cell.flags, ready_at=now,
        )  # fmt: skip
        self.tasks.append(ready)
        self.facts.append(TaskReadied(cell.no))
        self.commands.append(Waits(klass))

    def _claim(self, node: Node, cell: TaskCell, place: int, spec: Rendered) -> None:
        offer = self.working.offers[place]
        agent, boot, now = offer.agent, offer.boot, self.now
        epoch = next_epoch(cell.epoch, self.working.incarnation)
        self.taken[place] = self.taken.get(place, 0) + 1
        self.claimed += 1
        claimed = TaskCell(
            cell.run, cell.no, WHOLE, _DISPATCHED, cell.version + 1, 1, epoch, 0, 0, rank_of(now, node, self.run),
            node.klass, agent, boot, 0, 0, cell.flags, now,
        )  # fmt: skip
        self.tasks.append(claimed)
        self.facts.append(TaskDispatched(cell.no, WHOLE, 1, epoch, agent))
        self.commands.append(Dispatch(cell.key, self.run.graph, agent, boot, 1, epoch, spec, node.klass))


def claim_plain(graph: Graph, working: Working, run: RunCell, change: Claim) -> Step | None:
    """The claim of a ready instance. One that takes of limits has ``more``."""
    task = working.tasks.get((change.run, change.no, change.index))
    if task is None or change.index == WHOLE or task.state is not _READY or task.more is not None:
        return None
    if graph.timeout_ms and run.deadline_at == 0:
        return None
    node = graph.nodes[change.no]
    place = choose(node, run, working.offers)
    if place < 0:
        return None
    if node.source.fixed is not None:
        spec = spec_of(working, run, node)
    else:
        try:
            spec = rendering(Draft(graph, working, run, 0, 0.0), node, task)
        except MissingValue:
            return None
    if spec is None:
        return None
    offer = working.offers[place]
    agent, boot, attempt, klass = offer.agent, offer.boot, task.attempt + 1, node.klass
    epoch = next_epoch(task.epoch, working.incarnation)
    taken = TaskCell(
        task.run, task.no, task.index, _DISPATCHED, task.version + 1, attempt, epoch, 0, 0, task.rank, klass,
        agent, boot, task.lost, task.failures, task.flags, task.ready_at, 0, 0, task.exit_status, task.exit_code,
        task.signal, task.reason, task.result, task.error, task.item, None, task.seal, task.digest,
    )  # fmt: skip
    told = Dispatch((task.run, task.no, task.index), run.graph, agent, boot, attempt, epoch, spec, klass)
    offer.free -= 1
    return Step(None, (taken,), (TaskDispatched(task.no, task.index, attempt, epoch, agent),), (told,))


def spec_of(working: Working, run: RunCell, node: Node) -> Rendered | None:
    """The work of a task without expressions; None when the run's input is not at hand."""
    if run.bare:
        return node.source.fixed
    given = working.inputs.get(run.run)
    return None if given is None else plain_attempt(node.source, given.params)
