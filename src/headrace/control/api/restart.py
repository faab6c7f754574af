"""``POST /runs/{id}/restart``: a new run that goes on with what an ended one did not do.

Which results it takes over is core's decision (``core.restarting``); here the definition is chosen, and both runs are linked in one commit. Called through the route table only.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, structs

from headrace.control.api.answers import Told, ask_all
from headrace.control.api.call import Call, Reply
from headrace.control.api.incoming import pinned_definition
from headrace.control.api.lookup import run_of
from headrace.control.api.records import Restart
from headrace.control.api.submit import Target, created, kept_target, saved_target
from headrace.control.api.table import BASE, RECORDS, Route
from headrace.control.auth import Permission
from headrace.control.changes.result import Result
from headrace.control.graphs import Known
from headrace.control.restarts import submit_of, takeover
from headrace.core.restarting import FAILED, START, Takeover
from headrace.core.scope import labels_of
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import Restarted
from headrace.model.errors import Conflict, Invalid, Problem
from headrace.model.naming import did_you_mean
from headrace.model.states import RUN_FINAL, RunState
from headrace.model.views import RunView
from headrace.store.rows import RunRow


async def restart_run(call: Call) -> Reply:
    """``POST /runs/{id}/restart``."""
    body: Restart = call.body
    row, old = await run_of(call)
    if row.cell.state not in RUN_FINAL:
        raise Conflict(f"run {row.cell.run} is {row.cell.state.name}: restart refused, it has not ended")
    target = await _target(call, row, old, body)
    since = body.from_ or FAILED
    if since not in (FAILED, START) and since not in target.known.graph.by_name:
        near = did_you_mean(since[:100], [START, FAILED, *target.known.graph.by_name])
        raise Invalid("1 problem", problems=(Problem("from", f"there is no task {since[:100]!r}{near}"),))
    params = _params(call, row, target, body)
    reader, graph = call.services.reader, target.known.graph
    same = params == row.input.params
    found, cells = await takeover(reader, row.cell.run, old.graph, graph, since, same_params=same)
    if row.cell.state is RunState.succeeded and not found.again:
        raise Conflict(
            f"run {row.cell.run} is succeeded: nothing in it failed; to repeat it give from: start (headrace restart {row.cell.run} --from start)"
        )
    run = await call.services.ids.take()
    given = _input(call, row, target, body, run=run, params=params, found=found, since=since)
    submit = await submit_of(reader, given, found, cells)

    def tell(results: list[Result]) -> Told:
        told = created(given, results[-1:])
        return structs.replace(told, status=202)

    return await ask_all(call, [Restarted(row.cell.run, run), submit], tell)


async def _target(call: Call, row: RunRow, old: Known, body: Restart) -> Target:
    """The definition of the new run: the old one's, another version of its job, or either with the newest code."""
    given = row.input
    target = Target(given.graph, old, given.job, given.version)
    if body.version is not None:
        if given.job is None or given.version is None:
            raise Invalid("1 problem", problems=(Problem("version", "this run is not of a saved job"),))
        target = await saved_target(call, given.job, body.version)
    if given.more is not None and given.more.test and body.version is not None:
        raise Invalid(
            "1 problem", problems=(Problem("version", "this run was a test: make a new one of that version"),)
        )
    if body.code == "latest":
        definition = await pinned_definition(target.known.definition, call.services.reader, "job", target.known.size)
        fresh = await kept_target(call, definition, target.job)
        target = Target(fresh.graph, fresh.known, target.job, target.version)
    return target


def _params(call: Call, row: RunRow, target: Target, body: Restart) -> bytes:
    """The old run's parameters, with those that are given now in their place."""
    params = {**msgspec.json.decode(row.input.params), **body.params}
    schema = target.known.definition.params
    filled = params if schema is UNSET else call.services.schemas.of(schema).fill(params)
    return msgspec.json.encode(filled) if filled else b"{}"


def _input(
    call: Call, row: RunRow, target: Target, body: Restart, *, run: int, params: bytes, found: Takeover, since: str
) -> RunInput:
    old = row.input
    return RunInput(
        run,
        target.graph,
        target.job,
        target.version,
        call.services.clock.now(),
        params,
        {**labels_of(row.cell, old), **body.labels},
        row.cell.priority if body.priority is None else body.priority,
        body.reason,
        call.caller.name,
        InputMore(
            test=old.more.test if old.more is not None else "",
            restarted_from=row.cell.run,
            since=since,
            groups=tuple(found.groups.items()),
        ),
    )


ROUTES = (
    Route(
        method="POST",
        path=BASE + "/runs/{id}/restart",
        permission=Permission.runs_submit,
        handler=restart_run,
        summary="A new run that goes on from an ended one: what had succeeded is taken over, not repeated",
        statuses=(202, 404, 409, 422),
        request=Restart,
        response=RunView,
        accepts=RECORDS,
    ),
)
