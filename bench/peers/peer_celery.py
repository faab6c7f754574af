"""Celery on Redis: prefork 2, prefetch 64, acks early, results kept."""

from __future__ import annotations

import os
import time
from typing import Any

import celery
import common
import redis

app = celery.Celery("peer_celery", broker=os.environ["BENCH_REDIS"], backend=os.environ["BENCH_REDIS"])
app.conf.worker_prefetch_multiplier = 64
app.conf.broker_connection_retry_on_startup = True


@app.task
def noop() -> int:
    return os.getpid()


@app.task
def clock() -> int:
    return time.monotonic_ns()


@app.task
def true() -> int:
    common.true()
    return os.getpid()


@app.task
def link(before: int) -> int:
    return before + 1


def _work() -> redis.Redis:
    store = redis.Redis.from_url(os.environ["BENCH_REDIS"])
    store.flushall()
    words = [
        "-A",
        "peer_celery",
        "worker",
        "-P",
        "prefork",
        "-c",
        2,
        "-l",
        "ERROR",
        "--without-gossip",
        "--without-mingle",
    ]
    common.start(common.BIN / "celery", *words)
    noop.delay().get(timeout=60)
    store.delete(*store.keys("celery-task-meta-*"))
    return store


def _batch(task: Any, count: int) -> dict[str, float]:
    store = _work()
    begun = time.perf_counter()
    results = [task.delay() for _ in range(count)]
    common.until(lambda: sum(1 for _ in store.scan_iter(match="celery-task-meta-*", count=20_000)) >= count, pause=0.03)
    values = common.rate(count, begun)
    pids = [r.get(timeout=30) for r in results]
    common.check(set(pids), sum(p > 0 for p in pids), count)
    return values


def latency(count: int) -> dict[str, float]:
    _work()
    return common.latencies(count, lambda: clock.delay().get(timeout=30))


def chain(length: int) -> dict[str, float]:
    _work()
    for _ in range(2):
        begun = time.perf_counter()
        last = celery.chain(link.s(0), *(link.s() for _ in range(length - 1)))().get(timeout=60)
        seconds = time.perf_counter() - begun
    if last != length:
        raise SystemExit(f"the chain ended with {last}")
    return {"s": seconds}


def idle(seconds: int) -> dict[str, float]:
    store = _work()
    [noop.delay() for _ in range(200)][-1].get(timeout=30)
    return common.idle(seconds, int(store.info("server")["process_id"]))


if __name__ == "__main__":
    words = {"batch": lambda n: _batch(noop, n), "true": lambda n: _batch(true, n)}
    words |= {"latency": latency, "chain": chain, "idle": idle}
    common.run("celery", words, "Redis without persistence, prefork 2, prefetch 64, acks early, results kept")
