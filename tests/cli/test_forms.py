"""``--edn`` says what ``--json`` says: the same fields, in the same order, nothing more and nothing less."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from headrace.cli.terminal import formatted
from headrace.codec.edn import Keyword, loads
from headrace.model.views import AttemptView, ErrorFrame, ErrorView, RunView, TaskView

AT = datetime(2026, 3, 1, tzinfo=UTC)


def plain(value: Any) -> Any:
    """EDN's data in the words of JSON."""
    if isinstance(value, dict):
        return {_word(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    return _word(value) if isinstance(value, Keyword) else value


def _word(value: Any) -> str:
    return str(value).removeprefix(":").rpartition("/")[2] if isinstance(value, Keyword) else value


def test_a_run_has_the_same_content_in_both_forms() -> None:
    frame = ErrorFrame(file="a.py", line=3, function="f", code="g()", yours=True)
    error = ErrorView(type="ValueError", message="no", traceback="T", frames=[frame])
    tried = AttemptView(attempt=1, epoch=7, state="failed", started_at=AT, ended_at=AT, error=error)
    task = TaskView(
        name="load", state="failed", attempt=1, error=error, attempts=[tried], counts={"total": 2, "failed": 1}
    )
    run = RunView(
        id=7, job="night", version=1, state="failed", created_at=AT, params={"a b": [1, None, {"c": 1.5}]}, tasks=[task]
    )
    as_json, as_edn = json.loads(formatted(run, "json")), plain(loads(formatted(run, "edn").encode()))
    assert as_edn == as_json
    assert list(as_edn) == list(as_json)
