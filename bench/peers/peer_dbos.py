"""DBOS on PostgreSQL, in this process, as it is meant to be used: start_workflow, and steps for the chain."""

from __future__ import annotations

import os
import time

import common
import psycopg
from dbos import DBOS, DBOSConfig

config: DBOSConfig = {
    "name": "bench",
    "system_database_url": os.environ["BENCH_POSTGRES"],
    "log_level": "ERROR",
    "notification_listener_polling_interval_sec": 0.01,
}
DBOS(config=config)
DONE = "select count(*) from dbos.workflow_status where status = 'SUCCESS'"


@DBOS.step()
def step() -> int:
    return 1


@DBOS.workflow()
def noop() -> int:
    return 1


@DBOS.workflow()
def clock() -> int:
    return time.monotonic_ns()


@DBOS.workflow()
def true() -> int:
    common.true()
    return 1


@DBOS.workflow()
def steps(length: int) -> int:
    return sum(step() for _ in range(length))


def _start() -> None:
    DBOS.launch()
    for handle in [DBOS.start_workflow(noop) for _ in range(20)]:
        handle.get_result()


def batch(workflow: object, count: int) -> dict[str, float]:
    _start()
    with psycopg.connect(os.environ["BENCH_POSTGRES"], autocommit=True) as watch:
        begun = time.perf_counter()
        for _ in range(count):
            DBOS.start_workflow(workflow)  # type: ignore[arg-type]  # reason: one of the functions above
        common.until(lambda: watch.execute(DONE).fetchone()[0] >= 20 + count)
        return common.rate(count, begun)


def latency(count: int) -> dict[str, float]:
    _start()
    return common.latencies(count, lambda: DBOS.start_workflow(clock).get_result())


def chain(length: int) -> dict[str, float]:
    _start()
    for _ in range(2):
        begun = time.perf_counter()
        total = DBOS.start_workflow(steps, length).get_result()
        seconds = time.perf_counter() - begun
    if total != length:
        raise SystemExit(f"{total} steps")
    return {"s": seconds}


if __name__ == "__main__":
    words = {"batch": lambda n: batch(noop, n), "true": lambda n: batch(true, n), "latency": latency, "chain": chain}
    common.run("dbos", words, "PostgreSQL, synchronous_commit on, in process, start_workflow")
