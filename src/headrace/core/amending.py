"""What of a run may be changed while it is there, and what others say of a run that they have.

Pure and private to core; called by ``core.verbs``.
"""

from __future__ import annotations

import msgspec
from msgspec.structs import replace

from headrace.core.draft import Draft
from headrace.core.ending import end
from headrace.core.moving import propagate
from headrace.core.nodes import RANK_SLOPE_MS
from headrace.core.scope import labels_of
from headrace.model.cells import Progress, TaskCell, TaskMore
from headrace.model.changes import Amend, Report
from headrace.model.errors import Refused
from headrace.model.facts import RunAmended, RunChanged, RunPhase, TaskStarted
from headrace.model.states import RUN_FINAL, RunState, TaskState

LOG_MOVED = "log moved"
"""Of a refusal: another piece of the log was told at the same time."""

PHASE_MAX, MESSAGE_MAX = 200, 2_000
"""Characters that are kept of what the work says."""

LABELS_MAX = 64

_TASK_OF = {
    RunState.succeeded: TaskState.succeeded,
    RunState.failed: TaskState.failed,
    RunState.canceled: TaskState.canceled,
}
"""How the only task of a recorded run ends, by the end that others tell."""


def amend(draft: Draft, change: Amend) -> None:
    """Another priority, other labels, another phase."""
    run = draft.run
    if run.state in RUN_FINAL and (change.priority is not None or change.phase is not None or change.message):
        raise Refused(f"run {run.run} is {run.state.name}: only its labels can be changed")
    if change.priority is not None and change.priority != run.priority:
        draft.change_run(priority=change.priority)
        # What is ready has its place in line by the priority: a sweep makes the rows agree.
        waiting = (
            run.more.rank + (run.priority - change.priority) * RANK_SLOPE_MS if run.more and run.more.waiting else 0
        )
        draft.more(hold=0, rank=waiting)
        draft.owe_run()
        draft.facts.append(RunAmended(priority=change.priority))
    if change.labels is not None:
        assert draft.given is not None  # reach asked for it
        labels = _merged(labels_of(run, draft.given), change.labels)
        draft.more(labels=labels)
        draft.facts.append(RunAmended(labels=labels))
    say_phase(draft, change.phase, change.message)


def _merged(labels: dict[str, str], changed: dict[str, str | None]) -> dict[str, str]:
    """The rule of RFC 7396: what is not named stays, null takes away."""
    merged = {name: value for name, value in {**labels, **changed}.items() if value is not None}
    if len(merged) > LABELS_MAX:
        raise Refused(f"the run would have {len(merged)} labels: {LABELS_MAX} are the most")
    return merged


def say_phase(draft: Draft, phase: str | None, message: str | None) -> None:
    """The work says what it is doing; the same again is no news."""
    more = draft.run.more
    before = ("", "") if more is None else (more.phase, more.message)
    now = (
        before[0] if phase is None else phase,
        ("" if phase is not None else before[1]) if message is None else message,
    )
    if now != before:
        draft.more(phase=now[0], message=now[1], phase_at=draft.now)
        draft.facts.append(RunPhase(phase=now[0], message=now[1]))


def say(draft: Draft, cell: TaskCell, text: bytes) -> None:
    """What the work of a task says of itself: the phase of its run, how far it is. Nonsense is read over."""
    try:
        said = msgspec.json.decode(text, type=_Said)
    except msgspec.MsgspecError:
        return
    if said.phase is not None:
        say_phase(draft, said.phase[:PHASE_MAX], (said.message or "")[:MESSAGE_MAX])
    if said.done is not None:
        progress = Progress(said.done, said.total, (said.note or "")[:MESSAGE_MAX])
        more = cell.more or TaskMore()
        if more.progress != progress:
            draft.change(cell, more=replace(more, progress=progress))


class _Said(msgspec.Struct, frozen=True):
    phase: str | None = None
    message: str | None = None
    done: float | None = None
    total: float | None = None
    note: str | None = None


def report(draft: Draft, change: Report) -> None:
    """Others tell the state of a run that they have."""
    run = draft.run
    if run.more is None or not run.more.foreign:
        raise Refused(f"run {run.run} is one of ours, nobody else tells its state")
    if change.seal:
        _log(draft, change)
    if run.state in RUN_FINAL:
        if change.state in {None, run.state}:
            return
        raise Refused(f"run {run.run} is {run.state.name}: it cannot become {_name(change)}")
    say_phase(draft, change.phase, change.message)
    if change.reason is not None:
        draft.change_run(reason=change.reason)
    if change.state in _TASK_OF:
        _ended(draft, change, _TASK_OF[change.state])
    elif change.state is not None and change.state != run.state:
        _moved(draft, change.state)


def _log(draft: Draft, change: Report) -> None:
    """A piece of its log was told."""
    cell = draft.task(0)
    if cell is None or cell.seal != change.seal_before:
        raise Refused(f"run {change.run}: its {LOG_MOVED} meanwhile")
    draft.change(cell, seal=change.seal, attempt=1)


def _moved(draft: Draft, state: RunState) -> None:
    began = draft.run.started_at
    if state == RunState.queued and began:
        raise Refused(f"run {draft.run.run} is {draft.run.state.name}: it cannot become queued again")
    fields = {"started_at": draft.now} if state == RunState.running and not began else {}
    draft.change_run(state=state, **fields)
    draft.facts.append(RunChanged(state=state, reason=draft.run.reason))
    cell = draft.task(0)
    if cell is not None and state == RunState.running and cell.state == TaskState.blocked:
        draft.change(cell, state=TaskState.running, started_at=draft.now, attempt=1)
        draft.change_run(live=1)
        draft.facts.append(TaskStarted(0, cell.index, draft.now))


def _ended(draft: Draft, change: Report, state: TaskState) -> None:
    cell = draft.task(0)
    if cell is None:
        raise AssertionError(f"the task of run {draft.run.run} is not loaded")
    draft.change_run(started_at=draft.run.started_at or draft.now)
    ended = end(
        draft,
        cell,
        state,
        attempt=1,
        started_at=cell.started_at or draft.now,
        exit_status=change.exit_status,
        reason=change.reason,
        result=draft.keep(cell.key, change.result),
    )
    propagate(draft, ended)


def _name(change: Report) -> str:
    return "" if change.state is None else change.state.name
