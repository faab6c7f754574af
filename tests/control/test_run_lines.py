"""Texts of runs in lists: always those of the row that is shown, kept only within bounds, made in slices."""

from __future__ import annotations

import asyncio

import msgspec
import pytest
from msgspec import structs

from headrace.control.api import run_lines
from headrace.control.api.run_lines import LONG, SLICE, RunLines
from headrace.control.api.views import run_view
from headrace.model.cells import RunCell, RunInput
from headrace.model.states import RunState
from headrace.store.rows import RunRow


def row(run: int, *, state: RunState = RunState.succeeded, params: bytes = b"{}", version: int = 3) -> RunRow:
    given = RunInput(run, 1, "nightly", 2, 1_700_000_000_000_000 + run, params, {"team": "a"}, actor="alice")
    return RunRow(given, RunCell(run, 1, state, version, created_at=given.created_at, exit_status="0"))


def texts(lines: RunLines, *rows: RunRow) -> list[bytes]:
    return [bytes(text) for text in asyncio.run(lines.of(rows))]


def test_a_kept_text_is_that_of_the_row_and_is_not_made_again(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []

    def counted(shown: RunRow) -> object:
        made.append(shown.cell.run)
        return run_view(shown)

    monkeypatch.setattr(run_lines, "run_view", counted)
    lines = RunLines()
    rows = [row(3), row(2), row(1)]
    expected = [msgspec.json.encode(run_view(one)) for one in rows]
    assert texts(lines, *rows) == texts(lines, *rows) == expected
    assert made == [3, 2, 1]


def test_a_row_that_differs_in_anything_has_a_text_of_its_own() -> None:
    lines = RunLines()
    first = row(1)
    others = [
        row(1, state=RunState.failed),
        row(1, params=b'{"x":1}'),
        structs.replace(first, input=structs.replace(first.input, labels={"team": "b"})),
        structs.replace(first, cell=structs.replace(first.cell, reason="why")),
    ]
    for other in (*others, first):
        assert texts(lines, first, other) == [msgspec.json.encode(run_view(one)) for one in (first, other)]


def test_as_many_are_kept_as_were_said_and_none_that_is_long() -> None:
    lines = RunLines(most=3)
    texts(lines, *[row(run) for run in range(9)], row(20, params=b'{"x":"' + b"y" * LONG + b'"}'))
    assert sorted(lines._kept) == [6, 7, 8]


def test_others_get_their_turn_while_a_page_is_made() -> None:
    turns = 0

    async def other() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    async def work() -> int:
        beside = asyncio.ensure_future(other())
        await RunLines().of([row(run) for run in range(3 * SLICE)])
        beside.cancel()
        return turns

    assert asyncio.run(work()) == 3
