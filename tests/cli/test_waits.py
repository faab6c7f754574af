"""Who watches a run is told why it waits: once, again when the reason is another one, never of what goes on by itself."""

from __future__ import annotations

from typing import Any, cast

import pytest

from headrace.cli.waits import AGAIN_S, FIRST_S, Waits
from headrace.client.sync import Client
from headrace.model.errors import NotFound
from headrace.model.views import ExplainView, ReasonView


def view(*codes: str, decision: str = "waits for room", advice: str = "") -> ExplainView:
    reasons = [ReasonView(code=code, message=f"because of {code}", refers_to="x") for code in codes]
    return ExplainView(decision=decision, reasons=reasons, advice=[advice] if advice else [])


class Answers:
    """A client that gives these answers, one after the other."""

    def __init__(self, *answers: ExplainView | Exception) -> None:
        self.answers = list(answers)
        self.now = 0.0

    def do(self, call: Any) -> ExplainView:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def waits(self) -> Waits:
        return Waits(cast(Client, self), 7, clock=lambda: self.now)


def test_a_reason_is_told_after_a_moment_once_and_again_when_it_is_another(capsys: pytest.CaptureFixture[str]) -> None:
    limit = view("limit_missing", advice="headrace limit put x")
    answers = Answers(limit, limit, view("limit_paused"), view("next"), limit)
    waits, told = answers.waits(), []
    waits.look()
    assert len(answers.answers) == 5
    answers.now = FIRST_S
    while answers.answers:
        waits.look()
        told.append(capsys.readouterr())
        answers.now += AGAIN_S
    first = "run 7 waits: because of limit_missing\n  → headrace limit put x\n"
    assert [found.err for found in told] == [first, "", "run 7 waits: because of limit_paused\n", "", first]
    assert all(found.out == "" for found in told)


@pytest.mark.parametrize(
    ("codes", "decision", "lines"),
    [
        (["needs", "next"], "waits for room", 0),
        (["no_room"], "waits for room", 1),
        (["no_room"], "running", 0),
        (["limit_missing"], "running", 1),
        (["no_label", "no_room"], "running", 0),
        (["no_label"], "waits for room", 1),
        (["run_paused"], "paused: waits for resume", 1),
        (["held", "limit_paused"], "waits", 2),
    ],
)
def test_only_what_time_does_not_end_is_told_beside_work(codes: list[str], decision: str, lines: int) -> None:
    assert len(Answers().waits().news(view(*codes, decision=decision))) == lines


def test_a_server_that_cannot_say_why_ends_no_watch() -> None:
    answers = Answers(NotFound("no"))
    waits = answers.waits()
    answers.now = FIRST_S
    waits.look()
    assert waits.left == AGAIN_S
