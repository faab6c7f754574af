from __future__ import annotations

import msgspec
import pytest

from headrace.codec.shape import shape
from headrace.core.check import NOT_YET, check, later_fields, warnings
from headrace.core.check_texts import MAX_HINTS, Found
from headrace.model.definition import KINDS, KINDS_NOW, JobDefinition


def define(*tasks, **job):
    made = [
        {"name": f"t{no}", **({} if set(task) & set(KINDS) else {"command": ["x"]}), **task}
        for no, task in enumerate(tasks)
    ]
    return shape({"name": "job", "tasks": made or [{"name": "t0", "command": ["x"]}], **job}, JobDefinition)


def told(definition, **known):
    return {problem.path: problem.message for problem in check(definition, **known)}


def test_the_definition_of_the_contract_has_only_what_is_not_available_yet():
    definition = define(
        {"name": "fetch", "command": ["curl", "https://example.test/${params.day}.csv"], "outputs": ["sales.csv"]},
        {"name": "clean", "needs": ["fetch"], "python": "reports.sales:clean", "with": {"day": "${params.day}"}},
        {"name": "per-region", "each": "${tasks.clean.result.regions}", "label": "${item}", "concurrency": 4,
         "python": "reports.sales:summarise", "with": {"region": "${item}", "n": "${index}"}},
        {"name": "tell", "needs": [{"task": "per-region", "state": "failed"}], "script": "echo $OWNER ${HOME}",
         "env": {"OWNER": '${params.owner ?? "ops"}'}},
        {"name": "tidy", "finally": True, "command": ["rm", "-rf", "scratch"], "needs": [{"task": "fetch", "state": "ended"}]},
        params={"type": "object", "properties": {"day": {"type": "string"}, "owner": {"type": "string"}}},
        result="${tasks.per-region.result}",
        package="reports",
    )  # fmt: skip
    assert told(definition) == {}
    assert warnings(definition) == []


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ({"script": "x", "command": ["x"]}, "tasks[0].script", "exactly one kind; this one has command and script"),
        ({"needs": ["tt1"]}, "tasks[0].needs[0]", "no task 'tt1' (did you mean 't1'?)"),
        ({"needs": [{"task": "zzzz"}]}, "tasks[0].needs[0].task", "no task 'zzzz'"),
        ({"needs": {"any": ["t9"]}}, "tasks[0].needs.any[0]", "no task 't9'"),
        ({"needs": ["t0"]}, "tasks[0].needs[0]", "cannot need itself"),
        ({"needs": [{"task": "t1", "state": []}]}, "tasks[0].needs[0].state", "can never hold"),
        ({"needs": [{"task": "t1", "state": "skipped", "exit": "*"}]}, "tasks[0].needs[0].exit", "can never hold"),
        ({"env": {"A": "${params.x + 1}"}}, "tasks[0].env.A", "bad expression"),
        ({"env": {"A": "${parms.x}"}}, "tasks[0].env.A", "'parms' is not known here"),
        ({"env": {"A": "${params.dya}"}}, "tasks[0].env.A", "does not declare 'dya' (did you mean 'day'?)"),
        ({"env": {"a b": "${params[0]}"}}, 'tasks[0].env["a b"]', "name a parameter"),
        ({"env": {"A": "${tasks.tt1.result}"}}, "tasks[0].env.A", "no task 'tt1' (did you mean"),
        ({"env": {"A": "${tasks.t1.reslt}"}}, "tasks[0].env.A", "(did you mean 'result'?)"),
        ({"env": {"A": "${tasks.t1}"}}, "tasks[0].env.A", "say which task"),
        ({"env": {"A": "${tasks.t0.result}"}}, "tasks[0].env.A", "its own result"),
        ({"env": {"A": "${item}"}}, "tasks[0].env.A", "only in the texts of a task with each"),
        ({"env": {"A": "${run.idd}"}}, "tasks[0].env.A", "(did you mean 'id'?)"),
        ({"env": {"A": "${fire}"}}, "tasks[0].env.A", "fire has instant"),
        ({"env": {"A=B": "x"}}, "tasks[0].env", "has no ="),
        ({"env": {"HEADRACE_RUN": "x"}}, "tasks[0].env", "set by headrace"),
        ({"command": ["a", "b\0"]}, "tasks[0].command[1]", "NUL"),
        ({"command": [""]}, "tasks[0].command", "missing"),
        ({"each": ["a"], "command": ["${index.x}"]}, "tasks[0].command[0]", "has no fields"),
        ({"when": {"value": "${item}", "eq": 1}}, "tasks[0].when.value", "only in the texts of a task with each"),
        ({"each": ["${item}"]}, "tasks[0].each[0]", "each is what makes the items"),
        ({"each": "abc"}, "tasks[0].each", "a list is wanted"),
        ({"each": "x${params.day}"}, "tasks[0].each", "exactly one expression"),
        ({"each": "${params.day"}, "tasks[0].each", "not closed"),
        ({"each": {"zip": [[1]], "product": [[1]]}}, "tasks[0].each", "either zip or product"),
        ({"each": {"zip": [5]}}, "tasks[0].each.zip[0]", "a list is wanted"),
        ({"concurrency": 2}, "tasks[0].concurrency", "instances of each"),
        ({"when": {"eq": 1}}, "tasks[0].when", "write value and one of"),
        ({"when": {"value": 1, "eq": 1, "ne": 2}}, "tasks[0].when", "write value and one of"),
        ({"when": {"all": []}}, "tasks[0].when.all", "says nothing"),
        ({"when": {"not": {"any": [{"value": 1}]}}}, "tasks[0].when.not.any[0]", "write value and one of"),
        ({"when": {"value": "${params.dya}", "eq": 1}}, "tasks[0].when.value", "does not declare"),
        ({"interpreter": ["sh"]}, "tasks[0].interpreter", "for a script"),
        ({"with": {"a": 1}}, "tasks[0].with", "python tasks"),
        ({"package": "p"}, "tasks[0].package", "python tasks"),
        ({"python": "os.system"}, "tasks[0].python", "write module:function"),
        ({"outputs": ["../x"]}, "tasks[0].outputs[0]", "working folder"),
        ({"outputs": ["/x"]}, "tasks[0].outputs[0]", "working folder"),
        ({"timeout": "999999999d"}, "tasks[0].timeout", "too long"),
        ({"retries": {"max": 1, "only": ["x y"]}}, "tasks[0].retries.only[0]", "exit:N"),
        ({"retries": {"max": 1, "only": ["OSError", "exit:6", "timeout", "x y"]}}, "tasks[0].retries.only[3]", "exit:N"),
        ({"needs": ["fin"]}, "tasks[0].needs[0]", "is a finally task"),
        ({"env": {"A": "${tasks.fin.result}"}}, "tasks[0].env.A", "is a finally task"),
        ({"name": "t1"}, "tasks[1].name", "is that of tasks[0]"),
    ],
)  # fmt: skip
def test_a_mistake_is_found_with_its_path(task, path, message):
    definition = define(
        task,
        {"name": "t1"},
        {"name": "fin", "finally": True},
        params={"type": "object", "properties": {"day": {}}},
    )
    problems = told(definition)
    assert list(problems) == [path]
    assert message in problems[path]


