"""Cells and facts as the bytes that rows hold. MessagePack arrays: fields are only ever added, at the end.

Does no IO. Called by the stores. An after-image in history is small: what a value, an item or a log seal says is not
repeated there, the live row or the attempt row has it.
"""

from __future__ import annotations

import msgspec
from msgspec import Struct

from headrace.model.cells import Counts, RunCell, RunInput, TaskCell
from headrace.model.facts import AnyFact
from headrace.model.states import RunState, StopIntent, TaskState
from headrace.store.rows import HistoryRow

encode = msgspec.msgpack.Encoder().encode
decode_run = msgspec.msgpack.Decoder(RunCell).decode
decode_task = msgspec.msgpack.Decoder(TaskCell).decode


class InputRest(Struct, frozen=True, array_like=True):
    """What of a run's input is in no column of its own."""

    graph: int
    version: int | None = None
    priority: int = 0
    reason: str | None = None
    actor: str = ""
    labels: dict[str, str] = {}
    job: str | None = None
    created_at: int = 0


_decode_rest = msgspec.msgpack.Decoder(InputRest).decode


class RunImage(Struct, frozen=True, array_like=True):
    """A run after one change, without what never changes."""

    state: RunState
    left: int
    finals: int
    live: int
    failed: int
    canceled: int
    succeeded: int
    intent: StopIntent
    started_at: int
    ended_at: int
    exit_status: str | None
    reason: str | None
    graph: int
    created_at: int
    priority: int


class TaskImage(Struct, frozen=True, array_like=True):
    """A task after one change, without its values."""

    state: TaskState
    version: int
    attempt: int
    epoch: int
    pending: int
    agent: int
    boot: int
    due_at: int
    started_at: int
    ended_at: int
    exit_status: str | None
    exit_code: int | None
    signal: int | None
    reason: str | None
    counts: Counts | None


class HistoryBody(Struct, frozen=True, array_like=True):
    """The body of a history row."""

    facts: tuple[AnyFact, ...]
    run: RunImage | None = None
    task: TaskImage | None = None
    task_no: int = -1


_decode_body = msgspec.msgpack.Decoder(HistoryBody).decode


def input_rest(given: RunInput) -> bytes:
    """The columns of ``given`` that are kept as one piece."""
    return encode((
        given.graph, given.version, given.priority, given.reason, given.actor, given.labels, given.job, given.created_at
    ))  # fmt: skip


def input_of(run: int, rest: bytes, params: bytes | None) -> RunInput:
    """The input again, from its row."""
    r = _decode_rest(rest)
    return RunInput(
        run, r.graph, r.job, r.version, r.created_at, params or b"{}", r.labels, r.priority, r.reason, r.actor
    )


def history_body(row: HistoryRow) -> bytes:
    """Facts and images of a history row. Written as bare tuples in the records' order: this is hot."""
    r, t = row.run_image, row.task_image
    run = task = None
    if r is not None:
        run = (
            r.state, r.left, r.finals, r.live, r.failed, r.canceled, r.succeeded, r.intent, r.started_at, r.ended_at,
            r.exit_status, r.reason, r.graph, r.created_at, r.priority,
        )  # fmt: skip
    if t is None:
        return encode((row.facts, run))
    task = (
        t.state, t.version, t.attempt, t.epoch, t.pending, t.agent, t.boot, t.due_at, t.started_at, t.ended_at,
        t.exit_status, t.exit_code, t.signal, t.reason, t.counts,
    )  # fmt: skip
    return encode((row.facts, run, task, t.no))


def history_of(row: tuple[int, int, int, int, int, int, bytes]) -> HistoryRow:
    """A history row again, from (run, no, idx, version, at, commit, body)."""
    run, no, index, version, at, commit, body = row
    b = _decode_body(body)
    return HistoryRow(run, no, index, version, at, commit, b.facts, _run(run, version, b.run), _task(row, b))


def _run(run: int, version: int, r: RunImage | None) -> RunCell | None:
    if r is None:
        return None
    return RunCell(
        run, r.graph, r.state, version, r.left, r.finals, r.live, r.failed, r.canceled, r.succeeded, r.intent,
        priority=r.priority, created_at=r.created_at, started_at=r.started_at, ended_at=r.ended_at,
        exit_status=r.exit_status, reason=r.reason,
    )  # fmt: skip


def _task(row: tuple[int, int, int, int, int, int, bytes], b: HistoryBody) -> TaskCell | None:
    t = b.task
    if t is None:
        return None
    return TaskCell(
        row[0], b.task_no, row[2], t.state, t.version, t.attempt, t.epoch, t.pending, t.due_at,
        agent=t.agent, boot=t.boot, started_at=t.started_at, ended_at=t.ended_at, exit_status=t.exit_status,
        exit_code=t.exit_code, signal=t.signal, reason=t.reason, counts=t.counts,
    )  # fmt: skip
