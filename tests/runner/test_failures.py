"""An exception is told with type, message, frames and causes, whatever its own methods do."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from headrace.author.errors import class_names
from headrace.runner.failures import CAUSES_MAX, TEXT_MAX, describe, frames_of, is_yours, shorter, text_of

HERE = os.path.dirname(os.path.abspath(__file__))


class Odd(ConnectionError):
    """Its text cannot be made."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


def caught(work: Callable[[], object]) -> BaseException:
    try:
        work()
    except BaseException as e:
        return e
    raise AssertionError("it did not raise")


def told(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(describe(error, (HERE,)))
    return found


def test_the_frames_are_those_of_the_user_by_short_paths() -> None:
    def work() -> None:
        raise ValueError("bad")

    error = told(caught(work))
    assert (error["type"], error["message"], error["cause"]) == ("ValueError", "bad", None)
    last = error["frames"][-1]
    assert (last["file"], last["function"], last["yours"]) == ("test_failures.py", "work", True)
    assert last["code"] == 'raise ValueError("bad")'
    assert "test_failures.py" in error["traceback"]
    assert HERE not in error["traceback"]


def test_the_library_frames_are_not_the_users() -> None:
    frames = told(caught(lambda: json.loads("{")))["frames"]
    assert [f["yours"] for f in frames] == [True, True, False, False, False]
    assert is_yours(__file__, ())
    assert not is_yours("<string>", ())
    assert shorter(HERE + "/a/b.py", (HERE, HERE + "/a")) == "b.py"


def test_causes_are_told_and_bounded() -> None:
    last: BaseException | None = None
    for depth in range(20):
        try:
            raise ValueError(depth) from last
        except ValueError as e:
            last = e
    assert last is not None
    error, depth = told(last), 0
    while (error := error["cause"]) is not None:
        depth += 1
        assert error["traceback"] == ""
    assert depth == CAUSES_MAX

    def hidden() -> None:
        try:
            raise KeyError
        except KeyError:
            raise ValueError("alone") from None

    assert told(caught(hidden))["cause"] is None


def test_an_exception_without_a_text_and_one_with_far_too_much() -> None:
    def odd() -> None:
        raise Odd

    error = told(caught(odd))
    assert error["message"] == "(no text: RuntimeError)"

    def long() -> None:
        raise ValueError("x" * 10 * TEXT_MAX)

    assert len(told(caught(long))["message"]) == TEXT_MAX
    assert len(text_of(caught(long), ())) <= TEXT_MAX + 3


def test_an_exception_is_known_by_its_bases_short_and_with_their_module() -> None:
    found = class_names(Odd())
    assert found[0] == "Odd"
    assert {"ConnectionError", "OSError", "Exception", f"{Odd.__module__}.Odd"} <= set(found)


def test_of_very_many_frames_the_outermost_and_the_innermost_are_told() -> None:
    def down(n: int) -> None:
        if not n:
            raise ValueError("at the bottom")
        down(n - 1)

    def begin() -> None:
        down(300)

    with pytest.raises(ValueError, match="bottom") as caught:
        begin()
    frames = frames_of(caught.value.__traceback__, ())
    assert len(frames) == 100
    assert frames[1]["function"] == "begin"
    assert frames[-1]["code"] == 'raise ValueError("at the bottom")'
