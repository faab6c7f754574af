"""``bench/run.py`` from outside: it measures, writes both files, and never makes up what it has not measured."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / "bench" / "run.py"

pytestmark = pytest.mark.xdist_group("bench")


def _run(*words: object, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, RUN, *map(str, words)], capture_output=True, text=True, check=False, env={**os.environ, **more}
    )


def test_the_table_says_what_was_measured_and_how_and_makes_up_nothing(tmp_path: Path) -> None:
    no_peers = {"HEADRACE_BENCH_PEERS": str(tmp_path / "not-there")}
    done = _run("--tiny", "--only", "true", "--rounds", 2, "--out", tmp_path, **no_peers)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    row = found["rows"]["true"]
    assert [values["rate"] > 0 for values in row["samples"].pop("headrace")] == [True, True]
    assert not any(row["samples"].values())
    assert row["notes"] == dict.fromkeys(("huey", "dramatiq", "celery"), "not installed: make bench-peers")
    assert found["settings"]["SQLite"]["synchronous"] == "2"
    assert found["commit"]
    assert found["machine"]["CPU"]
    text = (tmp_path / "RESULTS.md").read_text()
    assert "huey: not installed" in text
    assert "`journal_mode=wal`" in text
    assert "/bin/true" in text


def test_an_unknown_row_is_refused_and_the_known_ones_named() -> None:
    done = _run("--only", "bath")
    assert done.returncode != 0
    assert "there is no row bath" in done.stderr
    assert "batch" in done.stderr
