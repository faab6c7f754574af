"""Patterns in a parameters' schema: linear in time wherever the schema puts them, and refused where they are not read."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headrace.codec.params import ParamsSchema
from headrace.model.errors import Invalid

CATASTROPHES = [r"(a+)+$", r"^(a|aa)+$", r"(a|a)*b$", r"^(([a-z])+.)+[A-Z]([a-z])+$", r"(.*)*\d$", r"(x+x+)+y"]
LONG = "a" * 30_000 + "!"
LONG_X = "x" * 30_000


def told(schema, params):
    try:
        ParamsSchema(schema).fill(params)
    except Invalid as error:
        return {problem.path: problem.message for problem in error.problems}
    return {}


def problems(schema):
    return {problem.path: problem.message for problem in ParamsSchema(schema).problems}


def of(pattern):
    return {"properties": {"a": {"type": "string", "pattern": pattern}}}


@pytest.mark.timeout(20)
@pytest.mark.parametrize("pattern", CATASTROPHES)
def test_a_pattern_that_explodes_elsewhere_answers_at_once(pattern):
    for text in (LONG, LONG_X):
        assert problems(of(pattern)) == {}
        assert list(told(of(pattern), {"a": text})) == ["params.a"]


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "schema",
    [
        {"patternProperties": {"(a+)+$": {"type": "integer"}}, "additionalProperties": False},
        {"patternProperties": {"(a+)+$": False}, "additionalProperties": {"type": "null"}},
        {"propertyNames": {"pattern": "(a+)+$"}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "allOf": [{"$ref": "#/$defs/x"}],
         "$defs": {"x": {"$schema": "http://json-schema.org/draft-07/schema#", "propertyNames": {"pattern": "(a+)+$"}}}},
        {"$schema": "https://json-schema.org/draft/2020-12/schema", "propertyNames": {"pattern": "(a+)+$"},
         "properties": {"b": {"$ref": "#"}}},
        {"not": {"propertyNames": {"not": {"anyOf": [{"pattern": "(a+)+$"}, {"const": "b"}]}}}, "required": ["c"]},
        {"allOf": [{"$ref": "#/$defs/x/const"}],
         "$defs": {"x": {"const": {"$schema": "http://json-schema.org/draft-04/schema#",
                                   "additionalProperties": False, "patternProperties": {"(a+)+$": {}}}}}},
    ],
)  # fmt: skip
def test_no_place_of_the_schema_brings_the_slow_engine_back(schema):
    assert told(schema, {"b": {LONG: 1}, LONG: 1})


@pytest.mark.parametrize(
    ("pattern", "good", "bad"),
    [
        ("^[a-z]+$", ["abc"], ["ABC", "", "a1", "abc\n"]),
        ("b", ["abc"], ["ac"]),
        (r"^\d{4}-\d{2}$", ["2026-03"], ["2026-3"]),
        (r"^(EU|US)-\w+$", ["EU-x_1"], ["CH-x", "EU-"]),
        (r"^\p{Lu}", ["É"], ["é"]),
        (r"^\u00e9\\u00e9$", ["é\\u00e9"], ["éé"]),
        (r"\Aa\Z", ["a"], ["ab"]),
        (r"(?i)^(?P<word>ab)(?:c)?$", ["AB", "abC"], ["abd"]),
        (r"^a\/\$\.b$", ["a/$.b"], ["a/$xb"]),
    ],
)
def test_usual_patterns_match_as_they_are_written(pattern, good, bad):
    assert problems(of(pattern)) == {}
    assert [told(of(pattern), {"a": text}) for text in good] == [{}] * len(good)
    for text in bad:
        assert list(told(of(pattern), {"a": text})) == ["params.a"]
        assert f"does not match {pattern}" in told(of(pattern), {"a": text})["params.a"]


def test_a_pattern_says_nothing_about_what_is_no_text():
    assert told({"properties": {"a": {"pattern": "^x"}}}, {"a": 7}) == {}


@pytest.mark.parametrize(
    ("pattern", "advice"),
    [
        (r"^(?=.*\d)(?=.*[a-z])", "allOf: [{pattern: …}, {pattern: …}]"),
        (r"^(?!secret)", "not: {pattern: …}"),
        (r"(?<=a)b", "there is no look-around"),
        (r"(?<!a)b", "there is no look-around"),
        (r"(['\"]).*\1", "there are no back-references"),
        (r"(?P<q>.)(?P=q)", "there are no back-references"),
        (r"a{2000}", "use minLength and maxLength"),
        (r"(\p{L}{100}){10}", "use minLength and maxLength"),
        (r"(", "RE2"),
        (r"[", "RE2"),
        (r"a++", "RE2"),
    ],
)
def test_a_pattern_that_is_not_read_is_refused_at_save_with_its_place_and_how_to_mend_it(pattern, advice):
    message = problems(of(pattern))["params.properties.a.pattern"]
    assert advice in message
    schema = {"patternProperties": {pattern: {"type": "string"}}}
    (place,) = problems(schema)
    assert place.startswith("params.patternProperties[")
    assert list(told(schema, {"a": "a"})) == ["params"]


def test_what_a_pattern_names_is_no_additional_parameter():
    schema = {"properties": {"a": {}}, "patternProperties": {"^x-": {"type": "integer"}}}
    closed, open_to_text = (
        {**schema, "additionalProperties": False},
        {**schema, "additionalProperties": {"type": "string"}},
    )
    assert told(closed, {"a": 1, "x-1": 2}) == {}
    assert told(closed, {"a": 1, "x-1": "2"}) == {"params.x-1": "expected integer, not '2'"}
    assert "'y' was unexpected" in told(closed, {"y": 1, "x-1": 1})["params"]
    assert told(open_to_text, {"y": "1", "x-1": 1}) == {}
    assert told(open_to_text, {"y": 1}) == {"params.y": "expected string, not 1"}


def test_patterns_beside_unevaluated_properties_are_refused_wherever_they_stand():
    hidden = {"$defs": {"x": {"const": {"patternProperties": {"(a+)+$": {}}}}}, "$ref": "#/$defs/x/const"}
    assert "additionalProperties" in problems({**hidden, "unevaluatedProperties": False})["params"]
    assert list(told({**hidden, "unevaluatedProperties": False}, {LONG: 1})) == ["params"]


def test_the_engine_is_loaded_by_the_first_pattern_only():
    lines = [
        "import sys; from headrace.codec.params import ParamsSchema",
        "ParamsSchema({'properties': {'a': {'anyOf': [{'type': 'string'}]}}}).fill({'a': 'x'})",
        "assert 're2' not in sys.modules and 'jsonschema' in sys.modules",
        "ParamsSchema({'properties': {'a': {'pattern': 'x'}}}).fill({'a': 'x'})",
        "assert 're2' in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "\n".join(lines)], check=True, timeout=60)
