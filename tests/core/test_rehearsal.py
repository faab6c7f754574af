"""A job for a test: the same graph, and nothing of its work."""

from __future__ import annotations

import msgspec
import pytest
from tests.core.mill import Mill, job

from headrace.core.check import check
from headrace.core.rehearsal import rehearsed
from headrace.model.definition import JobDefinition

FULL = job(
    {"name": "fetch", "command": ["curl", "${params.url}", "-H", "a b"], "outputs": ["*.csv"], "retries": 3},
    {"name": "shell", "command": ["sh", "-c", "echo ${HOME} $1", "${params.url}"]},
    {"name": "text", "script": "echo ${HOME}", "env": {"X": "${params.url}"}},
    {"name": "clean", "python": "reports:clean", "package": "reports", "with": {"n": "${tasks.fetch.result.n}"}},
    {"name": "per", "each": "${tasks.clean.result.regions}", "command": ["work", "${item}", "${tasks.clean.result}"]},
    {"name": "fixed", "each": [1, 2], "command": ["work", "${item}"]},
    {"name": "bad", "needs": [{"task": "fetch", "state": "failed"}], "command": ["mail"]},
    {"name": "if", "when": {"value": "${params.url}", "eq": "u"}, "command": ["x"]},
    {"name": "unless", "when": {"value": "${tasks.fetch.result.n}", "gt": 3}, "needs": ["fetch"], "command": ["x"]},
    {"name": "tidy", "finally": True, "command": ["rm", "-rf", "scratch"]},
    concurrency={"max": 1},
    result="${tasks.clean.result}",
)


def played(how):
    definition = rehearsed(FULL, how)
    assert check(definition) == []
    mill = Mill(definition)
    mill.submit(url="u")
    said = {}

    def work(name, order):
        said.setdefault(name, []).append(list(order.spec.argv))
        return "succeeded"

    mill.play(work)
    assert mill.run().state.name == "succeeded"
    return mill, said


def test_nothing_is_done_and_the_graph_is_gone_through():
    mill, said = played("noop")
    assert {tuple(argv) for one in said.values() for argv in one} == {("true",)}
    assert mill.states() == {
        "fetch": "succeeded", "shell": "succeeded", "text": "succeeded", "clean": "succeeded", "per": "succeeded",
        "fixed": "succeeded", "bad": "skipped", "if": "succeeded", "unless": "skipped",
        "tidy": "succeeded",
    }  # fmt: skip
    assert len(said["fixed"]) == 2
    assert len(said["per"]) == 1, "one item stands for those that an earlier task would have made"


def test_each_task_says_what_it_would_do():
    _, said = played("print")
    assert said["fetch"] == [["echo", "would run:", "curl", "u", "-H", "'a b'"]]
    assert said["shell"] == [["echo", "would run:", "sh", "-c", "echo ${HOME} $1", "u"]]
    assert said["text"] == [["echo", "would give to sh -eu:\necho ${HOME}"]]
    assert said["clean"] == [["echo", "would call reports:clean with", '{"n": "(result)"}']]
    assert said["per"] == [["echo", "would run:", "work", "(item)", "(result)"]]
    assert said["tidy"] == [["echo", "would run:", "rm", "-rf", "scratch"]]


@pytest.mark.parametrize("how", ["noop", "print"])
@pytest.mark.parametrize("kind", [{"job": "other"}, {"wait": {"for": "10m"}}, {"http": {"url": "http://x"}}])
def test_work_of_every_kind_is_replaced(how, kind):
    whole = msgspec.convert({"name": "job", "tasks": [{"name": "a", **kind}]}, JobDefinition)
    mill = Mill(rehearsed(whole, how))
    mill.submit()
    assert mill.take().spec.argv[0] == ("true" if how == "noop" else "echo")


def test_a_task_of_no_kind_that_is_known_here_does_nothing():
    nothing = msgspec.convert({"name": "j", "tasks": [{"name": "s", "service": {"command": ["x"]}}]}, JobDefinition)
    assert rehearsed(nothing, "print").tasks[0].command == ["true"]
