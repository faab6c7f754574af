"""Rows to records and back: MessagePack of the model's records, and the columns that indexes need.

Pure: no IO. Called by ``batch`` (out) and by ``writer`` and ``reader`` (in).
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.facts import AnyFact
from headrace.store.rows import Answer, Entity, HistoryRow, LeasedRow, LogSegment, RunRow

Row = tuple[Any, ...]

HistoryBody = tuple[tuple[AnyFact, ...], RunCell | None, TaskCell | None]

encode = msgspec.msgpack.Encoder().encode
"""MessagePack of any record."""

run_cell = msgspec.msgpack.Decoder(RunCell).decode
task_cell = msgspec.msgpack.Decoder(TaskCell).decode
run_input = msgspec.msgpack.Decoder(RunInput).decode
history_body = msgspec.msgpack.Decoder(HistoryBody).decode


def run_row(row: Row) -> RunRow:
    """(input, image)."""
    return RunRow(run_input(row[0]), run_cell(row[1]))


def history_row(row: Row) -> HistoryRow:
    """(run, no, idx, version, at, commit, body)."""
    facts, run_image, task_image = history_body(row[6])
    run, no, index, version, at, commit = row[:6]
    return HistoryRow(run, no, index, version, at, commit, facts, run_image, task_image)


def entity(row: Row) -> Entity:
    """(kind, name, version, created, updated, image, deleted, facts, space): the record's own order."""
    return Entity(*row)


def answer(row: Row) -> Answer:
    """(scope, key, request, status, location, body, at): the record's own order."""
    return Answer(*row)


def segment(row: Row) -> LogSegment:
    """(run, no, idx, attempt, first, last, data, digest): the record's own order."""
    return LogSegment(*row)


def leased_row(row: Row) -> LeasedRow:
    """(task image, run image)."""
    cell = task_cell(row[0])
    return LeasedRow(
        cell.run, cell.no, cell.index, cell.agent, cell.boot, cell.epoch, cell.attempt, run_cell(row[1]).graph
    )


def filled(value: Value | None, aside: bytes | None) -> Value | None:
    """The value with the text that stands aside; a blob's text is filled in by whoever may read blobs."""
    if value is None or value.place != "aside":
        return value
    return msgspec.structs.replace(value, data=aside)
