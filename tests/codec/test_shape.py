from __future__ import annotations

import datetime as dt
import uuid
from enum import Enum
from typing import Any, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from headrace.codec.shape import MAX_HINTS, problems_of, salvage, shape
from headrace.model.definition import JobDefinition, Retries, Task
from headrace.model.errors import Invalid, Problem

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.sampled_from(["name", "tasks", "command", "needs", "env", "x", "task"]), inner, max_size=5)
    ),
    max_leaves=20,
)


def told(data: Any, type_: Any = JobDefinition) -> dict[str, str]:
    return {problem.path: problem.message for problem in problems_of(data, type_)}


def test_every_problem_is_listed_with_its_path():
    data = {
        "name": "Bad Name",
        "tsks": 1,
        "params": [1],
        "labels": {"a": 5},
        "tasks": [
            {"name": "a", "comand": ["x"], "retries": {"max": -1, "dellay": "x", "jitter": 2}},
            "foo",
            {
                "command": ["sleep", 5],
                "needs": [{"task": "a", "state": "faild"}, 3],
                "timeout": 10,
                "on_lost": "retri",
                "when": {"not": {"vlue": 1}},
                "allow_failure": 1,
            },
        ],
    }
    assert told(data) == {
        "name": "'Bad Name' does not fit: 1 to 63 lower-case letters, digits, _ and -; the first is a letter or digit",
        "tsks": "unknown field (did you mean 'tasks'?)",
        "params": "expected an object, not a list",
        "labels.a": "expected text, not the number 5; put it in quotes",
        "tasks[0].comand": "unknown field (did you mean 'command'?)",
        "tasks[0].retries.max": "must be at least 0, not -1",
        "tasks[0].retries.dellay": "unknown field (did you mean 'delay'?)",
        "tasks[0].retries.jitter": "must be at most 1, not 2",
        "tasks[1]": "expected an object, not the text 'foo'",
        "tasks[2].command[1]": "expected text, not the number 5; put it in quotes",
        "tasks[2].needs[0].state": "expected one of canceled, ended, failed, skipped, succeeded, not the text 'faild' "
        "(did you mean 'failed'?)",
        "tasks[2].needs[1]": "expected text or an object, not the number 3; put it in quotes",
        "tasks[2].timeout": "expected text (250ms, 5s, 10m, 2h, 1d), not the number 10",
        "tasks[2].on_lost": "expected one of ask, fail, retry, not the text 'retri' (did you mean 'retry'?)",
        "tasks[2].when.not.vlue": "unknown field (did you mean 'value'?)",
        "tasks[2].allow_failure": "expected true or false, not the number 1",
        "tasks[2]": "the field 'name' is missing",
    }


@pytest.mark.parametrize("data", [None, [], "x", 5, {}, {"name": "a"}, {"name": "a", "tasks": []}])
def test_what_is_no_definition_at_all_is_told_too(data):
    assert problems_of(data, JobDefinition)
    with pytest.raises(Invalid) as caught:
        shape(data, JobDefinition)
    assert caught.value.status == 422
    assert list(caught.value.problems) == problems_of(data, JobDefinition)


def test_salvage_keeps_what_is_good_and_the_numbers_of_tasks():
    definition, problems = salvage(
        {"name": "Bad!", "tasks": ["foo", {"name": "b", "command": ["x"], "retries": "no"}]}, JobDefinition
    )
    assert len(problems) == 3
    assert definition is not None
    assert definition.name == "Bad!"
    assert definition.tasks[1] == Task(name="b", command=["x"])


def test_good_data_has_no_problems_and_is_converted():
    data = {"name": "j", "tasks": [{"name": "a", "command": ["x"], "retries": {"max": 2}, "with": {}}]}
    assert problems_of(data, JobDefinition) == []
    assert shape(data, JobDefinition).tasks[0].retries == Retries(max=2)


class Colour(Enum):
    red = "red"


class Left(Struct, tag="left", forbid_unknown_fields=True):
    x: int


class Right(Struct, tag="right", forbid_unknown_fields=True):
    y: dt.date | None = None


class Mixed(Struct, forbid_unknown_fields=True):
    side: Left | Right
    ids: list[uuid.UUID] = []
    colour: Colour | None = None
    counts: dict[int, float] = {}
    mode: Literal["a", 1] = 1


@pytest.mark.parametrize(
    ("data", "paths"),
    [
        ({"side": {"type": "left", "x": "1"}}, ["side.x"]),
        ({"side": {"type": "lft", "x": 1}}, ["side.type"]),
        ({"side": {"x": 1}}, ["side.type"]),
        ({"side": {"type": "right", "y": "2026-02-30"}, "ids": ["x"]}, ["side.y", "ids[0]"]),
        ({"side": {"type": "right", "z": 1}, "colour": "blue", "mode": "b"}, ["side.z", "colour", "mode"]),
        ({"side": {"type": "right"}, "counts": {"a": 1}, "mode": True}, ["counts.a", "mode"]),
    ],
)
def test_types_beyond_json_and_tagged_unions_are_told_by_place(data, paths):
    assert list(told(data, Mixed)) == paths


def test_converted_types_beyond_json_are_what_msgspec_makes_of_them():
    made = shape({"side": {"type": "left", "x": 1}, "counts": {"1": 2}, "colour": "red"}, Mixed)
    assert made == Mixed(Left(1), counts={1: 2.0}, colour=Colour.red)


@given(JSON)
def test_msgspec_and_the_walk_agree_on_what_is_wrong(data):
    try:
        msgspec.convert(data, JobDefinition, str_keys=True)
        good = True
    except msgspec.ValidationError:
        good = False
    problems = problems_of(data, JobDefinition)
    assert good == (not problems)
    assert all(isinstance(problem, Problem) and problem.message for problem in problems)


def test_nearest_names_are_looked_for_within_a_bound():
    data = {"name": "j", "tasks": [{"name": "a", "command": ["x"], **{f"outputs{n}": 1 for n in range(2_000)}}]}
    problems = problems_of(data, JobDefinition)
    assert len(problems) == 2_000
    assert sum("did you mean" in problem.message for problem in problems) == MAX_HINTS


def test_data_nested_too_deep_is_a_problem_not_a_crash():
    when: dict[str, Any] = {"value": 1, "eq": 1}
    for _ in range(5_000):
        when = {"not": when}
    problems = problems_of({"name": "j", "tasks": [{"name": "a", "command": ["x"], "when": when}]}, JobDefinition)
    assert any("nested" in problem.message or "recursion" in problem.message for problem in problems)
