"""The demo as a newcomer runs it, on both stores; and its failure on purpose, which the handler answers."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Server, as_url, serving

ROOT = Path(__file__).parents[2]
WEATHER = "examples/weather/weather.py:weather"


def run_demo(folder: Path, store: str = "") -> str:
    environ = {**os.environ, "DEMO_DATA": str(folder / "data"), "DEMO_OUTPUT": str(folder / "output")}
    done = subprocess.run(
        [str(ROOT / "scripts" / "demo"), *([store] if store else [])], env=environ, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def whole(folder: Path, said: str) -> None:
    output = folder / "output"
    assert f"The report:   {output / 'report' / 'report.html'}" in said
    page = (output / "report" / "report.html").read_text()
    assert page.count("<tr><td>") == 12
    assert "<svg" in page
    assert "http://" not in page.replace("http://www.w3.org/2000/svg", "")
    assert (output / "report" / "chart.svg").read_text().startswith("<svg")
    with tarfile.open(output / "pack" / "weather.tar.gz") as archive:
        assert sorted(archive.getnames()) == ["chart.svg", "report.html"]
    assert "summarise succeeded (12 of 12 succeeded)" in said
    assert "tell skipped" in said


def test_the_demo_ends_with_a_report_and_a_chart_on_sqlite(tmp_path: Path) -> None:
    whole(tmp_path, run_demo(tmp_path))


def test_the_demo_ends_with_a_report_and_a_chart_on_postgresql(tmp_path: Path, postgres_dsn: str) -> None:
    said = run_demo(tmp_path, as_url(postgres_dsn))
    assert "Starting control and agent on postgresql://" in said
    whole(tmp_path, said)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serving(tmp_path_factory.mktemp("weather") / "data") as server:
        yield server


def headrace(server: Server, *words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("headrace")), "--data", str(server.data), *words]
    return subprocess.run(command, cwd=ROOT, env=server.environ, capture_output=True, text=True)


def test_a_failure_runs_the_handler_and_fails_the_run(server: Server) -> None:
    done = headrace(server, "run", WEATHER, "--minimum-days", "400", "--wait")
    assert done.returncode == 1
    assert "365 days are too few" in done.stdout
    assert "did not run: months, summarise, report, pack" in done.stdout
    number = int(done.stdout.split()[1])
    run = server.run(number)
    assert run.state == "failed"
    assert run.view.exit_status == "NO_DATA"
    assert run.tasks["tell"].state == "succeeded"
    assert "There will be no report for 2014" in headrace(server, "logs", str(number), "tell").stdout


def test_a_year_without_data_is_refused_by_the_schema_and_makes_no_run(server: Server) -> None:
    before = headrace(server, "runs", "--json").stdout
    done = headrace(server, "run", WEATHER, "--year", "1999", "--minimum-days", "many", "--wait")
    assert done.returncode == 2
    assert "params.year: 1999 is less than the minimum of 2012" in done.stderr
    assert "params.minimum_days: expected integer" in done.stderr
    assert headrace(server, "runs", "--json").stdout == before
