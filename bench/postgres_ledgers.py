"""Three ledgers in three processes on one PostgreSQL: groups of 40 changes over 400 live runs.

Each outcome is told to one ledger, drawn at random, so that all of them want the same runs at the same time. Told:
changes a second, the time of a group from asking to its commit (median, p99, worst), deadlocks as the server counts
them, and what of the worst group's time its ledger and its server process stood in the queue for a core (as the kernel
tells: on a busy machine that is most of it). What is told is proved: every run has succeeded. Usage:
``python bench/postgres_ledgers.py [--dsn ...] [--tasks 30] [--json]``; without ``--dsn`` it starts a server of its own
in the temporary folder, on disk.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import time
from pathlib import Path

import psycopg
from lab.own_postgres import apart, arguments, database
from lab.rows import quantile
from msgspec import Struct

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


class Took(Struct):
    """Seconds of one group: in all, of this process's CPU, and waiting for a core here and in the server's process."""

    wall: float
    cpu: float
    queued: float


class Room:
    """An agent that can take anything."""

    waiting: frozenset[int] = frozenset()

    def offers(self) -> list[Offer]:
        """The one agent."""
        return [Offer(agent=1, boot=1, free=1_000_000, slots=8)]


def ledger_on(store: PostgresStore, commands: list[Command], seed: int) -> Ledger:
    """A ledger as a node has it."""
    return Ledger(
        store,
        Graphs(store.reader),
        clock=SystemClock(),
        dice=random.Random(seed),
        room=Room(),
        on_commands=commands.extend,
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


def queued(pid: int) -> float:
    """Seconds that a process could have run and had no core."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9


async def work(dsn: str, node: int, begin: float, mine: list[Settle]) -> tuple[float, list[Took], int]:
    """When it was over, each group's times, and how many changes had to wait for another ledger."""
    store = await open_store(dsn)
    ledger = ledger_on(store, [], node)
    working = asyncio.ensure_future(ledger.run())
    pids = os.getpid(), store.writer._backend
    times = []
    await asyncio.sleep(max(0.0, begin - time.time()))
    for at in range(0, len(mine), GROUP):
        began, cpu, waited = time.perf_counter(), time.process_time(), sum(map(queued, pids))
        answers = await ledger.ask_many(mine[at : at + GROUP], ALICE)
        wall, cpu = time.perf_counter() - began, time.process_time() - cpu
        times.append(Took(wall, cpu, sum(map(queued, pids)) - waited))
        for answer in answers:
            if isinstance(answer, Exception):
                raise SystemExit(f"an outcome was refused: {answer}")
    over = time.time()
    working.cancel()
    await store.close()
    return over, times, ledger.counters.deferred


def one(dsn: str, node: int, begin: float, mine: list[Settle]) -> tuple[float, list[Took], int]:
    """A process."""
    return asyncio.run(work(dsn, node, begin, mine))


def prove(dsn: str) -> int:
    """Every run has succeeded; gives the deadlocks that the server has counted."""
    with psycopg.connect(dsn) as conn:
        states = conn.execute("select state, count(*) from headrace.run group by state").fetchall()
        row = conn.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    if states != [(4, RUNS)] or row is None:
        raise SystemExit(f"not every run has succeeded: {states}")
    return int(row[0])


def measure(dsn: str, tasks: int) -> dict[str, float]:
    """One sample."""
    owed = asyncio.run(submitted(dsn, tasks))
    random.Random(7).shuffle(owed)
    begin = time.time() + 3.0  # all three are connected by then
    done = apart(one, [(dsn, node, begin, owed[node::LEDGERS]) for node in range(LEDGERS)])
    took = [each for _, part, _ in done for each in part]
    worst = max(took, key=lambda each: each.wall)
    walls = [each.wall * 1000 for each in took]
    return {
        "rate": len(owed) / (max(over for over, _, _ in done) - begin),
        "p50": quantile(walls, 0.5),
        "p99": quantile(walls, 0.99),
        "worst": worst.wall * 1000,
        "worst queued": worst.queued * 1000,
        "worst cpu": worst.cpu * 1000,
        "deferred": sum(deferred for _, _, deferred in done),
        "groups": len(took),
        "deadlocks": prove(dsn),
    }


def main() -> None:
    """Command line."""
    parser = arguments(__doc__)
    parser.add_argument("--tasks", type=int, default=30)
    parser.add_argument("--json", action="store_true", help="the numbers alone, for the table")
    args = parser.parse_args()
    with database(args.dsn) as dsn:
        told = measure(dsn, args.tasks)
    if args.json:
        print(json.dumps(told))
        return
    print(f"{LEDGERS} ledgers, groups of {GROUP} over {RUNS} live runs: {told['rate']:,.0f} changes/s")
    print(
        "  a group p50 {p50:.1f} ms, p99 {p99:.1f} ms, worst {worst:.1f} ms ({groups}; of the worst {worst queued:.1f} ms "
        "in the queue for a core, {worst cpu:.1f} ms own CPU); waited for another {deferred}; deadlocks {deadlocks}".format(
            **told
        )
    )


if __name__ == "__main__":
    main()
