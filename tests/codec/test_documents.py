from __future__ import annotations

import json

import pytest
from codec_strategies import DEFINITIONS
from hypothesis import given
from hypothesis import strategies as st

from headrace.codec.documents import attach, definition_from, read_document
from headrace.codec.positions import Positions
from headrace.codec.wire import MSGPACK, encode
from headrace.core.check import check
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid, Problem

BAD_YAML = b"""name: nightly-report
params:
  type: object
  properties: {day: {type: strin, format: date}}
tasks:
  - name: fetch
    comand: [curl, x]
    needs: [load]
  - name: load
    command: [sleep, 5]
    needs: [fetch, lod]
    retries: {max: -1, dely: 5s}
  - name: show
    script: echo
    env: {X: "${params.dy}", Y: "${params.day + 1}"}
    container: {image: x}
"""


def refused(data, **given):
    with pytest.raises(Invalid) as caught:
        definition_from(read_document(data, **given), check)
    return caught.value


def test_every_problem_comes_at_once_with_path_line_and_column():
    error = refused(BAD_YAML, name="report.yaml")
    assert error.status == 422
    assert [(problem.path, problem.line, problem.column) for problem in error.problems] == [
        ("params.properties.day.type", 4, 22),
        ("tasks[0].comand", 7, 5),
        ("tasks[0].needs[0]", 8, 13),
        ("tasks[1].command[1]", 10, 22),
        ("tasks[1].needs[1]", 11, 20),
        ("tasks[1].retries.max", 12, 15),
        ("tasks[1].retries.dely", 12, 24),
        ("tasks[2].env.X", 15, 11),
        ("tasks[2].env.Y", 15, 30),
        ("tasks[2].container", 16, 5),
        ("tasks[2].container", 16, 5),
    ]
    assert "report.yaml has 11 problems" in str(error)
    assert "did you mean 'command'?" in str(error)
    assert "fetch needs load needs fetch" in str(error)
    assert "(line 16, column 5)" in str(error)


def test_json_has_the_same_problems_at_its_own_places():
    yaml_error = refused(BAD_YAML)
    text = json.dumps(read_document(BAD_YAML).data, indent=2)
    json_error = refused(text.encode())
    assert {(problem.path, problem.message) for problem in yaml_error.problems} == {
        (problem.path, problem.message) for problem in json_error.problems
    }
    lines = text.split("\n")
    unknown = next(problem for problem in json_error.problems if problem.path == "tasks[0].comand")
    assert lines[unknown.line - 1][unknown.column - 1 :].startswith('"comand"')


def test_msgpack_has_the_same_problems_without_places():
    data = encode(read_document(BAD_YAML).data, MSGPACK)
    error = refused(data, media=MSGPACK)
    assert {problem.path for problem in error.problems} == {problem.path for problem in refused(BAD_YAML).problems}
    assert all(problem.line is None for problem in error.problems)


def test_a_wrong_shape_hides_only_what_follows_from_it():
    error = refused(b"name: j\ntasks:\n - name: a\n   comand: [x]\n - name: b\n   script: x\n   needs: [c]\n")
    assert [problem.path for problem in error.problems] == ["tasks[0].comand", "tasks[1].needs[0]"]


@pytest.mark.parametrize("data", [b"", b"[]", b"5", b"null", b"name: x", b"{}"])
def test_what_is_no_definition_is_told(data):
    assert refused(data).problems


@pytest.mark.parametrize(
    ("data", "given"),
    [
        (b'{"name": "j", "tasks": [{"name": "a", "command": ["x"]}]}', {}),
        (b'\xef\xbb\xbf{"name": "j", "tasks": [{"name": "a", "command": ["x"]}]}', {"name": "j.json"}),
        (b"name: j\ntasks: [{name: a, command: [x]}]", {"name": "x.YML"}),
        (b"{name: j, tasks: [{name: a, command: [x]}]}", {"name": "x.yaml"}),
        (b"# comment\nname: j\ntasks: [{name: a, command: [x]}]", {}),
        (b"name: j\ntasks: [{name: a, command: [x]}]", {"media": "application/yaml; charset=utf-8"}),
    ],
)  # fmt: skip
def test_the_format_is_what_is_said_or_looks_so(data, given):
    definition = definition_from(read_document(data, **given), check)
    assert definition == JobDefinition(name="j", tasks=definition.tasks)
    assert definition.tasks[0].command == ["x"]


EDN_JOB = b"""{:job/name "j" ; a comment
 :job/tasks [{:task/name "a" :task/comand ["x"]}]}"""


def test_a_problem_of_an_edn_document_has_its_place():
    error = refused(EDN_JOB, name="job.edn")
    assert [(p.path, p.line, p.column) for p in error.problems] == [("tasks[0].comand", 2, 43)]
    assert definition_from(read_document(EDN_JOB.replace(b"comand", b"command")), check).tasks[0].command == ["x"]


@given(DEFINITIONS)
def test_a_document_gives_back_the_definition(definition):
    if "params" in definition.__struct_fields__:
        definition = JobDefinition(**{f: getattr(definition, f) for f in definition.__struct_fields__ if f != "params"})
    assert definition_from(read_document(encode(definition, "application/json"))) == definition


@given(st.binary(max_size=50))
def test_any_file_is_read_or_refused(data):
    for name in ("a.json", "a.yaml", "a.msgpack", None):
        try:
            definition_from(read_document(data, name=name), check)
        except Invalid as error:
            assert str(error)  # noqa: PT017  what matters is that nothing else is raised


def test_problems_without_a_place_of_their_own_have_that_of_their_holder():
    positions = Positions(lambda: {"": (1, 1), "tasks[0]": (3, 5), 'tasks[0].env["a b"]': (4, 2)})
    placed = attach(
        [
            Problem("tasks[0].name", "x"),
            Problem('tasks[0].env["a b"].c[3]', "y"),
            Problem("zz", "z"),
            Problem("", "all"),
        ],
        positions,
    )
    assert [(problem.message, problem.line, problem.column) for problem in placed] == [
        ("z", 1, 1),
        ("all", 1, 1),
        ("x", 3, 5),
        ("y", 4, 2),
    ]
