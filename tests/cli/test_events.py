"""``headrace events --json``: one document per event, each on lines of its own."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime

import pytest

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
        )
    lines = out.getvalue().splitlines()
    assert len(lines) == 2
    if form == "json":
        assert [json.loads(line)["sequence"] for line in lines] == [0, 1]
    else:
        assert [loads(line.encode())[Keyword("event/sequence")] for line in lines] == [0, 1]
