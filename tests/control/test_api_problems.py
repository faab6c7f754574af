"""Errors as problem documents: a disk that is full is told as such, whoever met it."""

from __future__ import annotations

import errno

from headrace.control.api.problems import FULL, problem_of
from headrace.model.errors import StoreError


def test_a_full_disk_is_told_to_the_caller_and_what_else_the_store_met_is_not() -> None:
    behind = StoreError("the change was not made")
    behind.__cause__ = StoreError("SQLite: COMMIT did not happen: database or disk is full")
    for error in (OSError(errno.ENOSPC, "No space left on device"), behind):
        problem, headers = problem_of(error, "/api/v1/runs")
        assert (problem.status, problem.detail) == (503, FULL)
        assert headers[0][0] == b"retry-after"
    problem, _ = problem_of(StoreError("SQLite: no such table: secret"), "/api/v1/runs")
    assert problem.status == 500
    assert "secret" not in (problem.detail or "")