def test_a_task_without_a_kind_is_told_the_kinds():
    definition = shape({"name": "j", "tasks": [{"name": "a"}]}, JobDefinition)
    assert told(definition) == {"tasks[0]": "a task needs exactly one kind: command, script, python, job, wait, http"}


LATER_KINDS = {
    "container": {"image": "x"}, "job": "other", "wait": {"for": "1s"}, "approve": {}, "http": {"url": "x"},
    "chunk": {}, "service": {},
}  # fmt: skip


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in KINDS_NOW])
def test_a_later_kind_is_not_available_yet(kind):
    problems = told(define({kind: LATER_KINDS[kind]}))
    assert list(problems) == [f"tasks[0].{kind}"]
    assert problems[f"tasks[0].{kind}"].startswith(NOT_YET)


@pytest.mark.parametrize(
    ("field", "value"),
    [("secrets", {"A": "b"}), ("secret_files", {"a": "b"}), ("resources", {"cpus": 1}), ("listeners", [1])],
)  # fmt: skip
def test_a_later_feature_of_a_task_is_not_available_yet(field, value):
    problems = told(define({field: value}))
    assert problems == {f"tasks[0].{field}": f"{NOT_YET}{field} of a task"}


@pytest.mark.parametrize(
    ("field", "value"),
    [("schedules", [{}]), ("notify", [{}]), ("listeners", [1])],
)  # fmt: skip
def test_a_later_feature_of_a_job_is_not_available_yet(field, value):
    assert told(define(**{field: value})) == {field: f"{NOT_YET}{field} of a job"}


def test_a_phase_is_named_once_and_shortly():
    assert told(define(phases=["a", "b"])) == {}
    assert set(told(define(phases=["a", "", "a", "x" * 201]))) == {"phases[1]", "phases[2]", "phases[3]"}


def test_a_circle_is_written_out_with_implied_needs_and_each():
    definition = define(
        {"name": "a", "needs": ["c"]},
        {"name": "b", "env": {"X": "${tasks.a.result}"}},
        {"name": "c", "each": "${tasks.b.result}"},
        {"name": "behind", "needs": ["c"]},
    )
    assert told(definition) == {"tasks[0].needs[0]": "tasks wait for each other in a circle: a needs c needs b needs a"}


