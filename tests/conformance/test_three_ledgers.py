"""Three ledgers on one PostgreSQL, as three nodes would be: no deadlock, nothing lost, nothing twice, waiters woken.

Their clocks differ by seconds: time never falls within an entity all the same.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psycopg

from headrace.control.clock import SystemClock
from headrace.control.graphs import Graphs
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.control.node import Node
from headrace.core.work import Command, Dispatch, Offer
from headrace.link.records import Hello
from headrace.model.cells import RunInput
from headrace.model.changes import Cancel, Origin, OutcomeKind, Settle, Submit
from headrace.model.definition import JobDefinition, Task
from headrace.model.errors import LinkError
from headrace.model.ids import RUN_ITSELF
from headrace.model.ports import no_fault
from headrace.model.states import RunState
from headrace.store.port import Store
from headrace.store.postgres.store import open_store
from headrace.store.rows import RunFilter
from headrace.testing.sim.checker import judge

ALICE = Origin("alice", "test")
RUNS, TASKS, GROUP = 400, 6, 40


class Ahead(SystemClock):
    """The clock of a machine that is some seconds ahead of the others."""

    def __init__(self, seconds: int) -> None:
        self._ahead = seconds * 1_000_000

    def now(self) -> int:
        return super().now() + self._ahead


class Room:
    """An agent that can take anything."""

    waiting: frozenset[int] = frozenset()

    def offers(self) -> list[Offer]:
        return [Offer(agent=1, boot=1, free=1_000_000, slots=8)]


@asynccontextmanager
async def ledgers(dsn: str, count: int, commands: list[Command]) -> AsyncIterator[list[Ledger]]:
    """Ledgers with a store and a clock of their own each, at work."""
    stores = [await open_store(dsn) for _ in range(count)]
    made = [
        Ledger(
            store, Graphs(store.reader), clock=Ahead(3 * no), dice=random.Random(no), room=Room(),
            on_commands=commands.extend,
        )
        for no, store in enumerate(stores)
    ]  # fmt: skip
    for no, ledger in enumerate(made, 1):
        ledger.node = no
    working = [asyncio.ensure_future(ledger.run()) for ledger in made]
    try:
        yield made
    finally:
        for task in working:
            task.cancel()
        await asyncio.gather(*working, return_exceptions=True)
        for store in stores:
            await store.close()


def settle(d: Dispatch, m: int) -> Settle:
    return Settle(*d.key, d.epoch, OutcomeKind.succeeded, 1, 2, "0", 0, digest=b"1:%d" % m)


async def submitted(ledger: Ledger, commands: list[Command]) -> list[Settle]:
    """RUNS runs of TASKS tasks that are all out; the outcomes that are owed."""
    graph = await ledger.keep(
        JobDefinition(name="wide", tasks=[Task(name=f"t{n}", command=["true"]) for n in range(TASKS)])
    )
    first = await Ids(ledger._store, "run").take(RUNS)
    await ledger.ask_many([Submit(RunInput(first + n, graph, None, None, 1)) for n in range(RUNS)], ALICE)
    return [settle(d, m) for m, d in enumerate([c for c in commands if isinstance(c, Dispatch)])]


def test_three_ledgers_over_the_same_live_runs_never_deadlock_and_apply_everything_once(postgres_dsn: str) -> None:
    commands: list[Command] = []

    async def work(ledger: Ledger, mine: list[Settle]) -> list[object]:
        answers: list[object] = []
        for at in range(0, len(mine), GROUP):
            answers += await ledger.ask_many(mine[at : at + GROUP], ALICE)
        return answers

    async def main() -> None:
        async with ledgers(postgres_dsn, 3, commands) as nodes:
            owed = await submitted(nodes[0], commands)
            assert len(owed) == RUNS * TASKS
            dice = random.Random(7)
            # Every outcome comes to one node, some come to another one too: "already done" is an answer like any other.
            told = owed + dice.sample(owed, len(owed) // 4)
            dice.shuffle(told)
            answers = await asyncio.gather(*(work(node, told[no::3]) for no, node in enumerate(nodes)))
            assert [a for part in answers for a in part if isinstance(a, Exception)] == []
            assert sum(node.counters.deferred for node in nodes) > 0, "no ledger ever met another one's lock"
            await checked(nodes[0]._store)

    asyncio.run(asyncio.wait_for(main(), 120))
    with psycopg.connect(postgres_dsn) as admin:
        row = admin.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    assert row == (0,)


async def checked(store: Store) -> None:
    """Every run has ended well, and every history is dense and ends once."""
    rows = await store.reader.runs(RunFilter(limit=500))
    assert [(row.cell.state, row.cell.left) for row in rows] == [(RunState.succeeded, 0)] * RUNS
    broken = []
    for row in rows:
        history = await store.reader.history(row.cell.run, no=RUN_ITSELF)
        for no in range(TASKS):
            history += await store.reader.history(row.cell.run, no=no, index=-1)
        broken += judge(history)
        assert sum(1 for h in history if h.no == RUN_ITSELF) == TASKS + 1
    assert broken == []


async def nobody(_hello: Hello) -> None:
    raise LinkError("no agent in this test")


@asynccontextmanager
async def node(dsn: str) -> AsyncIterator[Node]:
    made = Node(await open_store(dsn), clock=SystemClock(), dice=random.Random(1), fault=no_fault)
    await made.start(secret=b"s" * 32, url="http://test", connect=nobody)  # type: ignore[arg-type]  # reason: never called
    try:
        yield made
    finally:
        await made.close()


def test_what_one_node_commits_wakes_those_who_wait_at_another(postgres_dsn: str) -> None:
    """A waiter of node B is woken by the end that A wrote, and B's claim loop by the class that became ready at A."""

    async def main() -> None:
        async with node(postgres_dsn) as a, node(postgres_dsn) as b:
            await b.store.hints.listening.wait()  # type: ignore[attr-defined]  # reason: PostgreSQL's only
            await a.store.hints.listening.wait()  # type: ignore[attr-defined]  # reason: PostgreSQL's only
            definition = JobDefinition(name="one", tasks=[Task(name="t", command=["true"])])
            graph = await a.ledger.keep(definition)
            run = await a.ids.take()
            assert not b.placement.waiting
            await a.ledger.ask(Submit(RunInput(run, graph, None, None, 1)), ALICE)
            while not b.placement.waiting:
                await asyncio.sleep(0)
            heard = b.waiters.subscribe(run)
            await a.ledger.ask(Cancel(run), ALICE)
            await heard
            row = await b.store.reader.run(run)
            assert row is not None
            assert row.cell.state == RunState.canceled

    asyncio.run(asyncio.wait_for(main(), 60))
