"""From rows to answers: the shapes of CONTRACT.md §4, built from cells and the definition's names.

Pure but for reading values aside. Knows no route and no HTTP. Called by the handlers of runs, tasks and jobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from msgspec import structs

from headrace.control.graphs import Known
from headrace.control.values import ALONE_MAX, SHOWN_MAX, Room, Seen, Values
from headrace.core.ending import REPEAT
from headrace.core.expression import MISSING, MissingValue, render_text, walk
from headrace.core.scope import labels_of
from headrace.model.cells import Counts, TaskCell
from headrace.model.document import LABEL_MAX
from headrace.model.errors import TooLarge
from headrace.model.ids import WHOLE
from headrace.model.states import TASK_LEASED, AttemptState, TaskState
from headrace.model.views import AttemptView, ErrorFrame, ErrorView, ProgressView, RunView, TaskView
from headrace.store.rows import AttemptRow, RunRow

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_ATTEMPT_STATES = {
    TaskState.dispatched: AttemptState.dispatched,
    TaskState.running: AttemptState.running,
    TaskState.succeeded: AttemptState.succeeded,
    TaskState.failed: AttemptState.failed,
    TaskState.canceled: AttemptState.canceled,
    TaskState.lost: AttemptState.lost,
    TaskState.retrying: AttemptState.failed,
    TaskState.skipped: AttemptState.succeeded,
    TaskState.held: AttemptState.failed,
}
Children = Mapping[tuple[int, int, int], int]
"""(no, index, epoch) of an attempt → the run that is its work."""

_BETWEEN = frozenset({TaskState.blocked, TaskState.ready})


def instant(at: int) -> datetime | None:
    """Microseconds as an instant; 0 is no instant."""
    return _EPOCH + timedelta(0, 0, at) if at else None


def moment(at: int) -> datetime:
    """Microseconds as an instant."""
    return _EPOCH + timedelta(0, 0, at)


def run_view(
    row: RunRow, *, result: Any = None, omitted: str | None = None, tasks: Sequence[TaskView] = (), more: int = 0
) -> RunView:
    """A run. Lists leave ``result`` and ``tasks`` out. ``more``: tasks that are left out of ``tasks``."""
    given, cell = row.input, row.cell
    return RunView(
        id=cell.run,
        job=given.job,
        version=given.version,
        state=cell.state.name,
        exit_status=cell.exit_status,
        params=msgspec.json.decode(given.params),
        result=result,
        result_omitted=omitted,
        priority=cell.priority,
        labels=labels_of(cell, given),
        reason=cell.reason or given.reason,
        phase=(cell.more.phase or None) if cell.more else None,
        message=(cell.more.message or None) if cell.more else None,
        phase_at=instant(cell.more.phase_at) if cell.more else None,
        parent=None if given.more is None or given.more.parent is None else given.more.parent.run,
        created_at=moment(given.created_at),
        begins_at=instant(given.more.begin_at) if given.more else None,
        expires_at=instant(given.more.expires_at) if given.more else None,
        restarted_from=(given.more.restarted_from or None) if given.more else None,
        test=(given.more.test or None) if given.more else None,
        restarted_as=list(cell.more.restarted_as) if cell.more else [],
        started_at=instant(cell.started_at),
        ended_at=instant(cell.ended_at),
        tasks=list(tasks),
        tasks_omitted=more,
    )


def error_view(data: Any) -> ErrorView | None:
    """An error as its agent told it. What is not of that shape becomes a message."""
    if data is None:
        return None
    if not isinstance(data, dict):
        return ErrorView(type="Error", message=str(data)[:4096])
    frames = [f for raw in data.get("frames") or () if (f := _frame(raw)) is not None]
    return ErrorView(
        type=str(data.get("type") or "Error"),
        message=str(data.get("message") or ""),
        traceback=str(data.get("traceback") or ""),
        frames=frames,
        cause=data.get("cause"),
    )


def _frame(raw: Any) -> ErrorFrame | None:
    try:
        return msgspec.convert(raw, ErrorFrame)
    except msgspec.ValidationError:
        return None


def attempt_state(cell: TaskCell) -> str | None:
    """How the newest attempt of a cell stands; None when the cell is between attempts."""
    if not cell.attempt or cell.state in _BETWEEN:
        return None
    if cell.state is TaskState.retrying and cell.reason == "lost":
        return AttemptState.lost.name
    if cell.state is TaskState.retrying and cell.reason == REPEAT:
        return AttemptState.succeeded.name
    return _ATTEMPT_STATES[cell.state].name


def has_earlier(cell: TaskCell) -> bool:
    """Whether attempts of it stand in rows of their own."""
    return cell.attempt > 1 or (cell.attempt == 1 and attempt_state(cell) is None)


def attempt_view(
    cell: TaskCell, error: ErrorView | None, agents: dict[int, str], child: int | None = None
) -> AttemptView:
    """The attempt that a cell describes: its newest one, or an earlier one kept as a row.

    While it is at work the cell still holds what the attempt before it said: that is not this one's.
    """
    if cell.state in TASK_LEASED:
        cell, error = structs.replace(cell, exit_code=None, signal=None, exit_status=None, ended_at=0), None
    return AttemptView(
        attempt=cell.attempt,
        epoch=cell.epoch,
        state=attempt_state(cell) or AttemptState.failed.name,
        exit_code=cell.exit_code,
        signal=cell.signal,
        exit_status=cell.exit_status,
        agent=agents.get(cell.agent),
        reason=cell.reason,
        started_at=instant(cell.started_at),
        ended_at=instant(cell.ended_at),
        error=error,
        child=child,
    )


def counts_view(counts: Counts) -> dict[str, int]:
    """A group's instances per state; ``waiting`` are those that have no row yet or have not begun."""
    return {
        "total": max(counts.total, 0),  # -1: how many there are is not known, or never was
        "live": counts.live,
        "succeeded": counts.succeeded,
        "failed": counts.failed,
        "canceled": counts.canceled,
        "skipped": counts.skipped,
        "lost": counts.lost,
    }


