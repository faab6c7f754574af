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


def test_the_table_and_the_samples_are_written_with_what_stands_around_them(tmp_path: Path) -> None:
    done = _run("--tiny", "--only", "true", "--rounds", 2, "--no-peers", "--out", tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "results.json").read_text())
    assert len(found["rows"]["true"]["samples"]["headrace"]) == 2
    assert found["settings"]["SQLite"]["synchronous"] == "2"
    assert found["commit"]
    assert found["machine"]["CPU"]
    text = (tmp_path / "RESULTS.md").read_text()
    assert "`journal_mode=wal`" in text
    assert "/bin/true" in text


def test_a_peer_that_was_not_measured_has_no_number(tmp_path: Path) -> None:
    done = _run("--tiny", "--only", "true", "--rounds", 1, "--out", tmp_path, HEADRACE_BENCH_PEERS=str(tmp_path / "no"))
    assert done.returncode == 0, done.stdout + done.stderr
    row = json.loads((tmp_path / "results.json").read_text())["rows"]["true"]
    assert {who for who, samples in row["samples"].items() if samples} == {"headrace"}
    assert row["notes"] == dict.fromkeys(("huey", "dramatiq", "celery"), "not installed: make bench-peers")
    assert "huey: not installed" in (tmp_path / "RESULTS.md").read_text()


def test_an_unknown_row_is_refused_and_the_known_ones_named() -> None:
    done = _run("--only", "bath")
    assert done.returncode != 0
    assert "there is no row bath" in done.stderr
    assert "batch" in done.stderr