def test_every_separate_circle_is_found():
    definition = define(
        {"name": "a", "needs": ["b"]}, {"name": "b", "needs": ["a"]},
        {"name": "c", "needs": ["d"]}, {"name": "d", "needs": ["c", "a"]},
    )  # fmt: skip
    assert set(told(definition)) == {"tasks[0].needs[0]", "tasks[2].needs[0]"}


def test_shell_variables_in_program_text_are_left_alone_and_ours_are_warned_of():
    definition = define(
        {"command": ["bash", "-ec", "echo ${HOME} ${params.day}"]},
        {"script": "echo ${HOME:-x} ${params.day} $${params.x}"},
        {"command": ["echo", "${params.day}"]},
    )
    assert told(definition) == {}
    assert [problem.path for problem in warnings(definition)] == ["tasks[0].command[2]", "tasks[1].script"]
    assert "HEADRACE_PARAM_<NAME>" in warnings(definition)[0].message


@pytest.mark.parametrize(
    "schema",
    [None, {"type": "object", "additionalProperties": True}, {"patternProperties": {".*": {}}}, {"allOf": []},
     {"$ref": "#/$defs/P", "$defs": {"P": {}}}],
)  # fmt: skip
def test_an_open_schema_declares_every_parameter(schema):
    job = {} if schema is None else {"params": schema}
    assert told(define({"env": {"A": "${params.x}"}}, **job)) == {}


def test_job_env_knows_no_tasks():
    assert list(told(define(env={"A": "${tasks.t0.result}", "B": "${run.id}"}))) == ["env.A"]


def test_a_result_names_known_tasks():
    assert list(told(define(result={"x": ["${tasks.t0.result}", "${tasks.zz.result}"]}))) == ["result.x[1]"]


def test_packages_are_inferred_when_exactly_one_has_the_task():
    known = {"m:f": ["p"], "m:g": ["p", "q"]}
    assert told(define({"python": "m:f"}), known_tasks=known) == {}
    assert told(define({"python": "m:g", "package": "q"}), known_tasks=known) == {}
    assert "several packages" in told(define({"python": "m:g"}), known_tasks=known)["tasks[0].python"]
    assert "has no task" in told(define({"python": "m:f", "package": "q"}), known_tasks=known)["tasks[0].python"]
    assert "did you mean 'm:f'" in told(define({"python": "m:ff"}), known_tasks={"m:f": ["p"]})["tasks[0].python"]


def test_what_a_later_version_builds_is_listed_for_the_reference():
    assert {"schedules", "notify"} <= set(later_fields("job"))
    assert {"container", "secrets"} <= set(later_fields("task"))
    assert "command" not in later_fields("task")


def test_the_key_of_a_concurrency_is_a_text_with_expressions():
    problems = told(define(concurrency={"max": 1, "key": "${parms.day}"}))
    assert "'parms' is not known here" in problems["concurrency.key"]


def test_so_many_nearest_names_are_looked_for_and_no_more():
    found = Found()
    assert [found.near("fetsch", ["fetch"]) for _ in range(MAX_HINTS)] == [" (did you mean 'fetch'?)"] * MAX_HINTS
    assert found.near("fetsch", ["fetch"]) == ""


def test_a_task_behind_two_others_is_in_no_circle():
    assert told(define({"name": "a"}, {"name": "b"}, {"name": "c", "needs": ["a", "b"]})) == {}


def test_what_is_allowed_and_most_likely_not_meant_is_warned_of():
    definition = define({"label": "x"}, {"retries": {"max": 0}})
    assert told(definition) == {}
    assert [problem.path for problem in warnings(definition)] == ["tasks[0].label", "tasks[1].retries"]


@pytest.mark.parametrize(
    ("field", "good", "bad"),
    [
        ("name", "a-b_1", ["a\n", "A", "", "a" * 64, "-a", "a b"]),
        ("timeout", "1.5h", ["5s\n", "5", "s", "٥s", "1.s"]),
    ],
)
def test_a_name_and_a_duration_are_matched_to_their_very_end(field, good, bad):
    task = {"name": "t", "command": ["x"]}
    msgspec.convert({"name": "job", "tasks": [task], field: good}, JobDefinition)
    for text in bad:
        with pytest.raises(msgspec.ValidationError, match=field):
            msgspec.convert({"name": "job", "tasks": [task], field: text}, JobDefinition)


def test_a_long_chain_and_a_long_circle_need_no_recursion():
    count = 20_000
    chain = [{"needs": [f"t{no - 1}"]} if no else {} for no in range(count)]
    assert told(define(*chain)) == {}
    chain[0] = {"needs": [f"t{count - 1}"]}
    (message,) = told(define(*chain)).values()
    assert "(19980 more)" in message


