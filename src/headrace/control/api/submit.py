"""Making runs: of a saved job, of a definition, command, script or task that is not saved, one or ten thousand.

Checks everything that can be wrong and lists it all before the ledger is asked; a run's id is known beforehand. The
hot path of the API is ``post_job_run``. Called through the route table only.
"""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any, Literal

import msgspec
from msgspec import UNSET, Struct

from headrace.control.api.answers import Told, ask, ask_all
from headrace.control.api.call import Call, Reply
from headrace.control.api.incoming import pinned_definition
from headrace.control.api.lookup import no_job
from headrace.control.api.oneoff import one_task_job, refuse_later
from headrace.control.api.records import BATCH_RUNS_MAX, BATCH_TASKS_MAX, AnyRun, NewRun, NewRuns, TaskRun
from headrace.control.api.table import BASE, BATCH_BODY_MAX, RECORDS, Route
from headrace.control.api.times import NO_INSTANT, micros
from headrace.control.api.views import instant, moment
from headrace.control.auth import Permission
from headrace.control.changes.result import Result
from headrace.control.graphs import Known
from headrace.control.missing import no_longer_waiting
from headrace.core.check import NOT_YET
from headrace.core.durations import millis
from headrace.core.rehearsal import rehearsed
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import Submit
from headrace.model.definition import JobDefinition
from headrace.model.errors import HeadraceError, Invalid, NotFound, Problem, TooLarge
from headrace.model.states import RunState
from headrace.model.views import Ids, RunView

SLICE = 128
"""So many runs of a batch are checked before others have their turn of the loop."""

_encode = msgspec.json.Encoder().encode
_FAR = 253_402_300_799_000_000
"""The last second of the year 9999: what lies behind it no calendar of ours can show."""


class Target(Struct, frozen=True):
    """What is to be run. ``job`` and ``version`` are None for what is not saved."""

    graph: int
    known: Known
    job: str | None = None
    version: int | None = None


async def post_job_run(call: Call) -> Reply:
    """``POST /jobs/{name}/runs``."""
    body: NewRun = call.body
    target = await saved_target(call, call.values["name"], body.version)
    return await _one(call, target, body)


async def post_run(call: Call) -> Reply:
    """``POST /runs``."""
    body: AnyRun = call.body
    return await _one(call, await _target(call, body, ""), body)


async def post_task_run(call: Call) -> Reply:
    """``POST /tasks/{reference}/runs``."""
    body: TaskRun = call.body
    run = AnyRun(
        task=call.values["reference"],
        params=body.params,
        package=body.package,
        env=body.env,
        retries=body.retries,
        timeout=body.timeout,
        agent=body.agent,
    )
    return await _one(call, await _target(call, run, ""), body)


async def post_batch(call: Call) -> Reply:
    """``POST /runs/batch``: all or nothing; problems of all of them at once."""
    body: NewRuns = call.body
    if len(body.runs) > BATCH_RUNS_MAX:
        raise TooLarge(f"a batch has at most {BATCH_RUNS_MAX} runs")
    first = await call.services.ids.take(len(body.runs))
    changes, tasks, targets = [], 0, _Targets(call)
    problems: list[Problem] = []
    for at, run in enumerate(body.runs):
        if at and not at % SLICE:
            await asyncio.sleep(0)
        try:
            target = await targets.of(run, f"runs[{at}]")
            if run.test:
                target = await _rehearsed(call, target, run.test)
            tasks += len(target.known.graph.nodes)
            if tasks > BATCH_TASKS_MAX:
                raise TooLarge(f"a batch has at most {BATCH_TASKS_MAX} tasks")
            changes.append(Submit(_input(call, first + at, target, run)))
        except (Invalid, NotFound) as error:
            problems.extend(_moved(error, f"runs[{at}]"))
            if len(problems) >= 1000:
                break
    if problems:
        raise Invalid(f"{len(problems)} problem{'s' * (len(problems) != 1)}", problems=tuple(problems))
    ids = Ids(ids=list(range(first, first + len(changes))))
    return await ask_all(call, changes, lambda _: Told(201, ids))


async def _one(call: Call, target: Target, body: NewRun) -> Reply:
    services = call.services
    if body.test:
        target = await _rehearsed(call, target, body.test)
    run = await services.ids.take()
    given = _input(call, run, target, body)
    return await ask(call, Submit(given), partial(created, given))


async def _rehearsed(call: Call, target: Target, test: bool | Literal["noop", "print"]) -> Target:
    """The same job with its work replaced, for a test."""
    definition = rehearsed(target.known.definition, "print" if test == "print" else "noop")
    found = await kept_target(call, definition, target.job)
    return Target(found.graph, found.known, target.job, target.version)


def created(given: RunInput, results: list[Result]) -> Told:
    """What is told of a new run."""
    cell = results[0].cell
    state = RunState.queued if cell is None else cell.state
    view = RunView(
        id=given.run,
        job=given.job,
        version=given.version,
        state=state.name,
        params=msgspec.Raw(given.params),
        priority=given.priority,
        labels=given.labels,
        reason=given.reason if cell is None else cell.reason or given.reason,
        ended_at=None if cell is None else instant(cell.ended_at),
        created_at=moment(given.created_at),
        begins_at=instant(given.more.begin_at) if given.more else None,
        expires_at=instant(given.more.expires_at) if given.more else None,
        restarted_from=(given.more.restarted_from or None) if given.more else None,
        test=(given.more.test or None) if given.more else None,
    )
    return Told(201, view, f"{BASE}/runs/{given.run}")


