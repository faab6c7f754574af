"""``POST /job``, ``PATCH /job/{job_id}``: the Digester's own form. Records a run that others have, with what they say of it.

Nothing of such a run is ever given to an agent: its state, phase, message, result and log are told by whoever runs it, and
it is shown and listed as every run is. What our own callbacks send is understood here. Called through the route table.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import UNSET

from headrace.control.api.answers import Told, ask, ask_all
from headrace.control.api.call import Call, Reply
from headrace.control.api.oneoff import plain_name
from headrace.control.api.records import ForeignChange, ForeignJob
from headrace.control.api.table import BASE, MERGE_PATCH, RECORDS, Route
from headrace.control.auth import Permission
from headrace.control.changes.result import KEY_USED, Result
from headrace.core.amending import LOG_MOVED
from headrace.link.records import LogRecord, Seal
from headrace.model.cells import InputMore, RunInput, TaskCell, Value
from headrace.model.changes import Change, Report, Submit
from headrace.model.definition import JobDefinition, Task
from headrace.model.errors import Conflict, Invalid, NotFound, Problem
from headrace.model.ids import WHOLE
from headrace.model.states import RunState
from headrace.model.views import ForeignView
from headrace.store.rows import LogSegment, RunRow

WORDS = {
    "no_status": RunState.queued,
    "pending": RunState.queued,
    "in_progress": RunState.running,
    "completed": RunState.succeeded,
    "aborted": RunState.canceled,
    **{state.name: state for state in RunState if state is not RunState.abandoned},
}
"""What others call the states of their jobs. Any other word of ``status`` is the phase of a job that runs."""

RECORD_MAX = 256 * 1024
TRIES = 8


async def post_job(call: Call) -> Reply:
    """``POST /job``."""
    body: ForeignJob = call.body
    theirs = _theirs(body)
    own_key = bool(theirs) and call.key is None
    if own_key:
        # Others tell at least once: the same job told again in the same words is the same run.
        call.key = f"job {theirs}"
    run, now = await call.services.ids.take(), call.services.clock.now()
    name = body.job or body.name or "job"
    definition = JobDefinition(name=plain_name(name) or "job", tasks=[Task(name="elsewhere", command=["true"])])
    graph = await call.services.ledger.keep(definition, call.origin)
    params = msgspec.json.encode(body.params or {})
    labels = body.labels or {}
    more = InputMore(foreign=theirs or str(run))
    changes: list[Change] = [
        Submit(RunInput(run, graph, name[:200], None, now, params, labels, 0, body.reason, call.caller.name, more))
    ]
    report = _report(run, body)
    seal, segments = _logged(TaskCell(run, 0), body.log, now)
    if report != Report(run) or seal:
        changes.append(msgspec.structs.replace(report, seal=seal, seal_before=b""))
    try:
        return await ask_all(call, changes, lambda results: _told(results, 201), segments=segments)
    except Conflict as error:
        if own_key and KEY_USED in error.message:
            told = "was told before in other words: PATCH /job/{job_id} tells what is new of it"
            raise Conflict(f"job {theirs} {told}") from error
        raise


async def patch_job(call: Call) -> Reply:
    """``PATCH /job/{job_id}``."""
    body: ForeignChange = call.body
    text = call.values["job_id"]
    row = await call.services.reader.run(int(text)) if text.isascii() and text.isdigit() and len(text) < 17 else None
    if row is None or row.input.more is None or not row.input.more.foreign:
        raise NotFound(f"there is no job {text[:100]!r} that runs elsewhere")
    for _ in range(TRIES):
        try:
            return await _patch(call, row, body)
        except _Moved:
            continue
    raise Conflict(f"the log of job {text} is written by others at this moment")


async def _patch(call: Call, row: RunRow, body: ForeignChange) -> Reply:
    run = row.cell.run
    cell = await call.services.reader.task((run, 0, WHOLE))
    if cell is None:
        raise NotFound(f"there is no job {run}")
    seal, segments = _logged(cell, body.log, call.services.clock.now())
    report = msgspec.structs.replace(_report(run, body), seal=seal, seal_before=cell.seal)
    try:
        return await ask(call, report, lambda results: _told(results, 200), segments=segments)
    except Conflict as error:
        if seal and LOG_MOVED in error.message:
            raise _Moved from error
        raise


class _Moved(Exception):
    """Another part of the log was told meanwhile."""


def _theirs(body: ForeignJob) -> str:
    given = body.job_id if body.job_id is not None else body.id
    return "" if given is None else str(given)[:200]


def _report(run: int, body: ForeignJob | ForeignChange) -> Report:
    """What the body says of the run. ``status`` is the Digester's word for ``state``, and may be a phase."""
    phase = body.phase
    state: RunState | None = None
    if body.state is not None:
        state = WORDS.get(body.state)
        if state is None:
            raise Invalid("1 problem", problems=(Problem("state", f"must be one of {', '.join(WORDS)}"),))
    elif body.status is not None:
        state = WORDS.get(body.status, RunState.running)
        phase = body.status if body.status not in WORDS and phase is None else phase
    return Report(
        run,
        state,
        body.exit_status,
        body.reason,
        None if body.result is UNSET else _value(body.result),
        phase[:200] if phase is not None else None,
        body.message,
    )


def _value(result: Any) -> Value | None:
    data = msgspec.json.encode(result)
    if len(data) > RECORD_MAX:
        raise Invalid("1 problem", problems=(Problem("result", f"has more than {RECORD_MAX} bytes"),))
    return None if data == b"null" else Value(len(data), "inline", data, "", False, _count(result))


def _count(result: Any) -> int:
    return len(result) if isinstance(result, list) else -1


def _logged(cell: TaskCell, text: str | None, now: int) -> tuple[bytes, tuple[LogSegment, ...]]:
    """The log with one more piece: its new end, and the piece."""
    if not text:
        return b"", ()
    last = msgspec.msgpack.decode(cell.seal, type=Seal).last if cell.seal else 0
    data = text.encode("utf-8", "surrogatepass")
    pieces = [data[at : at + 65_536] for at in range(0, len(data), 65_536)]
    records = [LogRecord(last + n, now, "stdout", piece) for n, piece in enumerate(pieces, 1)]
    segment = LogSegment(cell.run, 0, WHOLE, 1, last + 1, records[-1].seq, msgspec.msgpack.encode(records))
    return msgspec.msgpack.encode(Seal(records[-1].seq)), (segment,)


def _told(results: list[Result], status: int) -> Told:
    result = results[-1]
    cell = result.cell
    run = result.run
    more = None if cell is None else cell.more
    view = ForeignView(
        job_id=run,
        state="queued" if cell is None else cell.state.name,
        phase=(more.phase or None) if more else None,
        message=(more.message or None) if more else None,
    )
    return Told(status, view, f"{BASE}/runs/{run}" if status == 201 else "")


def _route(method: str, path: str, **more: Any) -> Route:
    return Route(
        method=method,
        path=BASE + path,
        permission=Permission.runs_submit,
        response=ForeignView,
        **more,
    )


ROUTES = (
    _route(
        "POST",
        "/job",
        handler=post_job,
        summary="Record a job that runs elsewhere; the same `id` in the same words is the same run",
        statuses=(201, 409, 422),
        request=ForeignJob,
        accepts=RECORDS,
    ),
    _route(
        "PATCH",
        "/job/{job_id}",
        handler=patch_job,
        summary="What is new of a job that runs elsewhere: state, phase, message, result, log",
        statuses=(200, 404, 409, 422),
        request=ForeignChange,
        accepts=(*RECORDS, MERGE_PATCH),
    ),
)
