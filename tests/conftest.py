"""What every storey shares: in CI nothing may be skipped, and every run of the suite says what it left behind."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

import progress
from conformance.postgres_server import empty_postgres_dsn, own_postgres, postgres_dsn, postgres_server

# Never a timed assertion: a busy machine is no defect.
settings.register_profile("headrace", deadline=None, print_blob=True)
settings.load_profile("headrace")

__all__ = ["empty_postgres_dsn", "own_postgres", "postgres_dsn", "postgres_server"]


LONGEST = (
    "test_control_down_for_10_minutes",
    "twenty_thousand_times",
    "tests/fuzz/",
    "tests/simulation/",
    "test_a_thousand_of_them_as_well",
    "tests/bench/",
    "test_backups_under_load",
)
"""Tests that take minutes, the longest first: begun last, one of them would keep the run waiting alone."""


@pytest.hookimpl(trylast=True)  # behind the reporter that it writes by
def pytest_configure(config: pytest.Config) -> None:
    progress.follow(config)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Workers take the longest first; a single run keeps the order of its files."""
    if hasattr(config, "workerinput"):
        items.sort(key=lambda item: next((n for n, name in enumerate(LONGEST) if name in item.nodeid), len(LONGEST)))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config) -> None:
    """A skipped test in CI is a failure: a server that must be there was missing."""
    skipped = terminalreporter.stats.get("skipped", [])
    if os.environ.get("CI") and skipped:
        terminalreporter.write_line(f"{len(skipped)} skipped: CI skips nothing", red=True)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if reporter is not None and os.environ.get("CI") and reporter.stats.get("skipped"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
