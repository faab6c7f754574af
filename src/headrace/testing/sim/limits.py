"""The named limits of a simulated world: which jobs ask for them, and who changes them all the time.

Limits are put with other numbers, paused, resumed, deleted and put again while everything else dies; when the world is
healed, somebody mends only what would keep work waiting for ever. Knows nothing of how limits are kept. Called by
``testing.sim.world`` and ``testing.sim.seeds``; what became of it is judged by ``testing.sim.quotas``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random
from typing import Any

import msgspec
from msgspec import UNSET, structs

from headrace.control.changes.limits import DeleteLimit, PauseLimit, PutLimit
from headrace.control.changes.named import NamedChange
from headrace.core.limits import limit_of
from headrace.model.definition import Concurrency, JobDefinition, Task
from headrace.model.limits import LIMIT, Limit, LimitBody
from headrace.store.port import Reader

Tell = Callable[[NamedChange], Awaitable[bool]]

TAKES: tuple[dict[str, int], ...] = ({"desk": 1}, {"desk": 2}, {"mail": 1}, {"seat": 1}, {"desk": 1, "mail": 1})
WHO = ("ann", "bob")
OWN_KEY = "${params.who}"

ENOUGH = {
    "desk": LimitBody(slots=2),
    "mail": LimitBody(rate="10/1s", burst=2),
    "seat": LimitBody(slots=1, key=OWN_KEY),
}
"""With these, everything that is asked for begins in the end, one after the other."""


def limited(dice: Random, job: JobDefinition) -> JobDefinition:
    """The job, or one like it whose tasks take from limits, or of which only so many runs may be there at once."""
    if dice.random() < 0.3:
        rule = Concurrency(
            max=dice.randint(1, 2),
            key=OWN_KEY if dice.random() < 0.5 else UNSET,
            when_full=dice.choice(("queue", "queue", "skip", "replace")),
        )
        job = structs.replace(job, concurrency=rule)
    if dice.random() < 0.35:
        takes = dice.choice(TAKES)
        job = structs.replace(job, tasks=[_taking(t, takes) if dice.random() < 0.7 else t for t in job.tasks])
    return job


def _taking(task: Task, takes: dict[str, int]) -> Task:
    return task if task.command is UNSET else structs.replace(task, limits=takes)


def params_of(dice: Random, job: JobDefinition) -> bytes:
    """What a run of it is given: keys are counted by it."""
    if job.concurrency is UNSET and not any(task.limits for task in job.tasks):
        return b"{}"
    return msgspec.json.encode({"who": dice.choice(WHO)})


def some_limit(dice: Random, name: str) -> LimitBody:
    """Another number for it, sometimes one with which nothing begins."""
    if name == "desk":
        return LimitBody(slots=dice.choice((0, 1, 2, 2, 3, 4)))
    if name == "seat":
        return LimitBody(slots=dice.randint(1, 2), key=dice.choice((OWN_KEY, "${index}", None)))
    rate = LimitBody(rate=f"{dice.randint(4, 12)}/1s", burst=dice.randint(1, 4))
    return rate if dice.random() < 0.7 else structs.replace(rate, slots=dice.randint(1, 3))


def put(name: str, body: LimitBody) -> PutLimit:
    """The limit is this from now on."""
    return PutLimit(name, limit_of(body))


async def change_limits(dice: Random, tell: Tell, *, pause_s: float, over: Callable[[], bool]) -> None:
    """Somebody who is never content with the limits."""
    for name in ENOUGH:
        await tell(put(name, some_limit(dice, name)))
    while not over():
        await asyncio.sleep(dice.uniform(0, pause_s))
        name, what = dice.choice(list(ENOUGH)), dice.random()
        if what < 0.5:
            await tell(put(name, some_limit(dice, name)))
        elif what < 0.8:
            await tell(PauseLimit(name, True, "not now"))
            await asyncio.sleep(dice.uniform(0, 2))
            if dice.random() < 0.8:
                await tell(PauseLimit(name, False))
        else:
            await tell(DeleteLimit(name))
            await asyncio.sleep(dice.uniform(0, 1))
            if dice.random() < 0.8:
                await tell(put(name, some_limit(dice, name)))


async def mend_limits(reader: Reader, tell: Tell) -> None:
    """What would keep work waiting for ever is mended, and nothing else: the rest must go on by itself."""
    rows = {row.name: row for row in await reader.entities(LIMIT)}
    for name, body in ENOUGH.items():
        row = rows.get(name)
        limit = None if row is None else msgspec.msgpack.decode(row.image, type=Limit)
        if limit is None or (limit.slots is not None and limit.slots < (body.slots or 1)):
            await tell(put(name, body))
        if limit is not None and limit.paused:
            await tell(PauseLimit(name, False))


def leaf_rules(number: int, document: dict[str, Any]) -> dict[str, Any]:
    """The same for a job that others run as a child."""
    if number == 0:
        return document | {"concurrency": {"max": 2}}
    if number == 1:
        return document | {"tasks": [task | {"limits": {"desk": 1}} for task in document["tasks"]]}
    return document
