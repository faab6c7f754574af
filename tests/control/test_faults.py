"""Fault points: refused unless allowed, and striking exactly at the nth pass."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headrace.link.faults import EXIT_CODE, FaultPoints, from_environment, parse
from headrace.model.errors import Invalid, StoreError
from headrace.model.ports import no_fault


def test_without_the_variable_nothing_is_armed() -> None:
    assert from_environment({}) is no_fault


def test_faults_are_refused_unless_they_are_allowed() -> None:
    with pytest.raises(Invalid, match="HEADRACE_ALLOW_FAULTS"):
        from_environment({"HEADRACE_FAULT": "ledger.before_commit:kill"})


@pytest.mark.parametrize("text", ["x", "x:burn", "x:kill:0", "x:kill:a", "x:kill:1:2"])
def test_nonsense_is_refused(text: str) -> None:
    with pytest.raises(Invalid, match="HEADRACE_FAULT"):
        parse(text)


def test_it_strikes_at_the_nth_pass_and_only_then() -> None:
    fault = FaultPoints(parse("a.b:error:3, c.d:error"))
    fault("a.b")
    fault("a.b")
    fault("other")
    with pytest.raises(StoreError, match=r"a\.b"):
        fault("a.b")
    fault("a.b")
    with pytest.raises(StoreError, match=r"c\.d"):
        fault("c.d")


@pytest.mark.parametrize(("verb", "code"), [("kill", -9), ("exit", EXIT_CODE)])
def test_kill_and_exit_end_the_process_at_once(verb: str, code: int) -> None:
    program = (
        "from headrace.link.faults import from_environment as f; import os; "
        f"f({{'HEADRACE_FAULT': 'p:{verb}', 'HEADRACE_ALLOW_FAULTS': '1'}})('p'); print('alive')"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (code, b"")
