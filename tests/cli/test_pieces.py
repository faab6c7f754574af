"""Halves of lines: two writes make one line, whoever writes between them."""

from __future__ import annotations

from datetime import UTC, datetime

from headrace.cli.pieces import Pieces, who
from headrace.model.views import LogView

AT = datetime(2026, 1, 1, tzinfo=UTC)


def record(text: str, task: str = "a", stream: str = "stdout", attempt: int = 1) -> LogView:
    return LogView(seq=1, at=AT, stream=stream, text=text, task=task, attempt=attempt)


def test_two_writes_make_one_line_though_another_task_writes_between() -> None:
    pieces = Pieces()
    assert pieces.take(record("half a ")) == []
    assert pieces.take(record("all\n", task="b")) == ["all"]
    assert pieces.take(record("line\n")) == ["half a line"]
    assert pieces.rest() == []


def test_an_attempt_does_not_go_on_with_the_line_of_the_one_before() -> None:
    pieces = Pieces()
    assert pieces.take(record("cut of", attempt=1)) == []
    assert pieces.take(record("new\n", attempt=2)) == ["new"]
    assert pieces.rest() == [("a", "stdout", "cut of")]


def test_empty_lines_stay_and_records_of_the_system_are_whole() -> None:
    pieces = Pieces()
    assert pieces.take(record("a\n\nb\n")) == ["a", "", "b"]
    assert pieces.take(record("it was killed", stream="system")) == ["it was killed"]


def test_lines_of_the_run_itself_have_a_name_and_are_not_those_of_a_task_called_so() -> None:
    pieces = Pieces()
    assert who(record("gone", task="", stream="system")) == "run"
    assert pieces.take(record("half", task="run")) == []
    assert pieces.take(record("whole\n", task="")) == ["whole"]
    assert pieces.take(record("more", task="")) == []
    assert pieces.rest() == [("run", "stdout", "half"), ("run", "stdout", "more")]