def test_units_of_limits_are_at_least_one_and_their_names_are_names():
    found = told(define({"limits": {"crm": 0, "Bad Name": 1}}))
    assert set(found) == {"tasks[0].limits.crm", "tasks[0].limits"}
    assert told(define({"limits": {"crm": 2}})) == {}


def test_how_many_runs_there_may_be_is_said_once_and_its_key_names_what_exists():
    assert "exclusive" in told(define(exclusive=True, concurrency={"max": 2}))
    assert "concurrency.max" in told(define(concurrency={"max": 100_000}))
    assert "concurrency.key" in told(define(concurrency={"key": "${tasks.a.result}"}))
    assert told(define(concurrency={"max": 2, "key": "${run.job}", "when_full": "skip"})) == {}


@pytest.mark.parametrize(
    ("task", "path", "message"),
    [
        ({"wait": {}}, "tasks[0].wait", "one of for (a duration) and until (an instant)"),
        ({"wait": {"for": "1m", "until": "2026-01-01T00:00:00Z"}}, "tasks[0].wait", "one of for"),
        ({"wait": {"for": "soon"}}, "tasks[0].wait.for", "not a duration"),
        ({"wait": {"until": "2026-01-01"}}, "tasks[0].wait.until", "no instant; write date, time and zone"),
        ({"wait": {"until": "2026-01-01T00:00:00"}}, "tasks[0].wait.until", "no instant"),
        ({"wait": {"for": "${params.x"}}, "tasks[0].wait.for", "bad expression"),
        ({"wait": {"topic": "news"}}, "tasks[0].wait.topic", NOT_YET),
        ({"job": {"name": "x", "params": {"a": 1}}, "with": {"a": 2}}, "tasks[0].job.params.a", "given twice"),
        ({"job": {"name": "x", "params": {"a": "${tasks.t9.result}"}}}, "tasks[0].job.params.a", "no task 't9'"),
        ({"http": {"url": "ftp://x"}}, "tasks[0].http.url", "no address"),
        ({"http": {"url": "x"}}, "tasks[0].http.url", "no address"),
        ({"http": {"url": "http://x", "method": "get it"}}, "tasks[0].http.method", "no method"),
        ({"http": {"url": "http://x", "headers": {"a b": "c"}}}, "tasks[0].http.headers", "name is a word"),
        ({"http": {"url": "http://x", "headers": {"a": "c\nd"}}}, "tasks[0].http.headers", "one line"),
        ({"http": {"url": "http://x", "headers": {"Host": "y"}}}, "tasks[0].http.headers", "set by headrace"),
        ({"http": {"url": "http://x", "expect": "ok"}}, "tasks[0].http.expect", "write a status"),
        ({"http": {"url": "http://x", "expect": []}}, "tasks[0].http.expect", "write a status"),
        ({"http": {"url": "http://x", "expect": 42}}, "tasks[0].http.expect", "write a status"),
        ({"repeat": {"times": 0}}, "tasks[0].repeat.times", "at least once"),
        ({"repeat": {"times": 2, "delay": "1000000d"}}, "tasks[0].repeat.delay", "too long"),
        ({"delay": "1000000d"}, "tasks[0].delay", "too long"),
    ],
)
def test_waits_child_runs_requests_repeats_and_delays_are_checked(task, path, message):
    problems = told(define(task))
    assert list(problems) == [path]
    assert message in problems[path]


@pytest.mark.parametrize(
    "task",
    [
        {"wait": {"for": "10m"}},
        {"wait": {"until": "2026-03-29T01:30:00+01:00"}},
        {"wait": {"until": "${params.at}"}},
        {"job": "other", "with": {"x": "${params.x}"}},
        {"job": {"name": "other", "version": 3, "params": {"x": [1]}}, "retries": 2, "timeout": "5m"},
        {
            "http": {
                "url": "https://${params.host}/a",
                "method": "POST",
                "body": {"a": "${params.x}"},
                "expect": ["2xx", 404],
            }
        },
        {"repeat": {"times": 5, "delay": "10s"}, "delay": "30s"},
    ],
)
def test_good_waits_child_runs_requests_repeats_and_delays_pass(task):
    if isinstance(task.get("http", {}).get("expect"), list):
        task = {**task, "http": {**task["http"], "expect": [200, 404]}}
    assert told(define(task)) == {}
    assert warnings(define(task)) == []


def test_fields_that_change_nothing_where_no_agent_works_are_warned_of():
    found = warnings(define({"wait": {"for": "1s"}, "env": {"A": "b"}, "outputs": ["x"]}, {"job": "x", "grace": "1s"}))
    assert {problem.path for problem in found} == {"tasks[0].env", "tasks[0].outputs", "tasks[1].grace"}
