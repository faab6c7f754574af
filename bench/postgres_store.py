"""The PostgreSQL store alone: runs a second through the writer, and what three writers do to each other.

Life cycle: one-task runs in groups; three commits each (submitted and dispatched; ended; history with every commit).
Contention: three processes, each committing groups of 40 changes drawn from the same 400 live runs.
Usage: ``python bench/postgres_store.py [--dsn ...] [--runs 30000] [--group 500] [--seconds 6]``; without ``--dsn`` it
starts a server of its own in the temporary folder.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path

from lab.own_postgres import apart, arguments, database
from msgspec.structs import replace

from headrace.model.cells import RunCell, RunInput, TaskCell
from headrace.model.errors import Busy
from headrace.model.facts import RunEnded, RunSubmitted, TaskDispatched, TaskEnded, TaskStarted
from headrace.model.ids import RUN_ITSELF
from headrace.model.states import RunState, TaskState
from headrace.store.postgres.store import PostgresStore, open_store
from headrace.store.rows import Batch, CommitRow, HistoryRow, NewRun

NOW = 1_790_000_000_000_000


def submitted(first: int, count: int, commit: int) -> Batch:
    batch = Batch(at=NOW, commits=[CommitRow(commit, NOW, 1, "bench", "bench")])
    for run in range(first, first + count):
        cell = RunCell(run, 1, RunState.running, 1, left=1, live=1, created_at=NOW, started_at=NOW)
        task = TaskCell(run, 0, state=TaskState.dispatched, version=1, attempt=1, epoch=2**40 + 1, agent=1, boot=1)
        batch.new_runs.append(NewRun(RunInput(run, 1, "noop", 1, NOW), cell))
        batch.new_tasks.append(task)
        facts = (RunSubmitted(), TaskDispatched(no=0, attempt=1, epoch=2**40 + 1, agent=1))
        batch.history.append(HistoryRow(run, RUN_ITSELF, -1, 1, NOW, commit, facts, cell, task))
    return batch


def changed(runs: dict[int, RunCell], tasks: list[TaskCell], commit: int, *, end: bool) -> Batch:
    batch = Batch(at=NOW, commits=[CommitRow(commit, NOW, 1, "bench", "bench")])
    state, run_state = (TaskState.succeeded, RunState.succeeded) if end else (TaskState.running, RunState.running)
    for task in tasks:
        new = replace(task, state=state, version=task.version + 1, started_at=NOW, ended_at=NOW if end else 0)
        old = runs[task.run]
        cell = replace(old, state=run_state, version=old.version + 1, left=0 if end else 1, ended_at=NOW if end else 0)
        batch.tasks.append(new)
        batch.runs.append(cell)
        facts = (
            (TaskEnded(no=0, state=state, attempt=1), RunEnded(state=run_state))
            if end
            else (TaskStarted(no=0, at=NOW),)
        )
        batch.history.append(HistoryRow(task.run, RUN_ITSELF, -1, cell.version, NOW, commit, facts, cell, new))
    return batch


async def change(store: PostgresStore, ids: list[int], commit: int, *, end: bool) -> int:
    writer = store.writer
    await writer.begin()
    runs, _ = await writer.lock_runs(ids)
    tasks = await writer.load_tasks([(run, 0, -1) for run in runs])
    if tasks:
        await writer.write(changed(runs, tasks, commit, end=end))
        await writer.commit()
    else:
        await writer.rollback()
    return len(tasks)


def cpu(pid: int) -> float:
    """Seconds of CPU of a process on this machine."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def life_cycle(dsn: str, total: int, group: int) -> tuple[float, float, float]:
    """(runs a second, CPU µs a run here, CPU µs a run in the server's backend)."""
    store = await open_store(dsn)
    first = await store.reserve_ids("run", total)
    commit = await store.reserve_ids("commit", 3 * total)
    backend = store.writer._backend
    ours, theirs = cpu(os.getpid()), cpu(backend)
    begun = time.perf_counter()
    for start in range(first, first + total, group):
        ids = list(range(start, start + group))
        await store.writer.begin()
        await store.writer.write(submitted(start, group, commit))
        await store.writer.commit()
        await change(store, ids, commit + 1, end=False)
        await change(store, ids, commit + 2, end=True)
        commit += 3
    took = time.perf_counter() - begun
    ours, theirs = cpu(os.getpid()) - ours, cpu(backend) - theirs
    await store.close()
    return total / took, ours / total * 1e6, theirs / total * 1e6


async def contend(dsn: str, seconds: float, seed: int, live: list[int]) -> tuple[int, int, float]:
    """(changes, errors, worst group in seconds)."""
    store = await open_store(dsn)
    dice = random.Random(seed)
    commit = await store.reserve_ids("commit", 1_000_000)
    changes = errors = 0
    worst = 0.0
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        commit += 1
        try:
            changes += await change(store, dice.sample(live, 40), commit, end=False)
        except Busy:
            errors += 1
            await store.writer.rollback()
        worst = max(worst, time.perf_counter() - begun)
    await store.close()
    return changes, errors, worst


def one_writer(dsn: str, seconds: float, seed: int, live: list[int]) -> tuple[int, int, float]:
    return asyncio.run(contend(dsn, seconds, seed, live))


async def seeded(dsn: str, count: int) -> list[int]:
    store = await open_store(dsn)
    first = await store.reserve_ids("run", count)
    await store.writer.begin()
    await store.writer.write(submitted(first, count, await store.reserve_ids("commit", 1)))
    await store.writer.commit()
    await store.close()
    return list(range(first, first + count))


def main() -> None:
    options = arguments(__doc__)
    options.add_argument("--runs", type=int, default=30_000)
    options.add_argument("--group", type=int, default=500)
    options.add_argument("--seconds", type=float, default=6.0)
    given = options.parse_args()
    with database(given.dsn) as dsn:
        rate, ours, theirs = asyncio.run(life_cycle(dsn, given.runs, given.group))
        print(f"life cycle, groups of {given.group}: {rate:,.0f} runs/s; CPU {ours:.0f} + {theirs:.0f} µs a run")
        live = asyncio.run(seeded(dsn, 400))
        done = apart(one_writer, [(dsn, given.seconds, seed, live) for seed in range(3)])
        changes, errors, worst = sum(d[0] for d in done), sum(d[1] for d in done), max(d[2] for d in done)
        print(
            f"3 writers, 40 of 400: {changes / given.seconds:,.0f} changes/s, {errors} refused, "
            f"worst group {worst * 1000:.0f} ms"
        )


if __name__ == "__main__":
    main()
