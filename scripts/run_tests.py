"""Runs the whole suite, step by step, and says how long each took. Called by `make test` and `make test-tail`.

Ends non-zero when any step failed, and also when it was still at work at SUITE_END (seconds since 1970), as CI sets
it: a run that is cut off from outside tells nothing. Options after `--` go to pytest.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from xml.etree import ElementTree as ET

ROOT = Path(__file__).parent.parent
BIN = Path(sys.executable).parent
WORKERS = "3"
"""One more than the processors that we count on: many tests wait for processes of theirs."""
MEMORY_MIN = 6 * 2**30
"""So many bytes must be free in memory for the tests' folders to be there: a fsync costs nothing there."""
MARK = f"SUITE_RUN={uuid.uuid4().hex}"
"""In the environment of all that tests start."""
ENV = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **dict([MARK.split("=")])}
LEFT_S = 20.0
"""So long what ends by itself may take to do so after the last test."""


def checks() -> list[tuple[str, list[str]]]:
    """What is no test: in the order in which a mistake is cheapest to find, two at a time."""
    return [
        ("ruff", [str(BIN / "ruff"), "check", "."]),
        ("format", [str(BIN / "ruff"), "format", "--check", "."]),
        ("types", [str(BIN / "mypy")]),
        ("imports", [str(BIN / "lint-imports"), "--no-cache"]),
        ("core", [sys.executable, "scripts/core_coverage.py"]),
    ]


def check(name: str, command: list[str]) -> bool:
    """One of them; what it says is told when it has ended."""
    start = time.monotonic()
    done = subprocess.run(command, cwd=ROOT, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)  # noqa: PLW1510 the sum is told below
    print(f"── {name}: {shown(command)}\n{done.stdout}{ended(name, done.returncode, start)}", flush=True)
    return done.returncode == 0


def tests(words: list[str], report: Path, folders: str) -> bool:
    """Several workers of pytest, their output as it comes. At the end of the time it is interrupted, and tells what it has."""
    command = [sys.executable, "-m", "pytest", "-q", "-n", WORKERS, "--dist", "loadgroup", *words]
    command += [f"--basetemp={folders}/tests", f"--junit-xml={report}"]
    print(f"── tests: {shown(command)}", flush=True)
    start = time.monotonic()
    process = subprocess.Popen(command, cwd=ROOT, env=ENV)
    end = float(os.environ.get("SUITE_END", "inf"))
    try:
        code = process.wait(None if end == float("inf") else max(60.0, end - time.time()))
    except subprocess.TimeoutExpired:
        print("── tests: the time is over; what is under way is ended and counts as red", flush=True)
        code = interrupt(process)
    print(ended("tests", code, start), flush=True)
    return code == 0


def interrupt(process: subprocess.Popen[bytes]) -> int:
    """As Ctrl-C would; a run that does not end by it is killed. Never 0."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(60) or 1
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait() or 1


def shown(command: list[str]) -> str:
    """The command without its interpreter."""
    return " ".join(command[1:] if command[0] == sys.executable else command)


def ended(name: str, code: int, start: float) -> str:
    """The line after a step."""
    return f"── {name}: {'ok' if code == 0 else f'FAILED ({code})'} in {time.monotonic() - start:.0f} s"


def main() -> int:
    """Run every step, also after one has failed, so that one run shows all there is to mend."""
    with tempfile.TemporaryDirectory(prefix="hr-", dir=memory(), ignore_cleanup_errors=True) as folder:
        return run_all(folder)


def memory() -> str | None:
    """A folder in memory with room for the tests' folders, if there is one."""
    shared = Path("/dev/shm")
    if not shared.is_dir() or os.statvfs(shared).f_flag & os.ST_NOEXEC:  # tests write programs and run them
        return None
    roomy = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > MEMORY_MIN
    return str(shared) if roomy and os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") > MEMORY_MIN else None


def run_all(folder: str) -> int:
    """Every step; the names of what failed are the last lines, because a log may be read by its end only."""
    args = sys.argv[1:]
    tail = "--tail" in args
    extra = args[args.index("--") + 1 :] if "--" in args else []
    failed = []
    # Thousands of processes load the product; none writes its bytecode, lest a test read what another wrote.
    compiled = [
        sys.executable,
        "-m",
        "compileall",
        "-q",
        "-j",
        "2",
        "--invalidation-mode",
        "checked-hash",
        "src/headrace",
    ]
    subprocess.run(compiled, cwd=ROOT, check=True)
    if not tail:
        with ThreadPoolExecutor(2) as two:
            known = checks()
            good = list(two.map(lambda one: check(*one), known))
            failed += [name for (name, _), fine in zip(known, good, strict=True) if not fine]
    report = Path(folder) / "report.xml"
    words = ["-m", "tail", "--timeout", "1500"] if tail else ["-m", "not tail"]
    if not tests([*words, *extra], report, folder):
        failed.append("tail" if tail else "tests")
    if left := left_over():
        print("Processes that tests left behind, now killed:", *left, sep="\n  ", flush=True)
    red = [f"  red: {name}" for name in red_ones(report)]
    if failed:
        red.append(f"Failed: {', '.join(failed)}")
    print("\n".join(red), end="\n" if red else "", flush=True)
    if keep := os.environ.get("SUITE_RED"):
        with Path(keep).open("a") as file:
            file.writelines(f"{line}\n" for line in red)
    return 1 if failed else 0


def left_over() -> list[str]:
    """What lives although all tests are over; it is killed."""
    end = time.monotonic() + LEFT_S
    while (living := ours()) and time.monotonic() < end:
        time.sleep(0.2)
    for pid in living:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return [f"{pid} {words}" for pid, words in living.items()]


def ours() -> dict[int, str]:
    """The living processes that a test has started, and their words."""
    found = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if MARK.encode() in (folder / "environ").read_bytes():
                found[int(folder.name)] = (
                    (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")[:200]
                )
    return found


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
