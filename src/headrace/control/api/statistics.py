"""``GET /jobs/{name}/statistics``: how the last runs of a job went, and each of its tasks.

Bounded at any size of the store: so many of the newest ended runs are read along an index, the tasks of fewer of them.
Nothing is counted while runs are made or end. Called through the route table only.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from statistics import fmean, median

from headrace.control.api.call import Call, Reply
from headrace.control.api.lookup import no_job
from headrace.control.api.table import BASE, Kind, Query, Route
from headrace.control.api.views import instant, moment
from headrace.control.auth import Permission
from headrace.model.cells import RunCell, TaskCell
from headrace.model.states import RUN_FINAL, TASK_FINAL, RunState, TaskState
from headrace.model.views import ElapsedView, JobStatisticsView, TaskStatisticsView
from headrace.store.rows import RunFilter, RunRow

RUNS = 100
RUNS_MAX = 500
TASK_RUNS = 50
"""Of so many of the newest of these runs the tasks are looked at."""

_ENDED = tuple(sorted(int(state) for state in RUN_FINAL))


async def job_statistics(call: Call) -> Reply:
    """``GET /jobs/{name}/statistics``."""
    name = call.values["name"]
    most = call.whole("runs", RUNS, least=1, most=RUNS_MAX)
    found = await call.services.reader.runs(RunFilter(job=name, states=_ENDED, limit=most))
    rows = [row for row in found if row.input.more is None or not row.input.more.test]
    if not found and await call.services.jobs.get(name) is None:
        raise await no_job(call, name)
    return Reply(of_job(name, rows, await _tasks(call, rows[:TASK_RUNS])))


async def _tasks(call: Call, rows: Sequence[RunRow]) -> dict[str, list[TaskCell]]:
    """The ended tasks of these runs by name; what was taken over from another run is counted there."""
    found: dict[str, list[TaskCell]] = {}
    for row in rows:
        known = await call.services.graphs.load(row.cell.graph)
        for cell in await call.services.reader.tasks(row.cell.run, groups_only=True, limit=500):
            taken = cell.more is not None and cell.more.origin is not None
            if cell.state in TASK_FINAL and not taken:
                found.setdefault(known.graph.nodes[cell.no].name, []).append(cell)
    return found


def of_job(name: str, rows: Sequence[RunRow], tasks: dict[str, list[TaskCell]]) -> JobStatisticsView:
    """The statistics of these runs, newest first."""
    cells = [row.cell for row in rows]
    states = Counter(cell.state.name for cell in cells)
    last = cells[0] if cells else None
    return JobStatisticsView(
        job=name,
        runs=len(cells),
        since=moment(cells[-1].created_at) if cells else None,
        states=dict(states),
        success_rate=_rate(states["succeeded"], states["failed"]),
        elapsed=_elapsed(_times(cells, RunState.succeeded)),
        waited=_elapsed([(c.started_at - c.created_at) / 1e6 for c in cells if c.started_at]),
        last=last.run if last else None,
        started_at=instant(last.started_at) if last else None,
        ended_at=instant(last.ended_at) if last else None,
        tasks=[_of_task(task, found) for task, found in tasks.items()],
    )


def _of_task(name: str, cells: Sequence[TaskCell]) -> TaskStatisticsView:
    states: Counter[str] = Counter()
    for cell in cells:
        states.update(_states(cell))
    return TaskStatisticsView(
        name=name,
        states=dict(states),
        success_rate=_rate(states["succeeded"], states["failed"] + states["lost"]),
        attempts=fmean(made) if (made := [cell.attempt for cell in cells if cell.attempt]) else None,
        elapsed=_elapsed(_times(cells, TaskState.succeeded)),
        started_at=instant(cells[0].started_at),
        ended_at=instant(cells[0].ended_at),
    )


def _states(cell: TaskCell) -> dict[str, int]:
    """A task counts once, a task with ``each`` as often as it has instances."""
    c = cell.counts
    if c is None:
        return {cell.state.name: 1}
    found = {"succeeded": c.succeeded, "failed": c.failed, "canceled": c.canceled, "skipped": c.skipped, "lost": c.lost}
    return {state: count for state, count in found.items() if count}


def _times(cells: Iterable[RunCell | TaskCell], state: RunState | TaskState) -> list[float]:
    return [(c.ended_at - c.started_at) / 1e6 for c in cells if c.state is state and c.started_at and c.ended_at]


def _rate(good: int, bad: int) -> float | None:
    return good / (good + bad) if good + bad else None


def _elapsed(seconds: Sequence[float]) -> ElapsedView | None:
    if not seconds:
        return None
    return ElapsedView(average=fmean(seconds), median=median(seconds), least=min(seconds), most=max(seconds))


ROUTES = (
    Route(
        method="GET",
        path=BASE + "/jobs/{name}/statistics",
        permission=Permission.runs_read,
        handler=job_statistics,
        summary="How the last ended runs of a job went, and each of its tasks: states, success rate, seconds",
        response=JobStatisticsView,
        as_of=True,
        query=(Query("runs", f"how many of the newest ended runs: {RUNS}, at most {RUNS_MAX}", Kind.whole),),
    ),
)
