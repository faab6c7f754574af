"""Limits and gates with three ledgers on one PostgreSQL: never exceeded in any committed state, no deadlock, no leak."""

from __future__ import annotations

import asyncio
import random

import psycopg
from tests.conformance.test_three_ledgers import ALICE, ledgers, settle

from headrace.control.changes.limits import PutLimit
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.core.limits import limit_of
from headrace.core.work import Command, Dispatch
from headrace.model.cells import RunInput
from headrace.model.changes import Admit, Claim, Submit
from headrace.model.definition import Concurrency, JobDefinition, Task
from headrace.model.errors import HeadraceError
from headrace.model.limits import LimitBody
from headrace.model.states import RunState, TaskState
from headrace.store.rows import RunFilter

RUNS, SLOTS, GATE = 36, 4, 3
LIMITED = JobDefinition(name="limited", tasks=[Task(name="t", command=["true"], limits={"a": 1, "b": 2})])
GATED = JobDefinition(
    name="gated", tasks=[Task(name="t", command=["true"], limits={"b": 1})], concurrency=Concurrency(max=GATE)
)


async def work(ledger: Ledger, no: int, runs: list[int], commands: list[Command]) -> int:
    """Claim what is ready, end what is out, let in who waits: at once with the other ledgers, until all has ended.

    Each claims runs of its own, so that nothing but the locks of the limits keeps them apart.
    """
    reader, ended, settled, dice = ledger._store.reader, 0, set(), random.Random(no)
    while ended < len(runs):
        cells = [c for run in runs for c in await reader.tasks(run)]
        ended = sum(cell.state == TaskState.succeeded for cell in cells)
        claims = [Claim(*c.key, tuple(n for n, _, _ in c.more.takes)) for c in cells
                  if c.state == TaskState.ready and c.more is not None and c.run % 6 // 2 == no]  # fmt: skip
        waiting = [run for run, _ in await reader.gate_waiting(("job:gated", ""), 100)]
        out = [c for c in commands if isinstance(c, Dispatch) and (c.key, c.epoch) not in settled]
        mine = dice.sample(out, len(out) // 2 + bool(out))
        changes = [*claims, *(Admit(run, "job:gated", "") for run in waiting), *(settle(d, 1) for d in mine)]
        dice.shuffle(changes)
        for answer in await ledger.ask_many(changes[:40], ALICE):
            assert not isinstance(answer, HeadraceError), answer
        settled |= {(d.key, d.epoch) for d in mine if settle(d, 1) in changes[:40]}
    return ended


def test_three_ledgers_never_exceed_a_limit_or_a_gate_and_never_wait_in_a_circle(postgres_dsn: str) -> None:
    commands: list[Command] = []
    most = {"a": SLOTS, "b": 2 * SLOTS, "job:gated": GATE}
    seen = dict.fromkeys(most, 0)

    async def watch() -> None:
        """Every committed state that can be seen."""
        async with await psycopg.AsyncConnection.connect(postgres_dsn, autocommit=True) as conn:
            while True:
                rows = await conn.execute("select name, sum(units) from headrace.limit_use group by name")
                for name, units in await rows.fetchall():
                    seen[name] = max(seen[name], int(units))
                await asyncio.sleep(0)

    async def main() -> None:
        async with ledgers(postgres_dsn, 3, commands) as nodes:
            first = nodes[0]
            for name, slots in (("a", SLOTS), ("b", 2 * SLOTS)):
                await first.change(PutLimit(name, limit_of(LimitBody(slots=slots))), ALICE)
            graphs = [await first.keep(LIMITED), await first.keep(GATED)]
            begin = await Ids(first._store, "run").take(RUNS)
            runs = [begin + n for n in range(RUNS)]
            submits = [Submit(RunInput(run, graphs[run % 2], None, None, 1)) for run in runs]
            await asyncio.gather(*(node.ask_many(submits[no::3], ALICE) for no, node in enumerate(nodes)))
            watching = asyncio.ensure_future(watch())
            await asyncio.gather(*(work(n, no, runs, commands) for no, n in enumerate(nodes)))
            watching.cancel()
            rows = await first._store.reader.runs(RunFilter(limit=500))
            assert [row.cell.state for row in rows] == [RunState.succeeded] * RUNS
            for name in most:
                assert await first._store.reader.holders(name) == []
            assert await first._store.reader.gates_waiting() == []
            assert sum(node.counters.deferred for node in nodes) > 0, "no ledger ever met another one's lock"

    asyncio.run(asyncio.wait_for(main(), 120))
    assert all(seen[name] <= most[name] for name in most), seen
    assert seen["a"] > 1, "it was never tight"
    with psycopg.connect(postgres_dsn) as admin:
        row = admin.execute("select deadlocks from pg_stat_database where datname = current_database()").fetchone()
    assert row == (0,)
