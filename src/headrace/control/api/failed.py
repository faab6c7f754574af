"""Why a run ended as it did: what failed, with which error, when, how often it was tried, and what to do next.

Reads only, bounded. Called by ``control.api.explain``.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.control.api.advice import after
from headrace.control.api.call import Call
from headrace.control.api.views import Children, error_view, instant
from headrace.control.graphs import Known
from headrace.core.nodes import Node
from headrace.model.cells import RunCell, TaskCell
from headrace.model.ids import WHOLE
from headrace.model.states import RunState, TaskState
from headrace.model.views import ErrorView, ExplainView, ReasonView

REASONS_MAX = 100
INSTANCES_MAX = 3
"""So many failed instances of a task with ``each`` are told one by one."""
MESSAGE_MAX = 500
BAD = frozenset({TaskState.failed, TaskState.lost})


async def ended(
    call: Call, run: RunCell, known: Known, cells: Sequence[TaskCell], children: Children, more: int
) -> ExplainView:
    """What is said of a run that has ended."""
    because = f" ({run.reason})" if run.reason else ""
    head = ReasonView(
        code="ended",
        message=f"the run has ended: {run.state.name}{because}",
        refers_to=str(run.run),
        at=instant(run.ended_at),
    )
    good = run.state is RunState.succeeded
    failures = [] if good else [r for c in cells if c.state in BAD for r in await _told(call, known, c, children)]
    python = any(node.source.kind == "python" for node in known.graph.nodes)
    return ExplainView(
        decision=run.state.name,
        reasons=[head, *failures[:REASONS_MAX]],
        tasks_omitted=more,
        advice=[] if good else after(run.run, saved=bool(known.definition.name), python=python),
    )


async def _told(call: Call, known: Known, cell: TaskCell, children: Children) -> list[ReasonView]:
    """Of a task, or of one with ``each`` and the first of its instances that failed."""
    node = known.graph.nodes[cell.no]
    error = error_view(await call.services.values.error(cell))
    found = [_reason(node, cell, error, children)]
    if cell.counts is not None:
        page = await call.services.reader.tasks(cell.run, no=cell.no, after=(cell.no, WHOLE))
        bad = [c for c in page if c.state in BAD][:INSTANCES_MAX]
        errors = [error_view(await call.services.values.error(one)) for one in bad]
        found += [_reason(node, one, error, children) for one, error in zip(bad, errors, strict=True)]
    return found


def _reason(node: Node, cell: TaskCell, error: ErrorView | None, children: Children) -> ReasonView:
    name = node.name if cell.index == WHOLE else f"{node.name}[{cell.index}]"
    counts = cell.counts
    tried = f" at attempt {cell.attempt} of {max(node.retry.max + 1, cell.attempt)}" if cell.attempt else ""
    if counts is not None:
        tried = f": {counts.failed} failed and {counts.lost} were lost of {counts.total} instances"
    child = children.get((cell.no, cell.index, cell.epoch))
    status, reason = cell.exit_status or "", cell.reason or ""
    parts = [
        f"exit status {status}" if status not in ("", "error") else "",
        "" if reason == f"exit code {status}" else reason,
        "" if error is None or child is not None or error.message == reason else _said(error),
        "" if child is None else f"see run {child}",
    ]
    why = "; ".join(dict.fromkeys(part for part in parts if part)) or ("" if counts else "no reason given")
    message = f"{name} {cell.state.name}{tried}" + (f": {why}" if why else "")
    return ReasonView(code="failed", message=message, refers_to=name, at=instant(cell.ended_at))


def _said(error: ErrorView) -> str:
    """The exception and the innermost line of the user's own."""
    message = error.message if len(error.message) <= MESSAGE_MAX else error.message[:MESSAGE_MAX] + "…"
    own = [frame for frame in error.frames if frame.yours]
    where = f" ({own[-1].file}:{own[-1].line} in {own[-1].function})" if own else ""
    return f"{error.type}: {message}{where}"
