"""How many runs of a job there may be at once, counted per key: who is let in, who waits, who makes room.

Pure and private to core; called by ``core.submitting`` and ``core.stepping``. A run that waits is queued: its tasks are
there and nothing of them begins. Who is in and who waits is a view of the runs, loaded under the gate's lock.
"""

from __future__ import annotations

from headrace.core.draft import Draft
from headrace.core.eligible import is_let_in
from headrace.core.expression import MissingValue, render_text
from headrace.core.limits import waits_at_gate
from headrace.core.moving import begin
from headrace.core.nodes import RANK_SLOPE_MS, Graph
from headrace.core.scope import RunScope
from headrace.core.work import Ended, Follow, Gate, Working
from headrace.model.cells import RunCell, RunInput, TaskCell
from headrace.model.changes import Cancel
from headrace.model.errors import Invalid, Problem, Refused
from headrace.model.facts import RunEnded, TaskEnded
from headrace.model.ids import WHOLE
from headrace.model.limits import LimitKey, gate_name
from headrace.model.states import RunState, TaskState

SKIPPED = "concurrency"
"""The reason of the tasks of a run that was skipped because others were in the way."""


def gate_of(graph: Graph, given: RunInput) -> LimitKey | None:
    """Among which runs a new run counts; None where its job says nothing. Raises ``Invalid`` for a key without value."""
    if graph.gate is None:
        return None
    draft = Draft(graph, Working(), RunCell(given.run, given.graph), 0, 0.0)
    draft.given = given
    try:
        return gate_name(graph.name), render_text(graph.gate.key, RunScope(draft))
    except MissingValue as error:
        raise Invalid("1 problem", problems=(Problem("concurrency.key", str(error)),)) from error


def arrive(draft: Draft) -> bool:
    """A new run comes to its job's gate: whether it may begin now. Raises ``Refused`` where it may not even wait."""
    rule = draft.graph.gate
    if rule is None or draft.working.unlimited or draft.given is None:
        return True
    name, key = gate_of(draft.graph, draft.given) or ("", "")
    if draft.run.more is not None and draft.run.more.begin_at:
        draft.more(gate=name, key=key, waiting=True)
        return False
    gate = draft.working.gates.get((name, key))
    if gate is None:
        raise AssertionError(f"the gate {name} for {key!r} is not loaded")
    if is_let_in(rule, gate):
        draft.more(gate=name, key=key)
        return True
    if rule.when_full == "refuse":
        raise Refused(_in_the_way(draft, key, gate))
    if rule.when_full == "skip":
        _skip(draft, _in_the_way(draft, key, gate))
        return False
    draft.more(gate=name, key=key, waiting=True, rank=arrival_rank(draft))
    if rule.when_full == "replace":
        older = [*gate.holders, *gate.waiting]
        _make_room(draft, older[: len(older) - rule.max + 1])
    return False


def admit(draft: Draft) -> None:
    """A run that waits is let in, if there is room now."""
    run, rule = draft.run, draft.graph.gate
    more = run.more
    if rule is None or more is None or not waits_at_gate(run):
        return
    gate = draft.working.gates.get((more.gate, more.key))
    if gate is None:
        return
    if rule.when_full == "replace" and any(other > run.run for other in gate.waiting):
        # What a newer run had asked for was lost with a crash.
        _make_room(draft, [run.run])
    elif len(gate.holders) < rule.max:
        draft.more(waiting=False)
        begin(draft)
    elif rule.when_full == "replace":
        _make_room(draft, list(gate.holders)[: len(gate.holders) - rule.max + 1])
    elif rule.when_full != "queue":
        # It was made to begin later; now that its time has come there is nobody to refuse.
        draft.commands.append(Follow(Cancel(run.run, f"skipped: {_in_the_way(draft, more.key, gate)}")))


def arrival_rank(draft: Draft) -> int:
    """The place among those that wait: the instant in ms, earlier by each point of priority."""
    return draft.now // 1000 - draft.run.priority * RANK_SLOPE_MS


def _make_room(draft: Draft, runs: list[int]) -> None:
    for run in runs:
        draft.commands.append(Follow(Cancel(run, f"replaced by a newer run of job {draft.graph.name}")))


def _skip(draft: Draft, reason: str) -> None:
    """The run is recorded and over: nothing of it ever begins."""
    nodes, now = draft.graph.nodes, draft.now
    for node in nodes:
        draft.put(
            TaskCell(
                draft.run.run, node.no, version=1, state=TaskState.canceled, ended_at=now, pending=0, reason=SKIPPED
            )
        )
        draft.facts.append(TaskEnded(node.no, WHOLE, TaskState.canceled, reason=SKIPPED, ended_at=now))
    draft.change_run(
        state=RunState.canceled, left=0, finals=0, canceled=len(nodes), ended_at=now, reason=f"skipped: {reason}"
    )
    draft.facts.append(RunEnded(state=RunState.canceled, reason=draft.run.reason))
    draft.commands.append(Ended(draft.run.run))
    draft.tell_parent()


def _in_the_way(draft: Draft, key: str, gate: Gate) -> str:
    rule = draft.graph.gate
    most = 1 if rule is None else rule.max
    here = list(gate.holders)[:3] or list(gate.waiting)[:3]
    runs = ", ".join(str(run) for run in here)
    counted = f" for {key}" if key else ""
    verb = "is" if len(here) == 1 else "are"
    return f"job {draft.graph.name}{counted} runs at most {most} at once, and run {runs} {verb} in the way"
