"""A user's own job for the simulator: its graph and its rules, with every task's work played by dice.

What a task would do is left out, and so is what needs a world outside: limits, secrets, files, agents, child jobs, and
what results would say: conditions are dice too. Pure.
Called by ``testing.sim.seeds``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

import msgspec
from msgspec import UNSET

from headrace.codec.params import ParamsSchema
from headrace.model.definition import Condition, JobDefinition, Task
from headrace.testing.sim.jobs import played

KEPT_OF_TASK = (
    *("name", "needs", "concurrency", "retries", "timeout", "grace", "on_lost", "allow_failure", "finally_"),
    *("priority", "delay", "repeat", "wait"),
)
KEPT_OF_JOB = ("name", "params", "on_failure", "priority", "timeout")
_EXPRESSION = re.compile(r"\$\{([^}]*)\}")
_NAMED = re.compile(r"\btasks\.([a-z0-9_-]+)")
_SOURCE = re.compile(r"\$\{tasks\.([a-z0-9_-]+)\.result")
LIKELY = 0.7
"""How often a condition holds."""
ITEMS = [1, 2, 3]
"""What a list that no task makes is taken for."""


class OwnJobs(msgspec.Struct, frozen=True):
    """The jobs that users of a world choose from instead of made ones, and the parameters that they give, by job."""

    jobs: Sequence[JobDefinition | Mapping[str, Any]] = ()
    params: Mapping[str, Mapping[str, Any]] = {}

    def definitions(self, dice: Random) -> list[JobDefinition]:
        """As they are played; none when there are no own ones."""
        return [acted(job, dice) for job in self.jobs]

    def check(self) -> None:
        """Raises Invalid for parameters that do not fit, before there is a world."""
        for job in self.definitions(Random(0)):
            self.given(job)

    def given(self, job: JobDefinition) -> bytes:
        """The parameters of a run, filled in by the schema."""
        given = dict(self.params.get(job.name, {}))
        return msgspec.json.encode(given if job.params is UNSET else ParamsSchema(job.params).fill(given))


def acted(job: JobDefinition | Mapping[str, Any], dice: Random) -> JobDefinition:
    """The job as it is played; the same dice give the same one. Raises ``msgspec.ValidationError`` for what is no job."""
    definition = job if isinstance(job, JobDefinition) else msgspec.convert(job, JobDefinition)
    sources = {found[1] for task in definition.tasks if (found := _source(task.each))}
    return JobDefinition(
        tasks=[_task(task, sources, dice) for task in definition.tasks],
        **{name: getattr(definition, name) for name in KEPT_OF_JOB},
    )


def _task(task: Task, sources: set[str], dice: Random) -> Task:
    fields = {name: getattr(task, name) for name in KEPT_OF_TASK}
    if task.wait is UNSET:
        how = "fanout" if task.name in sources else dice.choice(("ok", "ok", "ok", "flaky", "fail", "chatty"))
        more = {"fanout": (dice.randint(0, 4),), "flaky": (2,)}.get(how, ())
        fields["command"] = played(how, dice.randint(1, 300), *more)
    if task.each is not UNSET:
        found = _source(task.each)
        fields["each"] = f"${{tasks.{found[1]}.result}}" if found else ITEMS
    if task.when is not UNSET:
        fields["when"] = Condition(value=dice.random() < LIKELY, eq=True)
    # whatever it mentions it needs; of all that there is to mention a state is always there
    text = msgspec.json.encode(msgspec.structs.replace(task, needs=UNSET)).decode()
    named = sorted({name for one in _EXPRESSION.findall(text) for name in _NAMED.findall(one)})
    return Task(**fields, env={f"OF_{n}": f"${{tasks.{name}.state}}" for n, name in enumerate(named)})


def _source(each: Any) -> re.Match[str] | None:
    """The task whose result is the list, where it is one."""
    return _SOURCE.match(each) if isinstance(each, str) else None
