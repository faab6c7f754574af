"""What is told of a run at its end: what failed and where, what was canceled, what never ran, how to go on."""

from __future__ import annotations

import io
from datetime import UTC, datetime

from headrace.cli.follow import story
from headrace.cli.terminal import Terminal
from headrace.model.views import ErrorFrame, ErrorView, RunView, TaskView

AT = datetime(2026, 3, 1, tzinfo=UTC)


def told(*tasks: TaskView, state: str = "failed") -> list[str]:
    out = io.StringIO()
    run = RunView(id=7, job="night", version=1, state=state, created_at=AT, ended_at=AT, tasks=list(tasks))
    story(Terminal(out=out), run)
    return out.getvalue().splitlines()


def test_what_was_canceled_while_it_ran_is_told_apart_from_what_never_ran() -> None:
    begun = TaskView(name="load", state="canceled", started_at=AT, ended_at=AT)
    never = TaskView(name="tell", state="canceled", ended_at=AT)
    skipped = TaskView(name="tidy", state="skipped", ended_at=AT)
    lines = told(begun, never, skipped, state="canceled")
    assert "  canceled: load" in lines
    assert "  did not run: tell, tidy" in lines


def test_a_failure_shows_the_users_own_frames_and_the_two_commands_to_go_on() -> None:
    own = ErrorFrame(file="flow.py", line=3, function="load", code="open(path)", yours=True)
    library = ErrorFrame(file="lib.py", line=9, function="inner", code="raise", yours=False)
    error = ErrorView(type="OSError", message="no such file", frames=[own, library])
    lines = told(TaskView(name="load", state="failed", exit_status="error", attempt=2, error=error))
    assert "  load failed error on attempt 2" in lines
    assert "    OSError: no such file" in lines
    assert "    flow.py:3 in load: open(path)" in lines
    assert not any("lib.py" in line for line in lines)
    assert lines[-2:] == ["  the log:  headrace logs 7", "  and why:  headrace explain 7"]


def test_a_frame_that_comes_again_and_again_is_one_line_with_its_count() -> None:
    down = ErrorFrame(file="flow.py", line=3, function="down", code="down()", yours=True)
    error = ErrorView(type="RecursionError", message="too deep", frames=[down] * 90)
    lines = told(TaskView(name="load", state="failed", attempt=1, error=error))
    assert [line for line in lines if "flow.py" in line] == ["    flow.py:3 in down: down()  (90 times)"]
