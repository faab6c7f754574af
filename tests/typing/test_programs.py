"""The typing promise: ``TaskFunction`` and ``JobFunction`` check under mypy --strict without a plug-in."""

from __future__ import annotations

import re
from pathlib import Path

from mypy import api

PROGRAMS = Path(__file__).parent / "programs"


def errors_of(name: str) -> set[int]:
    out, err, _ = api.run(["--strict", "--no-error-summary", "--hide-error-context", str(PROGRAMS / name)])
    assert not err, err
    return {int(m[1]) for m in re.finditer(rf"{name}:(\d+): error", out)}


def test_good_programs_pass() -> None:
    assert errors_of("good.py") == set()


def test_each_wrong_line_is_an_error_and_no_other() -> None:
    lines = (PROGRAMS / "bad.py").read_text().splitlines()
    marked = {n for n, line in enumerate(lines, 1) if line.endswith("# E")}
    assert errors_of("bad.py") == marked
