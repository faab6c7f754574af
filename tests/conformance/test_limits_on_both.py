"""What is held of limits follows from the attempts on both stores, also where a limit counts by another key since."""

from __future__ import annotations

import asyncio
import random

from tests.conformance.both_stores import Fresh
from tests.control.ledger_world import ALICE, FreeRoom, HandClock

from headrace.control.changes.limits import PutLimit
from headrace.control.graphs import Graphs
from headrace.control.ledger import Ledger
from headrace.core.limits import limit_of
from headrace.core.work import Command, Dispatch
from headrace.model.cells import RunInput
from headrace.model.changes import Claim, Lose, Submit
from headrace.model.definition import Concurrency, JobDefinition, Task
from headrace.model.limits import LimitBody
from headrace.store.port import Store

JOB = JobDefinition(name="calls", tasks=[Task(name="t", command=["true"], limits={"crm": 1})])
ONE_A_KEY = JobDefinition(
    name="gated", tasks=[Task(name="t", command=["true"])], concurrency=Concurrency(max=1, key="${params.who}")
)


def test_a_lost_attempt_gives_back_what_it_took_though_the_limit_counts_by_another_key_since(fresh: Fresh) -> None:
    """Found by simulation: the row of the old key stayed, because the task's cell named the new one by then."""

    async def body(store: Store) -> None:
        commands: list[Command] = []
        ledger = Ledger(
            store, Graphs(store.reader), clock=HandClock(), dice=random.Random(1), room=FreeRoom(),
            on_commands=commands.extend,
        )  # fmt: skip
        working = asyncio.ensure_future(ledger.run())
        graph, claim = await ledger.keep(JOB), Claim(1, 0, -1, ("crm",))
        await ledger.change(PutLimit("crm", limit_of(LimitBody(slots=1))), ALICE)
        await ledger.ask(Submit(RunInput(1, graph, None, None, 1, b'{"who":"ann"}')), ALICE)
        await ledger.ask(claim, ALICE)
        assert [holder.key for holder in await store.reader.holders("crm")] == [""]
        await ledger.change(PutLimit("crm", limit_of(LimitBody(slots=1, key="${params.who}"))), ALICE)
        (order,) = [c for c in commands if isinstance(c, Dispatch)]
        await ledger.ask(Lose(1, 0, -1, order.epoch, "gone"), ALICE)
        cell = await store.reader.task((1, 0, -1))
        assert cell is not None
        assert cell.more is not None
        assert cell.more.takes == (("crm", "ann", 1),), "it is ready again, and counts by the new key"
        assert await store.reader.holders("crm") == []
        await ledger.ask(claim, ALICE)
        assert [holder.key for holder in await store.reader.holders("crm")] == ["ann"]
        working.cancel()

    fresh.run(body)


def test_the_first_that_wait_at_some_gates_are_given_in_order_and_gates_of_none_left_out(fresh: Fresh) -> None:
    async def body(store: Store) -> None:
        ledger = Ledger(
            store, Graphs(store.reader), clock=HandClock(), dice=random.Random(1), room=FreeRoom(),
            on_commands=lambda _: None,
        )  # fmt: skip
        working = asyncio.ensure_future(ledger.run())
        graph = await ledger.keep(ONE_A_KEY)
        runs = [(1, "a", 0), (2, "b", 0), (3, "a", 0), (4, "a", 9), (5, "a", 0), (6, "b", 0), (7, "c", 0)]
        for run, who, priority in runs:
            params = b'{"who":"%s"}' % who.encode()
            await ledger.ask(Submit(RunInput(run, graph, None, None, 1, params, priority=priority)), ALICE)
        gates = [(f"job:{ONE_A_KEY.name}", key) for key in ("b", "a", "c", "d")]
        assert await store.reader.first_waiting(gates, 2) == {gates[1]: [4, 3], gates[0]: [6]}
        assert await store.reader.first_waiting([], 2) == {}
        working.cancel()

    fresh.run(body)
