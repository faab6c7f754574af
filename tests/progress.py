"""Says how far a run on several workers is: a line each minute, and one for each red test as soon as it is red.

A log that was cut off must still tell what was done, what was red and what was under way. Never decides anything.
Called by ``conftest``, in the process that hands the tests out; workers and single runs say nothing.
"""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest

EACH_S = 60.0
SHOWN = 5


class Progress:
    """What is done, red and under way. Lines come from a thread: they come also when every test hangs."""

    def __init__(self, write: Any) -> None:
        self._write = write
        self._running: dict[str, float] = {}
        self._done = 0
        self._red: set[str] = set()
        self._began = time.monotonic()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def pytest_runtest_logstart(self, nodeid: str) -> None:
        self._running[nodeid] = time.monotonic()

    def pytest_runtest_logfinish(self, nodeid: str) -> None:
        self._running.pop(nodeid, None)
        self._done += 1

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed and report.nodeid not in self._red:
            self._red.add(report.nodeid)
            why = [line for line in report.longreprtext.splitlines() if line.startswith("E ")]
            self._write(f"red: {report.nodeid} {why[0][2:].strip()[:300] if why else report.longreprtext[-300:]}")

    def pytest_keyboard_interrupt(self) -> None:
        self._write(self.line())

    def pytest_sessionfinish(self) -> None:
        self._over.set()

    def line(self) -> str:
        """How far it is now."""
        now = time.monotonic()
        longest = sorted(self._running.items(), key=lambda item: item[1])[:SHOWN]
        under_way = ", ".join(f"{nodeid} ({now - since:.0f} s)" for nodeid, since in longest)
        took = (now - self._began) / 60
        return f"── {took:.0f} min: {self._done} tests done, {len(self._red)} red; under way: {under_way or 'none'}"

    def _tell(self) -> None:
        while not self._over.wait(EACH_S):
            self._write(self.line())


def follow(config: pytest.Config) -> None:
    """Follow this run, if it hands tests out to workers."""
    reporter = config.pluginmanager.get_plugin("terminalreporter")
    if reporter is None or hasattr(config, "workerinput") or not config.getoption("numprocesses", None):
        return

    def write(text: str) -> None:
        reporter.ensure_newline()
        reporter.write_line(text)
        reporter.flush()

    config.pluginmanager.register(Progress(write), "headrace-progress")
