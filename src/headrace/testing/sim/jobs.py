"""The jobs that simulated users submit: small definitions that use every rule, made from a seed.

Each task's argv is for ``testing.sim.executor``. Pure.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import msgspec

from headrace.model.definition import JobDefinition
from headrace.testing.sim.limits import leaf_rules


def played(how: str, ms: int, *more: object) -> list[str]:
    """The argv of simulated work, as ``testing.sim.executor`` reads it."""
    return ["sim", how, str(ms), *(str(m) for m in more)]


def _single(dice: Random) -> list[dict[str, Any]]:
    return [{"name": "only", "command": played(dice.choice(("ok", "ok", "fail", "chatty")), dice.randint(1, 400))}]


def _retried(dice: Random) -> list[dict[str, Any]]:
    retries = {"max": 3, "delay": "100ms", "jitter": 0.2}
    return [{"name": "only", "command": played("flaky", 30, dice.randint(2, 4)), "retries": retries}]


def _chain(dice: Random) -> list[dict[str, Any]]:
    tasks: list[dict[str, Any]] = []
    bad = dice.randint(0, 7)
    for n in range(dice.randint(2, 6)):
        task: dict[str, Any] = {"name": f"t{n}", "command": played("fail" if n == bad else "ok", dice.randint(1, 60))}
        if n:
            task["needs"] = [f"t{n - 1}"]
        tasks.append(task)
    return tasks


def _handled(dice: Random) -> list[dict[str, Any]]:
    return [
        {"name": "a", "command": played(dice.choice(("ok", "fail")), dice.randint(1, 100))},
        {"name": "b", "needs": ["a"], "command": played("ok", 20)},
        {"name": "c", "needs": ["b"], "command": played("ok", 20)},
        {"name": "d", "needs": [{"task": "a", "state": "failed"}], "command": played("ok", 20)},
        {"name": "e", "needs": {"any": ["c", "d"]}, "command": played("ok", 20)},
        {"name": "last", "finally": True, "command": played("ok", 10)},
    ]


def _fanned(dice: Random) -> list[dict[str, Any]]:
    many: dict[str, Any] = {
        "name": "many",
        "each": "${tasks.list.result}",
        "command": played(dice.choice(("ok", "ok", "flaky")), dice.randint(1, 40), 2),
        "retries": 1,
    }
    if dice.random() < 0.5:
        many["concurrency"] = dice.randint(1, 3)
    return [
        {"name": "list", "command": played("fanout", 10, dice.randint(0, 12))},
        many,
        {"name": "sum", "needs": ["many"], "command": played("ok", 10)},
    ]


def _stubborn(dice: Random) -> list[dict[str, Any]]:
    return [{"name": "only", "command": played("stubborn", 1), "timeout": f"{dice.randint(1, 5)}s", "grace": "500ms"}]


def _once(dice: Random) -> list[dict[str, Any]]:
    return [{"name": "only", "command": played("ok", dice.randint(50, 2000)), "on_lost": "fail"}]


def _stopping(dice: Random) -> list[dict[str, Any]]:
    return [
        {"name": "a", "command": played("fail", dice.randint(1, 50))},
        {"name": "b", "command": played("ok", 200)},
        {"name": "c", "needs": ["b"], "command": played("ok", 20)},
        {"name": "d", "needs": [{"task": "a", "state": "failed"}], "command": played("ok", 20)},
        {"name": "e", "needs": ["d"], "command": played("ok", 20)},
    ]


def _family(dice: Random) -> list[dict[str, Any]]:
    job = f"leaf-{dice.randint(0, LEAVES - 1)}"
    child: dict[str, Any] = {"name": "child", "job": job, "needs": ["a"]}
    if dice.random() < 0.4:
        child["retries"] = {"max": 2, "delay": "100ms"}
    if dice.random() < 0.3:
        child["timeout"] = f"{dice.randint(1, 4)}s"
    if dice.random() < 0.3:
        child |= {"each": [1, 2, 3], "concurrency": dice.randint(1, 3)}
    if dice.random() < 0.2:
        child["repeat"] = {"times": 2, "delay": "50ms"}
    return [
        {"name": "a", "command": played("ok", dice.randint(1, 50))},
        child,
        {"name": "after", "needs": [{"task": "child", "state": "ended"}], "command": played("ok", 10)},
    ]


def _timed(dice: Random) -> list[dict[str, Any]]:
    return [
        {"name": "wait", "wait": {"for": f"{dice.randint(1, 3000)}ms"}},
        {"name": "late", "delay": f"{dice.randint(1, 1500)}ms", "command": played("ok", 10)},
        {"name": "often", "repeat": {"times": 3, "delay": "100ms"}, "command": played("ok", dice.randint(1, 60))},
        {"name": "end", "needs": ["wait", "late", "often"], "command": played("ok", 10)},
    ]


LEAVES = 5
"""Saved jobs, which others run as children; the last one runs another leaf, and one more is never saved."""


def leaves() -> list[JobDefinition]:
    """The jobs that are saved before the users come."""
    works: list[list[dict[str, Any]]] = [
        [{"name": "only", "command": played("ok", 30)}],
        [{"name": "only", "command": played("flaky", 20, 2), "retries": {"max": 1, "delay": "50ms"}}],
        [{"name": "only", "command": played("fail", 300)}],
        [{"name": "first", "wait": {"for": "700ms"}}, {"name": "then", "job": "leaf-0", "needs": ["first"]}],
    ]
    documents = [leaf_rules(n, {"name": f"leaf-{n}", "tasks": tasks}) for n, tasks in enumerate(works)]
    return [msgspec.convert(document, JobDefinition) for document in documents]


KINDS: tuple[Callable[[Random], list[dict[str, Any]]], ...] = (
    _single,
    _single,
    _retried,
    _chain,
    _handled,
    _fanned,
    _stubborn,
    _once,
    _stopping,
    _family,
    _family,
    _timed,
)


def definition(dice: Random, number: int) -> JobDefinition:
    """A job definition; the same dice give the same one."""
    make = dice.choice(KINDS)
    document: dict[str, Any] = {"name": f"job-{number}", "tasks": make(dice)}
    if make is _stopping:
        document["on_failure"] = "stop"
    if dice.random() < 0.1:
        document["timeout"] = f"{dice.randint(1, 20)}s"
    return msgspec.convert(document, JobDefinition)


def weight(job: JobDefinition) -> int:
    """About how many tasks a run of it makes, instances included."""
    items = sum(int(t.command[3]) for t in job.tasks if isinstance(t.command, list) and t.command[1] == "fanout")
    return len(job.tasks) + items
