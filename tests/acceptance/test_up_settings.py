"""What ``up`` tells its agent: labels that tasks ask for, and variables that attempts may see."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from harness import serving
from headrace.cli.processes import machine_labels
from headrace.client import flow
from headrace.client.config import settings
from headrace.model.errors import Invalid

HEADRACE = str(Path(sys.executable).with_name("headrace"))
PLACED = """
name: placed
agent: {labels: {os: linux}}
tasks:
  - name: look
    agent: {labels: {gpu: "yes"}}
    script: printf '{"seen":"%s","other":"%s"}' "$OURS_SEEN" "${OURS_HIDDEN-}" > "$HEADRACE_RESULT"
"""


def test_a_task_that_asks_for_labels_runs_and_sees_what_is_passed(tmp_path: Path) -> None:
    environ = {
        "HEADRACE_LABELS": "gpu=yes, room=3",
        "HEADRACE_PASS_ENV": "OURS_SEEN",
        "OURS_SEEN": "1",
        "OURS_HIDDEN": "2",
    }
    (tmp_path / "placed.yaml").write_text(PLACED)
    with serving(tmp_path / "data", environ=environ) as server:
        command = [HEADRACE, "--data", str(server.data), "run", "placed.yaml", "--wait", "--json"]
        done = subprocess.run(command, cwd=tmp_path, env=server.environ, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["result"] == {"seen": "1", "other": ""}
        labels = server.ask(lambda c: c.do(flow.listed("agents")))["items"][0]["labels"]
        assert labels == {**machine_labels(), "gpu": "yes", "room": "3"}
        assert labels["os"] == os.uname().sysname.lower()


def test_labels_that_are_none_are_refused_with_a_sentence(tmp_path: Path) -> None:
    command = [HEADRACE, "--data", str(tmp_path), "up", "--labels", "gpu"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2
    assert "labels are written name=value" in done.stderr


def test_a_table_where_a_text_belongs_is_refused_and_not_passed_over(tmp_path: Path) -> None:
    (tmp_path / "headrace.toml").write_text('labels = {gpu = "yes"}\n')
    with pytest.raises(Invalid, match="settings that are wrong"):
        settings({}, {"XDG_CONFIG_HOME": str(tmp_path)}, tmp_path)
