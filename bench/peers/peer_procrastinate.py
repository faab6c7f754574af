"""Procrastinate on PostgreSQL: 2 worker processes of concurrency 20, one enqueue a task (batch_defer for the batch)."""

from __future__ import annotations

import asyncio
import os
import sys
import time

import common
import procrastinate

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["BENCH_POSTGRES"]))
DONE = "select count(*) as n from procrastinate_jobs where status = 'succeeded'"


@app.task(name="noop")
async def noop() -> None:
    pass


@app.task(name="clock")
async def clock() -> None:
    common.tell()


@app.task(name="true")
async def true() -> None:
    process = await asyncio.create_subprocess_exec("/bin/true")
    await process.wait()


async def work() -> None:
    """One worker process."""
    async with app.open_async():
        await app.run_worker_async(concurrency=20, listen_notify=True)


async def _done(number: int) -> None:
    deadline = time.monotonic() + common.PATIENCE_S
    while (await app.connector.execute_query_one_async(DONE))["n"] < number:
        if time.monotonic() > deadline:
            raise SystemExit("not done in time")
        await asyncio.sleep(0.02)


async def _start() -> None:
    await app.schema_manager.apply_schema_async()
    for _ in range(2):
        common.start(sys.executable, __file__, "work", 0)
    await noop.batch_defer_async(*[{}] * 20)
    await _done(20)


def batch(task: procrastinate.tasks.Task, count: int) -> dict[str, float]:
    async def go() -> dict[str, float]:
        async with app.open_async():
            await _start()
            begun = time.perf_counter()
            for n in common.chunks(count, 100):
                await task.batch_defer_async(*[{}] * n)
            await _done(20 + count)
            return common.rate(count, begun)

    return asyncio.run(go())


def latency(count: int) -> dict[str, float]:
    ear = common.Ear()
    runner = asyncio.Runner()
    runner.run(app.open_async().__aenter__())
    runner.run(_start())

    def once() -> int:
        runner.run(clock.defer_async())
        return ear.hear()

    return common.latencies(count, once)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        asyncio.run(work())
    words = {"batch": lambda n: batch(noop, n), "true": lambda n: batch(true, n), "latency": latency}
    common.run("procrastinate", words, "PostgreSQL, synchronous_commit on, 2 processes of concurrency 20, 100 a defer")
