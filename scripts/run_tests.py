"""Runs the whole suite, step by step, and says how long each took. Called by `make test` and `make test-tail`.

Ends non-zero when any step failed. Options after `--` go to pytest.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent


def steps(*, tail: bool, extra: list[str]) -> list[tuple[str, list[str]]]:
    """The commands of the suite, in the order in which a mistake is cheapest to find."""
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadgroup"]
    if tail:
        return [("tail", [*pytest, "-m", "tail", "--timeout", "1500", *extra])]
    return [
        ("ruff", [str(BIN / "ruff"), "check", "."]),
        ("format", [str(BIN / "ruff"), "format", "--check", "."]),
        ("imports", [str(BIN / "lint-imports"), "--no-cache"]),
        ("types", [str(BIN / "mypy")]),
        ("core", [sys.executable, "scripts/core_coverage.py"]),
        ("tests", [*pytest, "-m", "not tail", *extra]),
    ]


def main() -> int:
    """Run every step, also after one has failed, so that one run shows all there is to mend."""
    with tempfile.TemporaryDirectory(prefix="headrace-tests-") as folder:
        return run_all(Path(folder) / "report.xml")


def run_all(report: Path) -> int:
    """Every step; the names of what failed are the last lines, because a log may be read by its end only."""
    args = sys.argv[1:]
    tail = "--tail" in args
    extra = args[args.index("--") + 1 :] if "--" in args else []
    failed = []
    for name, command in steps(tail=tail, extra=[*extra, f"--junit-xml={report}"]):
        print(f"── {name}: {' '.join(command[1:] if command[0] == sys.executable else command)}", flush=True)
        start = time.monotonic()
        code = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}).returncode  # noqa: PLW1510 every step runs, the sum is told below
        took = time.monotonic() - start
        print(f"── {name}: {'ok' if code == 0 else f'FAILED ({code})'} in {took:.0f} s", flush=True)
        if code:
            failed.append(name)
    for name in red_ones(report):
        print(f"  red: {name}", flush=True)
    if failed:
        print(f"Failed: {', '.join(failed)}", flush=True)
    return 1 if failed else 0


def red_ones(report: Path) -> list[str]:
    """The tests of pytest's report that failed or could not be set up; none when there is no report."""
    if not report.exists():
        return []
    cases = ET.parse(report).iter("testcase")
    return [
        f"{c.get('classname')}::{c.get('name')}"
        for c in cases
        if c.find("failure") is not None or c.find("error") is not None
    ]


if __name__ == "__main__":
    sys.exit(main())
