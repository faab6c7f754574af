"""What may be asked of a run that exists: cancel, stop, pause, resume, abandon. Accepted; its state says how far it is.

Core decides whether the run's state allows it, and the refusal names that state. Called through the route table only.
"""

from __future__ import annotations

from collections.abc import Callable

from headrace.control.api.answers import Told, ask
from headrace.control.api.call import Call, Reply
from headrace.control.api.lookup import run_row
from headrace.control.api.records import Accepted, Why
from headrace.control.api.table import BASE, RECORDS, Handler, Route
from headrace.control.auth import Permission
from headrace.control.changes.result import Result
from headrace.model.changes import Abandon, Cancel, Pause, Resume, Stop, Verb
from headrace.model.errors import Conflict
from headrace.model.states import RUN_FINAL, RunState


def _handler(change: Callable[[int, str | None], Verb]) -> Handler:
    async def handle(call: Call) -> Reply:
        run = call.run_id()
        body: Why = call.body
        row = await run_row(call)
        if row.cell.state in RUN_FINAL:
            raise Conflict(f"run {run} has ended: {row.cell.state.name}")
        return await ask(call, change(run, body.reason), accepted)

    return handle


def accepted(results: list[Result]) -> Told:
    """The answer to a command on a run."""
    cell = results[-1].cell
    state = RunState.stopping.name if cell is None else cell.state.name
    return Told(202, Accepted(id=results[-1].run, state=state))


def _verb(name: str, change: Callable[[int, str | None], Verb], summary: str) -> Route:
    return Route(
        method="POST",
        path=f"{BASE}/runs/{{id}}/{name}",
        permission=Permission.runs_stop,
        handler=_handler(change),
        summary=summary,
        statuses=(202, 409),
        request=Why,
        response=Accepted,
        accepts=RECORDS,
    )


ROUTES = (
    _verb("cancel", Cancel, "Bring the run to its end: ask, then kill what runs; what never began is canceled"),
    _verb("stop", Stop, "Begin nothing new, let what runs finish; the run ends canceled and can be restarted"),
    _verb("pause", Pause, "Begin nothing new until it is resumed; what runs goes on"),
    _verb("resume", Resume, "Go on after a pause; and let tasks go on that are held because their attempts were lost"),
    _verb("abandon", Abandon, "End the record at once, fence what runs, and wait for nobody"),
)
