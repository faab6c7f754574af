"""Three ledgers in three processes on one PostgreSQL: groups of 40 changes over 400 live runs.

Each outcome is told to one ledger, drawn at random, so that all of them want the same runs at the same time. Told:
changes a second, the time of a group from asking to its commit (median, p99, worst), deadlocks as the server counts
them. What is told is proved: every run has succeeded. Usage: ``python bench/postgres_ledgers.py [--dsn ...]``; without
``--dsn`` it starts a server of its own in the temporary folder, on disk.
"""

from __future__ import annotations

import argparse
import asyncio
import multiprocessing
import random
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import psycopg

from headrace.control.clock import SystemClock
from headrace.control.graphs import Graphs
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.core.work import Command, Dispatch, Offer
from headrace.model.cells import RunInput
from headrace.model.changes import Origin, OutcomeKind, Settle, Submit
from headrace.model.definition import JobDefinition, Task
from headrace.store.postgres.store import PostgresStore, open_store

ALICE = Origin("alice", "bench")
LEDGERS, RUNS, GROUP = 3, 400, 40


class Room:
    """An agent that can take anything."""

    waiting: frozenset[int] = frozenset()

    def offers(self) -> list[Offer]:
        """The one agent."""
        return [Offer(agent=1, boot=1, free=1_000_000, slots=8)]


def ledger_on(store: PostgresStore, commands: list[Command], node: int) -> Ledger:
    """A ledger as a node has it."""
    return Ledger(
        store,
        Graphs(store.reader),
        clock=SystemClock(),
        dice=random.Random(node),
        room=Room(),
        on_commands=commands.extend,
        node=node,
    )


async def submitted(dsn: str, tasks: int) -> list[Settle]:
    """RUNS runs whose tasks are all out, and the outcomes that are owed."""
    commands: list[Command] = []
    store = await open_store(dsn)
    ledger = ledger_on(store, commands, 9)
    working = asyncio.ensure_future(ledger.run())
    graph = await ledger.keep(
        JobDefinition(name="wide", tasks=[Task(name=f"t{n}", command=["true"]) for n in range(tasks)])
    )
    first = await Ids(store, "run").take(RUNS)
    await ledger.ask_many([Submit(RunInput(first + n, graph, None, None, 1)) for n in range(RUNS)], ALICE)
    working.cancel()
    await store.close()
    given = [c for c in commands if isinstance(c, Dispatch)]
    return [
        Settle(*d.key, d.epoch, OutcomeKind.succeeded, 1, 2, "0", 0, digest=b"1:%d" % m) for m, d in enumerate(given)
    ]


async def work(dsn: str, node: int, mine: list[Settle]) -> tuple[list[float], int]:
    """The seconds of each group, and how many changes had to wait for another ledger."""
    store = await open_store(dsn)
    ledger = ledger_on(store, [], node)
    working = asyncio.ensure_future(ledger.run())
    times = []
    for at in range(0, len(mine), GROUP):
        began = time.perf_counter()
        answers = await ledger.ask_many(mine[at : at + GROUP], ALICE)
        times.append(time.perf_counter() - began)
        for answer in answers:
            if isinstance(answer, Exception):
                raise SystemExit(f"an outcome was refused: {answer}")
    working.cancel()
    await store.close()
    return times, ledger.counters.deferred


def one(dsn: str, node: int, mine: list[Settle]) -> tuple[list[float], int]:
    """A process."""
    return asyncio.run(work(dsn, node, mine))


def prove(dsn: str) -> int:
    """Every run has succeeded; gives the deadlocks that the server has counted."""
    with psycopg.connect(dsn) as conn:
        states = conn.execute("select state, count(*) from headrace.run group by state").fetchall()
        row = conn.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    if states != [(4, RUNS)] or row is None:
        raise SystemExit(f"not every run has succeeded: {states}")
    return int(row[0])


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dsn")
    parser.add_argument("--tasks", type=int, default=30)
    args = parser.parse_args()
    with ExitStack() as stack:
        dsn = args.dsn
        if dsn is None:
            sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "conformance"))
            from postgres_server import running_server

            dsn = stack.enter_context(running_server(on_disk=True)).fresh()
        owed = asyncio.run(submitted(dsn, args.tasks))
        random.Random(7).shuffle(owed)
        parts = [(dsn, node, owed[node::LEDGERS]) for node in range(LEDGERS)]
        with multiprocessing.get_context("spawn").Pool(LEDGERS) as pool:
            pool.starmap(one, [(dsn, node, []) for node in range(LEDGERS)])
            began = time.perf_counter()
            done = pool.starmap(one, parts)
            took = time.perf_counter() - began
        deadlocks = prove(dsn)
        times = sorted(t * 1000 for part, _ in done for t in part)
        print(f"{LEDGERS} ledgers, groups of {GROUP} over {RUNS} live runs: {len(owed) / took:,.0f} changes/s")
        print(
            f"  a group p50 {times[len(times) // 2]:.1f} ms, p99 {times[int(len(times) * 0.99)]:.1f} ms, worst "
            f"{times[-1]:.1f} ms ({len(times)}); waited for another {sum(d for _, d in done)}; deadlocks {deadlocks}"
        )


if __name__ == "__main__":
    main()
