"""Why a run runs, does not run, or will not run: the reasons of the very function that decides. Reads only."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.control.api.advice import while_waiting
from headrace.control.api.call import Call, Reply
from headrace.control.api.failed import ended
from headrace.control.api.limits import holder_view
from headrace.control.api.lookup import children_of, run_of
from headrace.control.api.shown import ENDED_BADLY, LIVE, TASKS_MAX, shown_tasks
from headrace.control.api.table import BASE, Route
from headrace.control.api.views import instant
from headrace.control.auth import Permission
from headrace.control.changes.limits import read_limit
from headrace.control.graphs import Known
from headrace.core.classes import base_of
from headrace.core.eligible import Reason
from headrace.core.explaining import explain
from headrace.core.limits import tick_under, waits_at_gate
from headrace.core.work import Working
from headrace.model.cells import RunCell, RunMore, TaskCell
from headrace.model.ids import WHOLE, TaskKey
from headrace.model.limits import GATE_PREFIX, LIMIT
from headrace.model.states import RUN_FINAL, TASK_FINAL, TASK_LEASED, RunState, TaskState
from headrace.model.views import ExplainView, HolderView, ReasonView

HOLDERS_MAX = 5
"""So many holders of a limit are named."""
REASONS_MAX = 100


async def get_explain(call: Call) -> Reply:
    """``GET /runs/{id}/explain``."""
    row, known = await run_of(call)
    run, services = row.cell, call.services
    first = (ENDED_BADLY,) if run.state in RUN_FINAL else (LIVE, ENDED_BADLY)
    cells, more = await shown_tasks(services.reader, known, run.run, *first)
    children = await children_of(call, known, run.run)
    if run.state in RUN_FINAL:
        return Reply(await ended(call, run, known, cells, children, more))
    working = Working(runs={run.run: run}, tasks={cell.key: cell for cell in cells})
    offers = list(services.offers())
    found: list[Reason] = []
    all_cells = [*cells, *await _instances(call, run.run, cells)]
    await load_limits(call, working, all_cells)
    if waits_at_gate(run):
        return Reply(_view(run.run, "waits for its turn", [await _turn(call, run)]))
    waiting, heads = services.waiting(), await _heads(call, all_cells)
    for cell in all_cells:
        if cell.state not in TASK_FINAL and len(found) < REASONS_MAX:
            working.waiting = frozenset() if heads.get(cell.klass) == cell.key else waiting
            child = children.get((cell.no, cell.index, cell.epoch))
            found.extend(explain(known.graph, run, cell, working, offers, now=services.clock.now(), child=child))
    due = [reason.at for reason in found if reason.at]
    decision = _decision(run.state.name, known, cells)
    if run.state is RunState.paused:
        due = []  # no instant ends a pause
    elif run.more is not None and run.more.begin_at:
        decision = "waits for its time"
    return Reply(_view(run.run, decision, list(dict.fromkeys(found)), min(due, default=0), more=more))


async def _heads(call: Call, cells: Sequence[TaskCell]) -> dict[int, TaskKey]:
    """Which task is the next one of each class in which some of these wait."""
    found: dict[int, TaskKey] = {}
    waiting = call.services.waiting()
    for klass in {c.klass for c in cells if c.state is TaskState.ready and base_of(c.klass) in waiting}:
        for row in await call.services.reader.ready(klass, 1):
            found[klass] = (row.run, row.no, row.index)
    return found


async def _turn(call: Call, run: RunCell) -> Reason:
    """Who is in the way of a run that waits for its turn."""
    more = run.more or RunMore()
    reader, job = call.services.reader, more.gate.removeprefix(GATE_PREFIX)
    holders = await reader.holders(more.gate, more.key, HOLDERS_MAX)
    before = await reader.gate_waiting((more.gate, more.key), TASKS_MAX)
    ahead = sum((rank, other) < (more.rank, run.run) for other, rank in before)
    counted = f" for {more.key}" if more.key else ""
    runs = ", ".join(str(row.run) for row in holders) or "nobody"
    line = f"; {ahead} wait before this one" if ahead else ""
    text = f"as many runs of job {job}{counted} as may be at once are there already: {runs}{line}"
    return Reason("concurrency", text, str(holders[0].run) if holders else job)


async def load_limits(call: Call, working: Working, cells: Sequence[TaskCell]) -> None:
    """What ready tasks of these take from: the limits, what is in use, and by whom."""
    takes = {t for c in cells if c.state is TaskState.ready and c.more is not None for t in c.more.takes}
    reader = call.services.reader
    for name in {name for name, _, _ in takes}:
        row = await reader.entity((LIMIT, name))
        if row is not None and not row.deleted_at:
            working.limits[name] = read_limit(row.image)
    keys = sorted({(name, key) for name, key, _ in takes})
    for of, (used, tick, at) in (await reader.uses(keys)).items() if keys else ():
        limit = working.limits.get(of[0])
        working.uses[of], working.ticks[of] = used, tick if limit is None else tick_under(limit, tick, at)
    for of in keys[:HOLDERS_MAX]:
        rows = await reader.holders(*of, limit=HOLDERS_MAX)
        working.holders[of] = tuple([_holder(await holder_view(call, row)) for row in rows])


def _holder(view: HolderView) -> str:
    at = "" if view.index is None else f"[{view.index}]"
    return f"run {view.run}" + (f" {view.task}{at}" if view.task else "")


async def _instances(call: Call, run: int, cells: Sequence[TaskCell]) -> list[TaskCell]:
    """Some instances of each live group: enough to see what they wait for."""
    found: list[TaskCell] = []
    for cell in cells:
        if cell.counts is not None and cell.state not in TASK_FINAL:
            page = await call.services.reader.tasks(run, no=cell.no, after=(cell.no, WHOLE), limit=100)
            found.extend(c for c in page if c.state not in TASK_FINAL)
    return found[:REASONS_MAX]


def _decision(state: str, known: Known, cells: Sequence[TaskCell]) -> str:
    """In one word: what the run does now."""
    states = {cell.state for cell in cells}
    done_by_agents = [cell for cell in cells if not known.graph.nodes[cell.no].inner]
    if any(c.counts.live if c.counts is not None else c.state in TASK_LEASED for c in done_by_agents):
        return "running"
    if state == "paused":
        return "paused: waits for resume"
    if TaskState.ready in states:
        return "waits for room"
    if TaskState.running in states:
        return "waits for a child run or for time"
    if TaskState.retrying in states:
        return "waits for the next attempt"
    return "waits" if states else state


def _view(run: int, decision: str, reasons: Sequence[Reason], expected: int = 0, *, more: int = 0) -> ExplainView:
    shown = [ReasonView(code=r.code, message=r.message, refers_to=r.refers_to or None) for r in reasons]
    return ExplainView(
        decision=decision,
        reasons=shown,
        expected_at=instant(expected),
        tasks_omitted=more,
        advice=while_waiting(run, reasons),
    )


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/runs/{id}/explain",
        permission=Permission.runs_read,
        handler=get_explain,
        summary="Why the run runs, waits, or ended as it did",
        response=ExplainView,
        run_token=True,
    ),
)
