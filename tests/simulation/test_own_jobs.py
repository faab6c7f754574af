"""Users' own jobs in the simulator: their graphs, through every fault, come to rest; a job that cannot is found."""

from __future__ import annotations

from random import Random
from typing import Any

import msgspec
import pytest

from headrace.core.graph import compile as compile_job
from headrace.model.definition import JobDefinition
from headrace.model.errors import Invalid
from headrace.testing.sim.acted import acted
from headrace.testing.sim.seeds import simulate
from headrace.testing.sim.world import Plan

OWN: dict[str, Any] = {
    "name": "nightly",
    "params": {"type": "object", "properties": {"day": {"type": "string"}}, "required": ["day"]},
    "tasks": [
        {"name": "list", "python": "reports:regions", "package": "reports", "with": {"day": "${params.day}"}},
        {
            "name": "load",
            "each": "${tasks.list.result.regions}",
            "label": "${item} of ${params.day}",
            "command": ["load", "${item}"],
            "limits": {"crm": 1},
            "retries": 2,
        },
        {"name": "pause", "wait": {"for": "200ms"}, "needs": ["list"]},
        {"name": "sum", "needs": ["load", "pause"], "job": "another"},
        {"name": "tell", "needs": [{"task": "load", "state": "failed"}], "script": "mail"},
        {"name": "tidy", "finally": True, "http": {"url": "https://example.test"}},
    ],
    "on_failure": "stop",
}
GIVEN = {"nightly": {"day": "2026-03-29"}}


def test_an_own_job_comes_to_rest_in_every_world() -> None:
    worlds = [simulate(seed, jobs=[OWN], params=GIVEN) for seed in range(1, 5)]
    assert not [w.broken for w in worlds if w.broken]
    assert all(w.runs > 3 and w.faults for w in worlds)


def test_what_a_task_mentions_it_needs_as_before() -> None:
    tasks = [
        {"name": "a", "command": ["a"]},
        {
            "name": "b",
            "python": "x:y",
            "with": {"n": '${tasks.a.result.n ?? tasks.d.result ?? "3"}'},
            "when": {"value": "${tasks.a.result}", "eq": 1},
        },
        {"name": "d", "command": ["d"]},
        {"name": "c", "needs": {"any": ["a"]}, "each": [1], "label": "${tasks.b.exit_status}", "command": ["c"]},
    ]
    played = acted({"name": "x", "tasks": tasks}, Random(1))
    graph = compile_job(played)
    own = compile_job(msgspec.convert({"name": "x", "tasks": tasks}, JobDefinition))
    assert [(n.needs, n.gate) for n in graph.nodes] == [(n.needs, n.gate) for n in own.nodes]
    assert all(task.command[0] == "sim" for task in played.tasks)


def test_the_same_seed_plays_it_the_same_way() -> None:
    first, again = (simulate(7, jobs=[OWN], params=GIVEN) for _ in range(2))
    assert (first.transitions, first.virtual_s, first.kinds) == (again.transitions, again.virtual_s, again.kinds)
    assert acted(OWN, Random(1)) == acted(OWN, Random(1))


def test_a_job_that_never_ends_is_found() -> None:
    stuck = {"name": "stuck", "tasks": [{"name": "w", "wait": {"for": "1000d"}}]}
    assert simulate(1, Plan(tasks=3, faults=0), jobs=[stuck]).broken


def test_parameters_that_do_not_fit_are_told() -> None:
    with pytest.raises(Invalid, match="1 problem"):
        simulate(1, jobs=[OWN])
