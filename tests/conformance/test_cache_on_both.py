"""The result cache on both stores: the work of one run is found by the next."""

from __future__ import annotations

import asyncio
import random

from msgspec import structs
from tests.conformance.both_stores import Fresh
from tests.control.ledger_world import ALICE, FreeRoom, HandClock, settle

from headrace.control.graphs import Graphs
from headrace.control.ledger import Ledger
from headrace.core.work import Command, Dispatch
from headrace.model.cells import RunInput
from headrace.model.changes import Submit
from headrace.model.definition import Cache, JobDefinition, Task
from headrace.model.states import RunState
from headrace.store.port import Store

JOB = JobDefinition(name="cached", tasks=[Task(name="t", command=["true"], cache=Cache(for_="1h"))])


def test_a_result_is_found_again_whatever_its_size(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        commands: list[Command] = []
        ledger = Ledger(
            store, Graphs(store.reader), clock=HandClock(), dice=random.Random(1), room=FreeRoom(),
            on_commands=commands.extend,
        )  # fmt: skip
        working = asyncio.ensure_future(ledger.run())
        graph, results = await ledger.keep(JOB), [b'"small"', b'"' + b"x" * 5_000 + b'"']
        run = 100
        for result in results:
            params = b'{"n": %d}' % len(result)
            await ledger.ask(Submit(RunInput(run, graph, None, None, 1, params)), ALICE)
            (order,) = [c for c in commands if isinstance(c, Dispatch) and c.key[0] == run]
            # An hour is counted from the end that the attempt told.
            now = ledger._clock.now()
            await ledger.ask(structs.replace(settle(order, result=result), started_at=now, ended_at=now), ALICE)
            await ledger.ask(Submit(RunInput(run + 1, graph, None, None, 1, params)), ALICE)
            row = await store.reader.run(run + 1)
            while row is None or row.cell.state != RunState.succeeded:
                await asyncio.sleep(0)
                row = await store.reader.run(run + 1)
            found = await store.reader.value((run + 1, 0, -1))
            assert found is not None
            assert found.data == result
            run += 2
        working.cancel()

    fresh.run(body)