def _progress(cell: TaskCell) -> ProgressView | None:
    said = cell.more.progress if cell.more is not None else None
    return None if said is None else ProgressView(done=said.done, total=said.total, message=said.message)


class TaskViews:
    """Builds the views of one run's tasks. ``alone``: only one task is asked for, so its result may be as large as any."""

    def __init__(
        self,
        values: Values,
        known: Known,
        row: RunRow,
        agents: dict[int, str],
        *,
        children: Children | None = None,
        alone: bool = False,
    ) -> None:
        self._children = children or {}
        self._alone = alone
        self._room = Room(ALONE_MAX if alone else SHOWN_MAX)
        self._values = values
        self._known = known
        self._row = row
        self._agents = agents
        self.seen: Seen = {}
        """Lists of results that are shown, for whoever shows them again in the same answer."""
        self._params: Any = MISSING

    async def brief(self, cell: TaskCell, states: dict[int, TaskState]) -> TaskView:
        """A task inside its run: error and inline result, without the list of attempts."""
        return await self._view(cell, states, [])

    async def full(self, cell: TaskCell, states: dict[int, TaskState], rows: Sequence[AttemptRow]) -> TaskView:
        """A task with every attempt."""
        attempts = []
        for row in rows:
            error = error_view(await self._values.error(row.cell))
            attempts.append(attempt_view(row.cell, error, self._agents, self._child(row.cell)))
        return await self._view(cell, states, attempts, newest=True)

    async def _view(
        self, cell: TaskCell, states: dict[int, TaskState], attempts: list[AttemptView], *, newest: bool = False
    ) -> TaskView:
        node = self._known.graph.nodes[cell.no]
        error = error_view(await self._values.error(cell))
        result, omitted = await self._result(cell)
        if newest and attempt_state(cell) is not None and (not attempts or attempts[-1].attempt != cell.attempt):
            attempts.append(attempt_view(cell, error, self._agents, self._child(cell)))
        return TaskView(
            name=node.name,
            index=None if cell.index == WHOLE else cell.index,
            label=self._label(cell),
            state=cell.state.name,
            exit_status=cell.exit_status,
            exit_code=cell.exit_code,
            attempt=cell.attempt,
            epoch=cell.epoch,
            agent=self._agents.get(cell.agent),
            started_at=instant(cell.started_at),
            ended_at=instant(cell.ended_at),
            result=result,
            result_omitted=omitted,
            error=error,
            reason=cell.reason,
            waits_for=self._waits_for(cell, states),
            attempts=attempts,
            counts=None if cell.counts is None else counts_view(cell.counts),
            progress=_progress(cell),
            taken_from=cell.more.origin[0] if cell.more is not None and cell.more.origin is not None else None,
            child=self._child(cell),
        )

    def _child(self, cell: TaskCell) -> int | None:
        return self._children.get((cell.no, cell.index, cell.epoch))

    async def _result(self, cell: TaskCell) -> tuple[Any, str | None]:
        try:
            return await self._values.result(cell, self._room, self.seen), None
        except TooLarge as error:
            if self._alone:
                return None, error.message
            where = f"/runs/{cell.run}/tasks/{self._known.graph.nodes[cell.no].name}"
            return None, f"{error.message}; ask for {where}" + ("" if cell.index == WHOLE else f"/{cell.index}")

    def _waits_for(self, cell: TaskCell, states: dict[int, TaskState]) -> list[str]:
        if cell.state is not TaskState.blocked:
            return []
        node = self._known.graph.nodes[cell.no]
        needed = dict.fromkeys(need.task for need in (*node.needs, *node.gate))
        return [
            self._known.graph.nodes[no].name for no in needed if states.get(no, TaskState.blocked) < TaskState.succeeded
        ]

    def _label(self, cell: TaskCell) -> str | None:
        text = self._known.definition.tasks[cell.no].label
        if not isinstance(text, str) or cell.counts is not None:
            return None
        try:
            label = render_text(text, _LabelScope(self, cell))
        except MissingValue:
            return None
        return label if len(label) <= LABEL_MAX else label[: LABEL_MAX - 1] + "…"

    def run(self) -> dict[str, Any]:
        """What a label may say of the run itself."""
        labels = labels_of(self._row.cell, self._row.input)
        return {"id": self._row.cell.run, "job": self._known.definition.name, "labels": labels}

    def params(self) -> Any:
        """The run's parameters, decoded once."""
        if self._params is MISSING:
            self._params = msgspec.json.decode(self._row.input.params)
        return self._params


class _LabelScope:
    """What a label is rendered from when it is shown: params, item, index, the run."""

    def __init__(self, views: TaskViews, cell: TaskCell) -> None:
        self._views = views
        self._cell = cell

    def lookup(self, root: str, path: tuple[str | int, ...]) -> Any:
        """The value at a path, or MISSING."""
        if root == "params":
            return walk(self._views.params(), path)
        if root == "index":
            return MISSING if path else self._cell.index
        if root == "item":
            item = self._cell.item
            return MISSING if item is None or item.data is None else walk(msgspec.json.decode(item.data), path)
        return walk(self._views.run(), path) if root == "run" and path else MISSING
