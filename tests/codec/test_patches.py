"""Merge patch by the examples of RFC 7396, and differences that lead from one document to the other."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.patches import differences, merge_patch
from headrace.model.views import Difference

RFC = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
LEAVES = st.none() | st.booleans() | st.integers() | st.text(max_size=3)
NODES = st.recursive(
    LEAVES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
)


@pytest.mark.parametrize(("target", "patch", "wanted"), RFC)
def test_the_examples_of_the_rfc(target: Any, patch: Any, wanted: Any) -> None:
    assert merge_patch(target, patch) == wanted


@given(NODES, NODES)
def test_a_patch_changes_neither_of_its_arguments(target: Any, patch: Any) -> None:
    before = repr(target), repr(patch)
    merge_patch(target, patch)
    assert (repr(target), repr(patch)) == before


def same(a: Any, b: Any) -> bool:
    """Equal, and of the same types: ``1`` is not ``true``."""
    if type(a) is not type(b):
        return False
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[k], b[k]) for k in a)
    return len(a) == len(b) and all(map(same, a, b)) if isinstance(a, list) else bool(a == b)


@given(NODES, NODES)
def test_two_documents_differ_in_something_unless_they_are_the_same(before: Any, after: Any) -> None:
    assert bool(differences(before, after)) is not same(before, after)
    assert differences(before, before) == []


def test_tasks_are_compared_by_name_wherever_they_stand() -> None:
    before = {"name": "j", "tasks": [{"name": "a", "timeout": "1s"}, {"name": "b"}, {"name": "c"}]}
    after = {"name": "j", "tasks": [{"name": "new"}, {"name": "c"}, {"name": "a", "timeout": "2s"}]}
    found = differences(before, after)
    assert found == [
        Difference("tasks[a].timeout", "changed", "1s", "2s"),
        Difference("tasks[b]", "removed", before={"name": "b"}),
        Difference("tasks[new]", "added", after={"name": "new"}),
        Difference("tasks[order]", "changed", ["[a]", "[b]", "[c]"], ["[new]", "[c]", "[a]"]),
    ]
