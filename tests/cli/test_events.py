"""``headrace events --json``: one document per event, each on lines of its own."""

from __future__ import annotations

import io
import json
import re
from datetime import UTC, datetime

import pytest

from headrace.cli import eventlines
from headrace.cli.events import _print
from headrace.cli.terminal import Terminal
from headrace.codec.edn import Keyword, loads
from headrace.model.views import FeedEvent


@pytest.mark.parametrize("form", ["json", "edn"])
def test_each_event_is_one_line(form: str) -> None:
    out = io.StringIO()
    terminal = Terminal(form=form, out=out)
    for n in range(2):
        at = datetime(2026, 3, 29, tzinfo=UTC)
        _print(
            FeedEvent(sequence=n, at=at, actor="eva", kind="x", subject="runs/1", body={"a": [1]}, cursor=str(n)),
            terminal,
            lambda run: "",
        )
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    if form == "json":
        assert [json.loads(line)["sequence"] for line in lines] == [0, 1]
    else:
        assert [loads(line.encode())[Keyword("event/sequence")] for line in lines] == [0, 1]


@pytest.mark.parametrize(
    ("kind", "subject", "body", "words"),
    [
        (
            "task.ended",
            "runs/3/tasks/load/2",
            {"state": "failed", "attempt": 2, "exit_status": "error", "agent": 1},
            ["run 3 night · load[2]", "failed", "exit status error, attempt 2", "by eva"],
        ),
        ("run.ended", "runs/3", {"state": "succeeded"}, ["run 3 night", "succeeded", "by eva"]),
        ("job.saved", "jobs/night", {"version": 4}, ["job night", "saved", "version 4", "by eva"]),
        ("group.expanded", "runs/3/tasks/x", {"total": 3}, ["run 3 night · x", "expanded", "total: 3", "by eva"]),
    ],
)
def test_on_a_terminal_an_event_tells_when_which_thing_by_its_name_and_its_state(
    kind: str, subject: str, body: dict[str, object], words: list[str]
) -> None:
    at = datetime(2026, 3, 29, 1, 2, 3, tzinfo=UTC)
    event = FeedEvent(sequence=1, at=at, actor="eva", kind=kind, subject=subject, body=body, cursor="c")
    told = eventlines.line(event, Terminal(out=io.StringIO(), utc=True), lambda run: "night")
    assert [part for part in re.split(r"\s{2,}", told) if part] == ["2026-03-29 01:02:03 UTC", *words]
