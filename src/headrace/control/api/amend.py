"""``PATCH /runs/{id}``: another priority, other labels, another phase. Called through the route table only."""

from __future__ import annotations

from functools import partial

from msgspec import UNSET

from headrace.control.api.answers import Told, ask
from headrace.control.api.call import Call, Reply
from headrace.control.api.lookup import run_of
from headrace.control.api.records import AmendRun
from headrace.control.api.table import BASE, MERGE_PATCH, RECORDS, Route
from headrace.control.api.views import run_view
from headrace.control.auth import Permission
from headrace.control.changes.result import Result
from headrace.control.credentials import RunClaim
from headrace.model.changes import Amend
from headrace.model.errors import Conflict, Forbidden, Invalid, Problem
from headrace.model.naming import did_you_mean
from headrace.model.states import TASK_LEASED
from headrace.model.views import RunView
from headrace.store.rows import RunRow


async def amend_run(call: Call) -> Reply:
    """``PATCH /runs/{id}``."""
    body: AmendRun = call.body
    if call.caller.claim is not None:
        await _of_its_own(call, call.caller.claim, body)
    row, known = await run_of(call)
    phases = known.definition.phases
    if phases and body.phase is not UNSET and body.phase not in phases:
        near = did_you_mean(body.phase, phases)
        raise Invalid("1 problem", problems=(Problem("phase", f"job {known.graph.name} has no such phase{near}"),))
    change = Amend(
        row.cell.run,
        None if body.priority is UNSET else body.priority,
        None if body.labels is UNSET else body.labels,
        None if body.phase is UNSET else body.phase,
        None if body.message is UNSET else body.message,
    )
    return await ask(call, change, partial(_told, row))


async def _of_its_own(call: Call, claim: RunClaim, body: AmendRun) -> None:
    """An attempt says what its run is doing, and nothing else; one that is over or stale says nothing any more."""
    if body.priority is not UNSET or body.labels is not UNSET:
        raise Forbidden("a run's own token may change phase and message, and nothing else")
    cell = await call.services.reader.task((claim.run, claim.no, claim.index))
    if cell is None or cell.state not in TASK_LEASED or cell.epoch != claim.epoch:
        raise Conflict("the attempt that this token was made for is over")


def _told(row: RunRow, results: list[Result]) -> Told:
    cell = results[0].cell
    return Told(200, run_view(row if cell is None else RunRow(row.input, cell)))


ROUTES = (
    Route(
        method="PATCH",
        path=BASE + "/runs/{id}",
        permission=Permission.runs_submit,
        handler=amend_run,
        summary="Another priority, other labels, or the phase that the work is in; what is not given stays",
        statuses=(200, 409, 422),
        request=AmendRun,
        response=RunView,
        accepts=(*RECORDS, MERGE_PATCH),
        run_token=True,
    ),
)
