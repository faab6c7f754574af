"""PgQueuer on PostgreSQL: 2 worker processes, batch 200, enqueued 100 a call; its log table keeps what was done."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from datetime import timedelta

import asyncpg
import common
from pgqueuer import PgQueuer
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

DONE = "select count(*) from pgqueuer_log where status = 'successful'"


async def work() -> None:
    """One worker process."""
    pgq = PgQueuer.from_asyncpg_connection(await asyncpg.connect(os.environ["BENCH_POSTGRES"]))

    @pgq.entrypoint("noop")
    async def noop(job: object) -> None:
        pass

    @pgq.entrypoint("clock")
    async def clock(job: object) -> None:
        common.tell()

    @pgq.entrypoint("true")
    async def true(job: object) -> None:
        process = await asyncio.create_subprocess_exec("/bin/true")
        await process.wait()

    await pgq.run(batch_size=200, dequeue_timeout=timedelta(seconds=5))


def start(workers: int = 2) -> None:
    """Install the tables, start the workers, see one job through."""

    async def install() -> None:
        connection = await asyncpg.connect(os.environ["BENCH_POSTGRES"])
        await Queries(AsyncpgDriver(connection)).install()
        await connection.close()

    asyncio.run(install())
    for _ in range(workers):
        common.start(sys.executable, __file__, "work", 0)


def batch(name: str, count: int, size: int = 100) -> dict[str, float]:
    start()

    async def go() -> dict[str, float]:
        connection = await asyncpg.connect(os.environ["BENCH_POSTGRES"])
        watch = await asyncpg.connect(os.environ["BENCH_POSTGRES"])
        queries = Queries(AsyncpgDriver(connection))

        async def done(number: int) -> None:
            deadline = time.monotonic() + common.PATIENCE_S
            while await watch.fetchval(DONE) < number:
                if time.monotonic() > deadline:
                    raise SystemExit("not done in time")
                await asyncio.sleep(0.02)

        await queries.enqueue(["noop"] * 200, [None] * 200, [0] * 200)
        await done(200)
        begun = time.perf_counter()
        for n in common.chunks(count, size):
            await queries.enqueue([name] * n, [None] * n, [0] * n)
        await done(200 + count)
        return common.rate(count, begun)

    return asyncio.run(go())


def latency(count: int) -> dict[str, float]:
    start()
    ear = common.Ear()
    runner = asyncio.Runner()
    connection = runner.run(asyncpg.connect(os.environ["BENCH_POSTGRES"]))
    queries = Queries(AsyncpgDriver(connection))

    def once() -> int:
        runner.run(queries.enqueue("clock", None))
        return ear.hear()

    return common.latencies(count, once)


if __name__ == "__main__":
    if sys.argv[1] == "work":
        asyncio.run(work())
    words = {"batch": lambda n: batch("noop", n), "true": lambda n: batch("true", n), "latency": latency}
    common.run("pgqueuer", words, "PostgreSQL, synchronous_commit on, 2 async processes, batch 200, 100 an enqueue")
