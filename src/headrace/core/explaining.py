"""Why does this task not run? The answer of ``explain``, from the same rules that the dispatcher acts on.

Pure. Called by the API's explain and by in-process runs, over whatever cells were loaded for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from headrace.core.classes import base_of
from headrace.core.eligible import Reason, eligible, held_back, may_begin, stopped
from headrace.core.ending import REPEAT
from headrace.core.moving import DELAYED
from headrace.core.nodes import Graph, Node
from headrace.core.work import Offer, Working
from headrace.model.cells import RunCell, TaskCell
from headrace.model.ids import WHOLE
from headrace.model.states import TASK_FINAL, TASK_LEASED, TaskState


def explain(
    graph: Graph,
    run: RunCell,
    task: TaskCell,
    working: Working,
    offers: Sequence[Offer],
    *,
    now: int,
    child: int | None = None,
) -> list[Reason]:
    """Why a task is where it is. ``working`` holds the cells of the tasks it needs, as far as they are known; ``child``
    is the run that is its work.
    """
    node = graph.nodes[task.no]
    if task.state in TASK_FINAL:
        return [Reason("ended", f"{_called(node, task)} has ended: {task.state.name}{_because(task)}", node.name)]
    if run.more is not None and run.more.foreign:
        return [Reason("elsewhere", "it runs elsewhere: others tell its state", str(run.run))]
    if task.state == TaskState.running and node.inner and task.counts is None:
        return [_inner(node, task, now, child)]
    if task.state in TASK_LEASED and task.counts is None:
        where = next((_agent(offer) for offer in offers if offer.agent == task.agent), str(task.agent))
        return [Reason(task.state.name, f"{_called(node, task)} is {task.state.name} on agent {where}", node.name)]
    found = list(may_begin(node, run).reasons)
    if task.counts is not None:
        counts = task.counts
        message = f"{node.name}: {counts.live} under way, {counts.ended} of {max(counts.total, 0)} have ended"
        found.append(Reason("expanding", message, node.name))
    elif run.more is not None and run.more.begin_at:
        found.append(_not_yet(run, run.more.begin_at))
    elif task.state == TaskState.blocked:
        found.extend([_delayed(node, task, now)] if task.flags & DELAYED else _unmet(graph, node, task, working))
    elif task.state == TaskState.retrying:
        found.append(_retried(node, task, now))
    elif task.state == TaskState.held:
        found.append(Reason("held", f"{_called(node, task)} waits for a person{_because(task)}", node.name))
    elif not stopped(node, run):
        found.extend(_limited(task, working, now) or _unplaced(node, run, task, working, offers))
    return list(dict.fromkeys(found))


def _not_yet(run: RunCell, at: int) -> Reason:
    moment = datetime.fromtimestamp(at / 1_000_000, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    return Reason("not_before", f"the run is to begin at {moment}", str(run.run), at)


def _retried(node: Node, task: TaskCell, now: int) -> Reason:
    """An attempt is over and another one follows."""
    if task.reason == REPEAT:
        done = task.more.repeated if task.more else 0
        ended = f"{_called(node, task)} was done {done} of {node.repeat.times if node.repeat else 0} times"
    else:
        ended = f"attempt {task.attempt} of {_called(node, task)} did not succeed{_because(task)}"
    return Reason("retrying", f"{ended}; the next one begins in {_seconds(task, now)}", node.name, task.due_at)


def _inner(node: Node, task: TaskCell, now: int, child: int | None) -> Reason:
    """What a task waits for that no agent does."""
    if node.source.kind == "wait":
        return Reason("waiting", f"{_called(node, task)} waits for {_seconds(task, now)} more", node.name, task.due_at)
    job = node.source.target
    if child is None:
        return Reason("child", f"{_called(node, task)} is about to begin a run of job {job}", job)
    return Reason("child", f"{_called(node, task)} waits for its child run {child} of job {job}", str(child))


def _delayed(node: Node, task: TaskCell, now: int) -> Reason:
    return Reason("delayed", f"{node.name} begins after its delay, in {_seconds(task, now)}", node.name, task.due_at)


def _seconds(task: TaskCell, now: int) -> str:
    return f"{max(0, task.due_at - now) / 1_000_000:.1f} s"


def _limited(task: TaskCell, working: Working, now: int) -> list[Reason]:
    """The limit that holds a ready task back."""
    hold = held_back(task.more.takes, working, now) if task.more is not None else None
    return [hold.reason] if hold else []


def _unplaced(node: Node, run: RunCell, task: TaskCell, working: Working, offers: Sequence[Offer]) -> list[Reason]:
    """Why no agent takes a ready task, or that one does next."""
    if not offers:
        return [Reason("no_agent", "no agent is linked")]
    found: list[Reason] = []
    for offer in offers:
        decision = eligible(node, run, offer)
        if decision.ok:
            if base_of(task.klass) in working.waiting:
                return [Reason("queued", "older tasks of the same kind are served first", node.name)]
            return [Reason("next", "an agent has room: it is given out next", _agent(offer))]
        found.extend(decision.reasons)
    return found


def _unmet(graph: Graph, node: Node, task: TaskCell, working: Working) -> list[Reason]:
    found = []
    for need in (*node.needs,):
        other = working.tasks.get((task.run, need.task, WHOLE))
        if other is None or other.state not in TASK_FINAL:
            name = graph.nodes[need.task].name
            state = "" if other is None else f", which is {other.state.name}"
            found.append(Reason("needs", f"{node.name} waits for {name}{state}", name))
    if node.final:
        found.append(Reason("finally", f"{node.name} begins when all other tasks have ended", node.name))
    return found or [Reason("waking", f"{node.name} is about to be looked at", node.name)]


def _agent(offer: Offer) -> str:
    return offer.name or str(offer.agent)


def _called(node: Node, task: TaskCell) -> str:
    return node.name if task.index == WHOLE else f"{node.name}[{task.index}]"


def _because(task: TaskCell) -> str:
    return f" ({task.reason})" if task.reason else ""
