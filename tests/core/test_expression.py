from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.core.expression import (
    MAX_TEXT,
    MISSING,
    Choice,
    ExpressionError,
    MissingValue,
    Ref,
    parse,
    refs_of,
    render,
    render_text,
    walk,
)


class Data:
    """A scope over plain data."""

    def __init__(self, **roots):
        self.roots = roots

    def lookup(self, root, path):
        return walk(self.roots, (root, *path))


SCOPE = Data(
    params={"day": "2026-03-29", "n": 3, "a b": [1, {"z": 2.5}], "null": None, "yes": True, "é": "ü"},
    tasks={"per-region": {"result": ["EU", "US"], "exit_status": "0"}},
    index=7,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", ""),
        ("plain $ {x} $x", "plain $ {x} $x"),
        ("${params.day}", "2026-03-29"),
        ("a${params.n}b", "a3b"),
        ("${params.n}", 3),
        ("${ params.n }", 3),
        ("${index}", 7),
        ('${params["a b"]}', [1, {"z": 2.5}]),
        ('${params["a b"][1].z}', 2.5),
        ("${tasks.per-region.result[1]}", "US"),
        ('x=${params["a b"]}', 'x=[1,{"z":2.5}]'),
        ("${params.yes} ${params.null}", "true null"),
        ("${params.null}", None),
        ("$${params.n}", "${params.n}"),
        ("$$${params.n}", "$${params.n}"),
        ("$${x", "${x"),
        ('${params.no ?? "a}b"}', "a}b"),
        ('${params.no ?? params.n ?? "x"}', 3),
        ('${params.null ?? "ops"}', "ops"),
        ("${params.no ?? params.null}", None),
        ('${params.no ?? "q\\"\\u00e9"}', 'q"é'),
        ("${params.é}", "ü"),
        ("${params.n}${params.n}", "33"),
    ],
)
def test_a_text_is_rendered_and_a_lone_expression_keeps_its_type(text, value):
    assert render(text, SCOPE) == value
    assert type(render(text, SCOPE)) is type(value)


@pytest.mark.parametrize(
    ("text", "position", "hint"),
    [
        ("ab${", 2, "not closed"),
        ("${}", 2, "begins with one of"),
        ("${foo.x}", 2, "'foo' is not known"),
        ("${params.x + 1}", 11, "compute in a task"),
        ("${params.x ?? }", 14, "begins with one of"),
        ("${params.}", 9, "a name is expected"),
        ("${params[-1]}", 9, "whole number or a key"),
        ('${params["x}', 9, "not closed"),
        ('${params["x" }', 13, "] is missing"),
        ('${"x"}', 2, "behind ??"),
        ('${params.x ?? "\\ud800"}', 14, "half of a"),
        ("${params.x | upper}", 11, "compute in a task"),
        ("${params.x()}", 10, "compute in a task"),
        ("${params" + ".a" * 65 + "}", 138, "64 steps"),
        ("${params.x" + " ?? params.x" * 64 + "}", 778, "64 paths"),
        ("${params.x}" * 1025, 11264, "1,024 expressions"),
    ],
)
def test_a_bad_expression_is_refused_with_its_position_and_how_to_mend_it(text, position, hint):
    with pytest.raises(ExpressionError, match=r".") as caught:
        parse(text)
    assert caught.value.position == position
    assert hint in str(caught.value)


def test_only_texts_with_expressions_are_bounded_in_length():
    assert render("x" * (MAX_TEXT * 2), SCOPE) == "x" * (MAX_TEXT * 2)
    with pytest.raises(ExpressionError, match="65,536"):
        parse("x" * MAX_TEXT + "${params.n}")


def test_a_path_without_value_says_which():
    with pytest.raises(MissingValue) as caught:
        render('${params.no["a b"][0] ?? item.x}', SCOPE)
    assert caught.value.path == 'params.no["a b"][0] ?? item.x'


def test_a_rendered_text_cannot_grow_without_bound():
    scope = Data(params={"big": "x" * 262_144})
    with pytest.raises(MissingValue, match="longer than 4 MiB"):
        render("${params.big}" * 40, scope)


def test_values_inside_objects_are_rendered_and_the_original_stays():
    value = {"${params.n}": ["${params.n}", {"a": "v${index}"}], "plain": 1, "t": (True, None)}
    before = repr(value)
    assert render(value, SCOPE) == {"${params.n}": [3, {"a": "v7"}], "plain": 1, "t": [True, None]}
    assert list(render({"b": "${index}", "a": 1}, SCOPE)) == ["b", "a"]
    assert repr(value) == before


def test_deep_values_need_no_recursion():
    value: object = "${index}"
    for _ in range(50_000):
        value = [value]
    rendered = render(value, SCOPE)
    for _ in range(50_000):
        rendered = rendered[0]
    assert rendered == 7
    assert refs_of(value) == (Ref("index", ()),)
    while isinstance(value, list) and value:  # taken apart by hand: freeing it would recurse
        value = value.pop()


def test_in_argv_and_env_every_value_is_text():
    assert render_text('${params["a b"]}', SCOPE) == '[1,{"z":2.5}]'
    assert render_text("${params.yes}", SCOPE) == "true"
    assert render_text("${params.day}", SCOPE) == "2026-03-29"


def test_refs_are_listed_once_and_in_order():
    value = {"a": "${tasks.x.result} ${params.n}", "b": ["${params.n ?? item}"]}
    assert refs_of(value) == (Ref("tasks", ("x", "result")), Ref("params", ("n",)), Ref("item", ()))
    assert parse("${params.n}").exact
    assert not parse(" ${params.n}").exact
    assert not parse("$${params.n}").exact


@given(
    st.lists(
        st.one_of(st.text(min_size=1, max_size=12), st.integers(0, 999_999_999)),
        max_size=8,
    ),
    st.sampled_from(["params", "tasks", "item"]),
)
def test_every_path_is_read_back_from_how_it_is_written(path, root):
    ref = Ref(root, tuple(path))
    assert parse(f"${{{ref}}}").parts == (Choice((ref,)),)


@given(st.text(st.sampled_from("${}.[]?\"\\ abparms0u'é\n") | st.characters(), max_size=60))
def test_any_text_parses_or_is_refused(text):
    refused = None
    refs = ()
    try:
        refs = parse(text).refs
    except ExpressionError as error:
        refused = error
    assert refused is None or 0 <= refused.position <= len(text)
    for ref in refs:
        assert parse(f"${{{ref}}}").refs == (ref,)


def test_walk_says_missing_instead_of_raising():
    assert walk({"a": [1]}, ("a", 0)) == 1
    for path in [("b",), ("a", 1), ("a", "0"), (0,), ("a", 0, "x")]:
        assert walk({"a": [1]}, path) is MISSING
