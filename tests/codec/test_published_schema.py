from __future__ import annotations

import json

import jsonschema
import pytest
from codec_strategies import DEFINITIONS
from hypothesis import given

from headrace.codec.schema import components_of, job_schema, schema_of
from headrace.codec.wire import JSON, encode
from headrace.model.definition import KINDS, JobDefinition, Retries

VALIDATOR = jsonschema.Draft202012Validator(job_schema())


def test_the_published_schema_is_a_schema_and_knows_every_field():
    jsonschema.Draft202012Validator.check_schema(job_schema())
    properties = job_schema()["$defs"]["Task"]["properties"]
    assert {"with", "finally", *KINDS} <= set(properties)


@given(DEFINITIONS)
def test_what_the_record_permits_the_schema_permits(definition):
    data = json.loads(encode(definition, JSON))
    for task in data["tasks"]:
        for kind in KINDS:
            task.pop(kind, None)
        task["command"] = ["x"]
    VALIDATOR.validate(data)


@pytest.mark.parametrize(
    "task",
    [
        {"name": "a"},
        {"name": "a", "command": ["x"], "script": "x"},
        {"name": "a", "comand": ["x"]},
        {"name": "A b", "script": "x"},
    ],
)
def test_what_is_wrong_is_wrong_by_the_schema_too(task):
    assert not VALIDATOR.is_valid({"name": "j", "tasks": [task]})


def test_types_are_published_for_openapi():
    assert schema_of(Retries)["$defs"]["Retries"]["properties"]["max"]["minimum"] == 0
    (schema,), parts = components_of([JobDefinition])
    assert schema == {"$ref": "#/components/schemas/JobDefinition"}
    assert {"JobDefinition", "Task", "Retries"} <= set(parts)
