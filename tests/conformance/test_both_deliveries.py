"""Feeds on both stores: what a commit writes is one row a key, however often the feed names it."""

from __future__ import annotations

import asyncio
import random

from tests.conformance.both_stores import Fresh
from tests.control.ledger_world import ALICE, FreeRoom, HandClock, settle

from headrace.control.changes.agents import AgentHello
from headrace.control.changes.result import Result
from headrace.control.delivery import Delivery
from headrace.control.graphs import Graphs
from headrace.control.ledger import Ledger
from headrace.core.work import Command, Dispatch
from headrace.model.cells import RunInput
from headrace.model.changes import Submit
from headrace.model.definition import JobDefinition, Task
from headrace.store.port import Store
from headrace.store.rows import ArtifactRow

JOB = JobDefinition(name="one", tasks=[Task(name="t", command=["true"])])


def test_an_outcome_that_is_told_twice_leaves_its_files_once(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        commands: list[Command] = []
        ledger = Ledger(
            store, Graphs(store.reader), clock=HandClock(), dice=random.Random(1), room=FreeRoom(),
            on_commands=commands.extend,
        )  # fmt: skip
        working = asyncio.ensure_future(ledger.run())
        await ledger.change(AgentHello("a", "b1", 1), ALICE)
        await ledger.ask(Submit(RunInput(1, await ledger.keep(JOB), None, None, 1)), ALICE)
        (order,) = [c for c in commands if isinstance(c, Dispatch)]
        told = settle(order)
        files = {(1, 0, -1, told.epoch): [ArtifactRow(1, 0, -1, "out", "1" * 64, 1)]}
        for _ in range(2):
            found = await ledger.deliver(Delivery(1, "a", 1, "b1", 1, [told, told], [], files))
            assert [isinstance(answer, Result) for answer in found] == [True, True]
        assert [a.digest for a in await store.reader.artifacts(1)] == ["1" * 64]
        working.cancel()

    fresh.run(body)
