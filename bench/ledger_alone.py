"""Runs per second through core, ledger and store alone: one process, one core, SQLite FULL on a real disk.

Submits one-task runs in units of ``--unit`` and settles them the same way; no agents, no HTTP. Reads the settings back
from the writing connection, refuses tmpfs, counts rows afterwards. ``--profile`` prints where the time goes.
"""

from __future__ import annotations

import argparse
import asyncio
import cProfile
import pstats
import random
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from headrace.control.graphs import Graphs
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.core.work import Command, Dispatch, Offer
from headrace.model.cells import RunInput
from headrace.model.changes import Change, Origin, OutcomeKind, Settle, Submit
from headrace.model.definition import JobDefinition, Task
from headrace.store.sqlite import open_sqlite

ALICE = Origin("alice", "bench")


class WallClock:
    """The machine's own clocks."""

    def now(self) -> int:
        return time.time_ns() // 1000

    def monotonic(self) -> float:
        return time.monotonic()


class Room:
    """One agent that always has room."""

    waiting: frozenset[int] = frozenset()

    def offers(self) -> list[Offer]:
        return [Offer(agent=1, boot=1, free=1_000_000, slots=8)]


async def measure(folder: Path, runs: int, unit: int, together: int) -> None:
    clock = WallClock()
    store = await open_sqlite(str(folder), clock=clock)
    commands: list[Command] = []
    ledger = Ledger(
        store, Graphs(store.reader), clock=clock, dice=random.Random(7), room=Room(), on_commands=commands.extend
    )
    working = asyncio.ensure_future(ledger.run())
    graph = await ledger.keep(JobDefinition(name="noop", tasks=[Task(name="t", command=["true"])]))
    first = await Ids(store, "run").take(runs)
    submits = [Submit(RunInput(first + i, graph, "noop", 1, clock.now(), actor="alice")) for i in range(runs)]
    began, cpu = time.perf_counter(), time.process_time()
    await _ask(ledger, submits, unit, together)
    submitted, cpu1 = time.perf_counter() - began, time.process_time() - cpu
    given = [c for c in commands if isinstance(c, Dispatch)]
    now = clock.now()
    outcomes = [
        Settle(*d.key, d.epoch, OutcomeKind.succeeded, now, now, "0", 0, digest=b"1:%d" % m)
        for m, d in enumerate(given)
    ]
    began, cpu = time.perf_counter(), time.process_time()
    await _ask(ledger, outcomes, unit, together)
    settled, cpu2 = time.perf_counter() - began, time.process_time() - cpu
    working.cancel()
    counts = await store.reader.counts()
    rows = (await store.reader.statement("history_count", {}))[0][0]
    print(f"settings {store.identity.settings}")
    print(f"units of {unit}, {together} together; groups {ledger.counters.groups}; history rows {rows}; live {counts}")
    await store.close()
    size = sum(file.stat().st_size for file in folder.iterdir() if file.is_file())
    print(f"submit+claim {runs / submitted:9.0f} runs/s   (cpu {cpu1 / runs * 1e6:5.1f} us a run)")
    print(f"settle       {runs / settled:9.0f} runs/s   (cpu {cpu2 / runs * 1e6:5.1f} us a run)")
    print(f"whole        {runs / (submitted + settled):9.0f} runs/s   {size / runs:.0f} bytes a run")


async def _ask(ledger: Ledger, changes: list[Change], unit: int, together: int) -> None:
    """``together`` askers, each with the next unit as soon as its last one is answered."""
    parts = iter([changes[i : i + unit] for i in range(0, len(changes), unit)])

    async def asker() -> None:
        for part in parts:
            if unit == 1:
                await ledger.ask(part[0], ALICE)
            else:
                await ledger.ask_many(part, ALICE)

    await asyncio.gather(*(asker() for _ in range(together)))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=50_000)
    parser.add_argument("--unit", type=int, default=500)
    parser.add_argument("--together", type=int, default=2)
    parser.add_argument("--folder", default=".")
    parser.add_argument("--profile", action="store_true")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-", dir=args.folder))
    try:
        kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout
        if kind.strip() in {"tmpfs", "ramfs"}:
            raise SystemExit(f"{folder} is in memory: give --folder on a real disk")
        profile = cProfile.Profile()
        if args.profile:
            profile.enable()
        asyncio.run(measure(folder, args.runs, args.unit, args.together))
        if args.profile:
            profile.disable()
            pstats.Stats(profile).sort_stats("tottime").print_stats(35)
    finally:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
