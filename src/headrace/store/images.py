"""Cells and facts as the bytes that rows hold. MessagePack arrays: fields are only ever added, at the end.

Does no IO. Called by the stores. An after-image in history is small: what a value, an item or a log seal says is not
repeated there, the live row or the attempt row has it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
from msgspec import Struct

from headrace.model.cells import Counts, InputMore, RunCell, RunInput, RunMore, TaskCell, TaskMore
from headrace.model.facts import AnyFact
from headrace.model.messages import AnyMessage
from headrace.model.states import RunState, StopIntent, TaskState
from headrace.store.rows import HistoryRow

encode = msgspec.msgpack.Encoder().encode
decode_run = msgspec.msgpack.Decoder(RunCell).decode
decode_task = msgspec.msgpack.Decoder(TaskCell).decode
encode_message = encode
decode_message = msgspec.msgpack.Decoder(AnyMessage).decode


class InputRest(Struct, frozen=True, array_like=True):
    """What of a run's input is in no column of its own."""

    graph: int
    version: int | None = None
    priority: int = 0
    reason: str | None = None
    actor: str = ""
    labels: dict[str, str] = {}
    more: InputMore | None = None


_decode_rest = msgspec.msgpack.Decoder(InputRest).decode


def labels_in(rest: bytes) -> dict[str, str]:
    """The labels that a run's input holds."""
    return _decode_rest(rest).labels


class RunImage(Struct, frozen=True, array_like=True):
    """A run after one change, without what never changes. Instants are told as µs before the row's own; None is 0."""

    state: RunState
    left: int = 0
    finals: int = 0
    live: int = 0
    failed: int = 0
    canceled: int = 0
    succeeded: int = 0
    intent: StopIntent = StopIntent.none
    started: int | None = None
    ended: int | None = None
    exit_status: str | None = None
    reason: str | None = None
    priority: int = 0
    more: RunMore | None = None


class TaskImage(Struct, frozen=True, array_like=True):
    """A task after one change, without its values. Instants as in ``RunImage``; ``due`` is a plain one."""

    state: TaskState
    version: int
    attempt: int = 0
    epoch: int = 0
    pending: int = 0
    agent: int = 0
    boot: int = 0
    due: int = 0
    counts: Counts | None = None
    reason: str | None = None
    started: int | None = None
    ended: int | None = None
    exit_status: str | None = None
    exit_code: int | None = None
    signal: int | None = None
    more: TaskMore | None = None


class HistoryBody(Struct, frozen=True, array_like=True):
    """The body of a history row."""

    facts: tuple[AnyFact, ...]
    run: RunImage | None = None
    task: TaskImage | None = None
    task_no: int = -1


_decode_body = msgspec.msgpack.Decoder(HistoryBody).decode


def input_rest(given: RunInput) -> bytes:
    """The columns of ``given`` that are kept as one piece."""
    if given.more is not None:
        return encode((given.graph, given.version, given.priority, given.reason, given.actor, given.labels, given.more))
    if given.labels:
        return encode((given.graph, given.version, given.priority, given.reason, given.actor, given.labels))
    return encode((given.graph, given.version, given.priority, given.reason, given.actor))


def input_of(run: int, job: str | None, created_at: int, rest: bytes, params: bytes | None) -> RunInput:
    """The input again, from its row."""
    r = _decode_rest(rest)
    return RunInput(
        run, r.graph, job, r.version, created_at, params or b"{}", r.labels, r.priority, r.reason, r.actor, r.more
    )  # fmt: skip


def history_body(row: HistoryRow) -> bytes:
    """Facts and images of a history row. Written as bare tuples in the records' order, cut where all is empty: hot."""
    r, t, at = row.run_image, row.task_image, row.at
    run: tuple[object, ...] | None = None
    if r is not None:
        run = (r.state, r.left, r.finals, r.live, r.failed, r.canceled, r.succeeded, r.intent)
        if r.more is not None or r.priority:
            run += (
                _before(at, r.started_at), _before(at, r.ended_at), r.exit_status, r.reason, r.priority, r.more,
            )  # fmt: skip
        elif r.started_at or r.ended_at or r.reason:
            run += (_before(at, r.started_at), _before(at, r.ended_at), r.exit_status, r.reason)
    if t is None:
        return encode((row.facts, run))
    task: tuple[object, ...] = (t.state, t.version, t.attempt, t.epoch, t.pending, t.agent, t.boot, t.due_at)
    if t.started_at or t.ended_at or t.reason or t.counts or t.exit_status or t.more is not None:
        task += (
            t.counts, t.reason, _before(at, t.started_at), _before(at, t.ended_at), t.exit_status, t.exit_code, t.signal
        )  # fmt: skip
        if t.more is not None:
            task += (t.more,)
    return encode((row.facts, run, task, t.no))


def history_of(row: tuple[int, int, int, int, int, int, bytes], graph: int, created_at: int) -> HistoryRow:
    """A history row again, from (run, no, idx, version, at, commit, body) and what never changes of its run."""
    run, no, index, version, at, commit, body = row
    b = _decode_body(body)
    r, t = b.run, b.task
    cell = task = None
    if r is not None:
        cell = RunCell(
            run, graph, r.state, version, r.left, r.finals, r.live, r.failed, r.canceled, r.succeeded, r.intent,
            priority=r.priority, created_at=created_at, started_at=_instant(at, r.started),
            ended_at=_instant(at, r.ended), exit_status=r.exit_status, reason=r.reason, more=r.more,
        )  # fmt: skip
    if t is not None:
        task = TaskCell(
            run, b.task_no, index, t.state, t.version, t.attempt, t.epoch, t.pending, t.due,
            agent=t.agent, boot=t.boot, started_at=_instant(at, t.started), ended_at=_instant(at, t.ended),
            exit_status=t.exit_status, exit_code=t.exit_code, signal=t.signal, reason=t.reason, counts=t.counts,
            more=t.more,
        )  # fmt: skip
    return HistoryRow(run, no, index, version, at, commit, b.facts, cell, task)


def with_graphs(
    rows: Iterable[tuple[int, int, int, int, int, int, bytes]], images: Iterable[tuple[int, bytes]]
) -> list[tuple[HistoryRow, int]]:
    """History rows with the graphs of their runs, whose rows are ``images``; those of a run that is gone are left out."""
    runs = {run: decode_run(image) for run, image in images}
    found = []
    for row in rows:
        run = runs.get(row[0])
        if run is not None:
            found.append((history_of(row, run.graph, run.created_at), run.graph))
    return found


def _before(at: int, instant: int) -> int | None:
    return at - instant if instant else None


def _instant(at: int, before: int | None) -> int:
    return 0 if before is None else at - before