def _input(call: Call, run: int, target: Target, body: NewRun) -> RunInput:
    definition = target.known.definition
    now = call.services.clock.now()
    more = timed(body, now)
    schema = definition.params
    params = body.params if schema is UNSET else call.services.schemas.of(schema).fill(body.params)
    return RunInput(
        run,
        target.graph,
        target.job,
        target.version,
        now,
        _encode(params) if params else b"{}",
        {**definition.labels, **body.labels} if definition.labels or body.labels else {},
        definition.priority if body.priority is None else body.priority,
        body.reason,
        call.caller.name,
        more,
    )


def timed(body: NewRun, now: int) -> InputMore | None:
    """When the run may begin, and until when it must have begun. Raises Invalid."""
    if body.at is UNSET and body.delay is UNSET and body.expires is UNSET and body.callback is UNSET and not body.test:
        return None
    problems = [Problem("callback", NOT_YET + "callback")] if body.callback is not UNSET else []
    begin = now + millis(body.delay) * 1000 if body.delay is not UNSET else 0
    if body.at is not UNSET:
        at = micros(body.at)
        if at is None or at > _FAR:
            problems.append(Problem("at", NO_INSTANT))
        elif begin:
            problems.append(Problem("delay", "give at or delay, not both"))
        begin = at or 0
    if problems:
        raise Invalid("1 problem" if len(problems) == 1 else f"{len(problems)} problems", problems=tuple(problems))
    return InputMore(
        begin_at=begin,
        expires_at=_end(body, max(now, begin)),
        test=("print" if body.test == "print" else "noop") if body.test else "",
    )


def _end(body: NewRun, begin: int) -> int:
    """Until when it must have begun (µs), 0 for ever: an instant, or so long from when it may begin. Raises Invalid."""
    if body.expires is UNSET:
        return 0
    at = micros(body.expires)
    if at is None:
        try:
            at = begin + millis(body.expires) * 1000
        except Invalid as e:
            message = (
                f"{body.expires[:40]!r} is neither a duration such as 1h nor an instant such as 2026-03-29T01:30:00Z"
            )
            raise Invalid("1 problem", problems=(Problem("expires", message),)) from e
    return max(1, min(at, _FAR))


async def saved_target(call: Call, name: str, version: int | None = None) -> Target:
    """A saved job, in its newest or in another version. Raises NotFound."""
    services = call.services
    saved = await services.jobs.get(name)
    if saved is None:
        raise await no_job(call, name)
    if version is not None:
        saved = await services.jobs.version(name, version)
        if saved is None:
            raise await no_job(call, name, version)
    if saved.record.missing:
        saved = await no_longer_waiting(services, saved)
    graph = saved.record.graph
    known = services.graphs.get(graph)
    if known is None:
        known = await services.graphs.load(graph)
    return Target(graph, known, name, saved.row.version)


async def _target(call: Call, body: AnyRun, path: str) -> Target:
    """What a body of ``POST /runs`` wants to be run."""
    kinds = [k for k in ("job", "command", "script", "container", "task") if getattr(body, k) is not UNSET]
    if len(kinds) != 1:
        what = "give one of job, command, script, task" + (f", not {' and '.join(kinds)}" if kinds else "")
        raise Invalid("1 problem", problems=(Problem(path, what),))
    refuse_later(body)
    if isinstance(body.job, str):
        return await saved_target(call, body.job, body.version)
    if kinds[0] != "task":
        call.caller.require(Permission.runs_define)
    if isinstance(body.job, JobDefinition):
        definition, name = body.job, body.job.name
        return await kept_target(
            call, await pinned_definition(definition, call.services.reader, "job", len(call.raw)), name
        )
    definition = await one_task_job(body, call.services.reader)
    return await kept_target(call, await pinned_definition(definition, call.services.reader, "task", 0), None)


async def kept_target(call: Call, definition: JobDefinition, job: str | None) -> Target:
    """A definition that is not saved is kept as a document, once for all runs of the same content."""
    services = call.services
    graph = await services.ledger.keep(definition, call.origin)
    return Target(graph, services.graphs.get(graph) or await services.graphs.load(graph), job)


class _Targets:
    """Targets of a batch: what is asked for twice is found once."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self._saved: dict[tuple[str, int | None], Target] = {}

    async def of(self, run: AnyRun, path: str) -> Target:
        """The target of one run."""
        if not isinstance(run.job, str):
            return await _target(self._call, run, path)
        found = self._saved.get((run.job, run.version))
        if found is None:
            found = self._saved[run.job, run.version] = await _target(self._call, run, path)
        return found


def _moved(error: HeadraceError, path: str) -> list[Problem]:
    if not error.problems:
        return [Problem(path, error.message)]
    return [Problem(f"{path}.{p.path}" if p.path and p.path != path else path, p.message) for p in error.problems]


def _post(path: str, handler: Any, request: Any, summary: str, **more: Any) -> Route:
    return Route(
        method="POST",
        path=BASE + path,
        permission=Permission.runs_submit,
        handler=handler,
        summary=summary,
        statuses=(201, 404, 409, 422),
        request=request,
        accepts=RECORDS,
        **more,
    )


ROUTES = (
    _post("/jobs/{name}/runs", post_job_run, NewRun, "Run a saved job", response=RunView),
    _post("/runs", post_run, AnyRun, "Run a definition, command, script or task that is not saved", response=RunView),
    _post(
        "/runs/batch",
        post_batch,
        NewRuns,
        "Many runs, all or nothing: at most 10,000 runs and 50,000 tasks",
        response=Ids,
        body_max=BATCH_BODY_MAX,
    ),
    _post("/tasks/{reference}/runs", post_task_run, TaskRun, "Run one registered task", response=RunView),
)
