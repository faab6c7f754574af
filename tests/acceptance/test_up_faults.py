"""Control is killed at each fault point of its loops, once; supervised, it goes on by itself and nothing is done twice."""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest

from acceptance.test_up import Up, until

POINTS = [
    "dispatch.before_post",
    "dispatch.after_post",
    "outcomes.before_fetch",
    "outcomes.before_apply",
    "outcomes.after_apply",
    "logs.before_store",
    "logs.before_drop",
]


@pytest.mark.parametrize("point", POINTS)
def test_killed_at_a_point_of_its_loops_it_goes_on_by_itself(point: str, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    up = Up(tmp_path / "data", HEADRACE_FAULT=f"{point}:kill", HEADRACE_ALLOW_FAULTS="1")
    try:
        before = up.server["pid"]
        script = f'echo $HEADRACE_ATTEMPT >> {trace}; echo 1 > "$HEADRACE_OUTPUTS/f"; seq 1 5000'
        run = up.submit("sh", "-c", script)
        until(lambda: up.server["pid"] != before)
        until(lambda: up.state(run) == "succeeded")
        until(lambda: up.text(f"/runs/{run}/logs").endswith("5000\n"))
        assert trace.read_text() == "1\n"
        assert up.call(f"/runs/{run}/tasks")["items"][0]["attempt"] == 1 or point == "dispatch.before_post"
        assert up.text(f"/runs/{run}/logs") == "".join(f"{i}\n" for i in range(1, 5001))
    finally:
        up.end()


@pytest.mark.parametrize("point", ["stop.before_post", "stop.after_post"])
def test_killed_while_it_stops_an_attempt_the_cancel_still_ends(point: str, tmp_path: Path) -> None:
    up = Up(tmp_path / "data", HEADRACE_FAULT=f"{point}:kill", HEADRACE_ALLOW_FAULTS="1")
    try:
        before = up.server["pid"]
        run = up.call(
            "/runs", {"job": {"name": "t", "tasks": [{"name": "a", "command": ["sleep", "600"], "grace": "1s"}]}}
        )["id"]
        until(lambda: up.state(run) == "running")
        with contextlib.suppress(OSError):  # control may die before it answers; the cancel is committed all the same
            up.call(f"/runs/{run}/cancel", {})
        until(lambda: up.server["pid"] != before)
        until(lambda: up.state(run) == "canceled")
    finally:
        up.end()
