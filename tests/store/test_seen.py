"""Rows of runs that were read before: the same bytes are not decoded again, and nothing is ever out of date."""

from __future__ import annotations

from headrace.model.cells import RunCell, RunInput
from headrace.model.states import RunState
from headrace.store.images import encode, input_rest
from headrace.store.seen import LONG, Columns, SeenRuns


def columns(run: int, state: RunState = RunState.queued, params: bytes | None = b"{}") -> Columns:
    cell = RunCell(run, 1, state, 1, created_at=5)
    return run, 5, encode(cell), "j", input_rest(RunInput(run, 1, "j", 1, 5)), params


def test_the_same_columns_give_the_same_row_and_others_a_new_one() -> None:
    seen = SeenRuns()
    first = seen.row(columns(1))
    assert seen.row(columns(1)) is first
    ended = seen.row(columns(1, RunState.succeeded))
    assert (first.cell.state, ended.cell.state) == (RunState.queued, RunState.succeeded)
    assert seen.row(columns(1, params=b'{"a":1}')).input.params == b'{"a":1}'


def test_params_that_stand_aside_are_fetched_once() -> None:
    seen, asked = SeenRuns(), []

    def aside(run: int) -> bytes:
        asked.append(run)
        return b'{"aside":true}'

    assert [seen.row(columns(1, params=None), aside).input.params for _ in range(3)] == [b'{"aside":true}'] * 3
    assert asked == [1]


def test_no_more_is_kept_than_was_said_and_nothing_long() -> None:
    seen = SeenRuns(most=3)
    for run in range(20):
        seen.row(columns(run))
        assert len(seen._kept) <= 3
    long = columns(99, params=b'"' + b"x" * LONG + b'"')
    assert seen.row(long) is not seen.row(long)
    assert seen.row(long) == seen.row(long)
