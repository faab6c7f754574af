from __future__ import annotations

import copy

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.params import FORMATS, ParamsSchema, ParamsSchemas
from headrace.model.errors import Invalid

SCHEMA = {
    "type": "object",
    "properties": {
        "day": {"type": "string", "format": "date"},
        "count": {"type": "integer", "minimum": 1, "maximum": 9, "default": 3},
        "kind": {"type": "string", "enum": ["a", "b"]},
        "more": {"type": "object", "properties": {"deep": {"type": "number", "default": 0.5}}},
    },
    "required": ["day"],
    "additionalProperties": False,
}


def told(schema, params):
    try:
        ParamsSchema(schema).fill(params)
    except Invalid as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


def test_defaults_are_filled_in_and_the_given_ones_stay():
    given = {"day": "2026-03-29", "more": {}}
    before = copy.deepcopy(given)
    assert ParamsSchema(SCHEMA).fill(given) == {"day": "2026-03-29", "count": 3, "more": {"deep": 0.5}}
    assert given == before


def test_a_default_is_not_shared_between_runs():
    schema = ParamsSchema({"properties": {"list": {"type": "array", "default": []}}})
    schema.fill({})["list"].append(1)
    assert schema.fill({}) == {"list": []}


def test_every_problem_comes_at_once_with_its_path():
    assert told(SCHEMA, {"count": 10, "kind": "c", "dya": 1, "more": {"deep": "x"}}) == {
        "params.day": "is missing and has no default",
        "params.count": "10 is greater than the maximum of 9",
        "params.kind": "'c' is not one of ['a', 'b']",
        "params.dya": "unknown parameter (did you mean 'day'?)",
        "params.more.deep": "expected number, not 'x'",
    }


@pytest.mark.parametrize(
    ("name", "good", "bad"),
    [
        ("date", ["2026-03-29"], ["2026-3-29", "20260329", "2026-02-30", "2026-W01-1", "x", ""]),
        ("date-time", ["2026-03-29T01:02:03Z", "2026-03-29t01:02:03.5+02:00"], ["2026-03-29", "2026-03-29T01:02:03"]),
        ("time", ["01:02:03", "01:02:03Z"], ["25:00:00", "1:2"]),
        ("duration", ["P1D", "PT5S", "P1Y2M3DT4H5M6S", "P2W"], ["P", "PT", "5s", "P1DT"]),
        ("uuid", ["123e4567-e89b-12d3-a456-426614174000"], ["123e4567"]),
    ],
)
def test_formats_are_tested(name, good, bad):
    schema = {"properties": {"x": {"type": "string", "format": name}}}
    assert name in FORMATS
    assert [told(schema, {"x": text}) for text in good] == [{}] * len(good)
    for text in bad:
        assert list(told(schema, {"x": text})) == ["params.x"]


@pytest.mark.parametrize(
    ("schema", "path"),
    [
        ({"type": "array"}, "params.type"),
        ({"properties": {"a": {"type": "strng"}}}, "params.properties.a.type"),
        ({"properties": {"a": {"type": "string", "pattern": "("}}}, "params.properties.a.pattern"),
        ({"properties": {"a": {"$ref": "https://example.test/x"}}}, 'params.properties.a["$ref"]'),
        ({"properties": {"a": {"$ref": "file:///etc/passwd"}}}, 'params.properties.a["$ref"]'),
        ({"$ref": "#/$defs/nothing"}, 'params["$ref"]'),
        ({"required": "day"}, "params.required"),
        ({"properties": []}, "params.properties"),
        ({"properties": {"a": {"minimum": "1", "type": "integer"}}}, "params.properties.a.minimum"),
        ({"properties": {"a": {"enum": "abc"}}}, "params.properties.a.enum"),
        ({"required": ["a", "a"]}, "params.required"),
    ],
)
def test_a_bad_schema_is_a_problem_at_save(schema, path):
    assert path in [problem.path for problem in ParamsSchema(schema).problems]
    assert list(told(schema, {})) == ["params"]


def test_references_within_the_schema_work_and_endless_ones_are_a_problem():
    schema = {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "integer", "default": 7}}}
    assert ParamsSchema(schema).fill({}) == {"a": 7}
    assert told(schema, {"a": "x"}) == {"params.a": "expected integer, not 'x'"}
    endless = {"$ref": "#/$defs/A", "$defs": {"A": {"$ref": "#/$defs/A"}}}
    assert told(endless, {}) == {"params": "nested too deep for the schema"}


def test_a_schema_is_compiled_once_per_content_and_old_ones_leave():
    schemas = ParamsSchemas(keep=2)
    first = schemas.of({"title": "1"})
    assert schemas.of({"title": "1"}) is first
    schemas.of({"title": "2"})
    schemas.of({"title": "1"})
    schemas.of({"title": "3"})
    assert schemas.of({"title": "1"}) is first
    schemas.of({"title": "4"})
    schemas.of({"title": "5"})
    assert schemas.of({"title": "1"}) is not first


FIELDS = st.fixed_dictionaries(
    {"type": st.sampled_from(["string", "integer", "number", "boolean", "object", "array", "null"])},
    optional={"minimum": st.integers(-3, 3), "maximum": st.integers(-3, 3), "minLength": st.integers(0, 3),
              "maxLength": st.integers(0, 3), "enum": st.lists(st.sampled_from(["a", "b", 1, True, None]), min_size=1)},
)  # fmt: skip
NAMES = st.sampled_from(["a", "b", "c"])
SCHEMAS = st.fixed_dictionaries(
    {"properties": st.dictionaries(NAMES, FIELDS, max_size=3)},
    optional={"required": st.lists(NAMES, unique=True), "additionalProperties": st.booleans()},
)
ANY = st.sampled_from(["a", "b", "", "abcd", 0, 1, -4, 4, 1.0, 1.5, True, False, None, [], {}, [1]])


@given(SCHEMAS, st.dictionaries(NAMES, ANY, max_size=3))
def test_the_quick_test_and_the_library_agree(schema, params):
    assert jsonschema.Draft202012Validator(schema).is_valid(params) == (told(schema, params) == {})


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
       lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
           st.sampled_from(["type", "properties", "required", "enum", "$ref", "allOf", "default", "pattern", "items", "x"]),
           inner, max_size=4), max_leaves=12), st.dictionaries(NAMES, ANY, max_size=3))  # fmt: skip
def test_any_object_is_a_schema_or_refused(schema, params):
    if isinstance(schema, dict):
        told(schema, params)
