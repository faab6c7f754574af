"""The C library sees the variables that Python sees, call after call, and nothing is kept of those before."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator

import pytest

from headrace.runner.environ import Environ
from headrace.runner.protocol import Call


@pytest.fixture
def environ() -> Iterator[Environ]:
    before = dict(os.environ)
    try:
        yield Environ({"HEADRACE_RESULT": "/r"})
    finally:
        os.environ.clear()
        os.environ.update(before)


def call(run: int = 1, *, token: str = "tok", task: str = "t", env: dict[str, str] | None = None) -> Call:
    return Call(1, "flow:a", b"{}", run, -1, 8, 2, task, "j", token=token, url="http://x", env=env or {})


def below(name: str) -> str | None:
    """The variable as C code, and every process that is started, sees it."""
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_char_p
    found: bytes | None = libc.getenv(name.encode())
    return None if found is None else os.fsdecode(found)


def both(name: str) -> str | None:
    assert os.environ.get(name) == below(name)
    return below(name)


def test_each_call_has_its_own_texts_short_and_long_at_both_levels(environ: Environ) -> None:
    for run, token, task in ((1, "a", "t"), (2, "b" * 500, "t"), (30, "c", "ü" * 90), (4, "", "t"), (4, "d" * 40, "t")):
        environ.enter(call(run, token=token, task=task))
        assert (both("HEADRACE_RUN"), both("HEADRACE_TOKEN"), both("HEADRACE_TASK")) == (str(run), token, task)
        assert (both("HEADRACE_JOB"), both("HEADRACE_RESULT")) == ("j", "/r")
        environ.leave()


def test_a_thousand_calls_keep_no_text_of_the_calls_before(environ: Environ) -> None:
    libc = ctypes.CDLL(None)
    libc.getenv.restype = ctypes.c_void_p
    places = set()
    for run in range(1000):
        environ.enter(call(run, token=f"{run:060}"))
        places.add(libc.getenv(b"HEADRACE_TOKEN"))
        environ.leave()
    assert len(places) <= 2
    assert both("HEADRACE_TOKEN") == f"{999:060}"


@pytest.mark.parametrize("how", ["set", "removed", "own"])
def test_what_a_call_did_to_ours_is_put_right_for_the_next(environ: Environ, how: str) -> None:
    for run in (1, 2):
        environ.enter(call(run))
        environ.leave()
    environ.enter(call(3, env={"HEADRACE_RUN": "mine"} if how == "own" else None))
    if how == "set":
        os.environ["HEADRACE_RUN"] = "wrong"
    elif how == "removed":
        del os.environ["HEADRACE_RUN"]
    environ.leave()
    for run in (3, 4, 5):
        environ.enter(call(run))
        assert both("HEADRACE_RUN") == str(run)
        environ.leave()


def test_parameters_that_come_change_and_go_are_seen_at_both_levels(environ: Environ) -> None:
    for params, a, b in ((b'{"a":1}', "1", None), (b'{"a":2,"b":"x"}', "2", "x"), (b'{"b":"y"}', None, "y")):
        environ.give(params)
        environ.enter(call())
        assert (both("HEADRACE_PARAM_A"), both("HEADRACE_PARAM_B")) == (a, b)
        environ.leave()


def test_after_variables_that_cannot_be_written_the_next_call_has_its_own(environ: Environ) -> None:
    environ.enter(call(1))
    environ.leave()
    with pytest.raises(UnicodeEncodeError):
        environ.enter(call(2, task="\ud800"))
    environ.enter(call(1))
    assert (both("HEADRACE_RUN"), both("HEADRACE_TASK")) == ("1", "t")
