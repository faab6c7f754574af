"""Huey on Redis: consumer with 2 processes, results kept."""

from __future__ import annotations

import os
import time
from typing import Any

import common
from huey import RedisHuey

queue = RedisHuey("bench", url=os.environ["BENCH_REDIS"], results=True)


@queue.task()
def noop() -> int:
    return os.getpid()


@queue.task()
def clock() -> int:
    return time.monotonic_ns()


@queue.task()
def true() -> int:
    common.true()
    return os.getpid()


@queue.task()
def link(before: int) -> int:
    return before + 1


def _work() -> None:
    queue.storage.flush_all()
    common.start(common.BIN / "huey_consumer", "peer_huey.queue", "-k", "process", "-w", 2, "-q")
    noop()(blocking=True, timeout=30)


def _batch(task: Any, count: int) -> dict[str, float]:
    _work()
    begun = time.perf_counter()
    results = [task() for _ in range(count)]
    common.until(lambda: queue.result_count() >= count)
    values = common.rate(count, begun)
    pids = [r(blocking=True, timeout=10) for r in results]
    common.check(set(pids), sum(p > 0 for p in pids), count)
    return values


def latency(count: int) -> dict[str, float]:
    _work()
    return common.latencies(count, lambda: clock()(blocking=True, timeout=30, backoff=1, max_delay=0.002))


def chain(length: int) -> dict[str, float]:
    _work()
    for _ in range(2):
        pipe = link.s(0)
        for _ in range(length - 1):
            pipe = pipe.then(link)
        begun = time.perf_counter()
        last = queue.enqueue(pipe)[-1](blocking=True, timeout=60, backoff=1, max_delay=0.002)
        seconds = time.perf_counter() - begun
    if last != length:
        raise SystemExit(f"the chain ended with {last}")
    return {"s": seconds}


def idle(seconds: int) -> dict[str, float]:
    _work()
    [noop() for _ in range(200)][-1](blocking=True, timeout=30)
    return common.idle(seconds, int(queue.storage.conn.info("server")["process_id"]))


def main() -> None:
    words = {"batch": lambda n: _batch(noop, n), "true": lambda n: _batch(true, n)}
    words |= {"latency": latency, "chain": chain, "idle": idle}
    common.run("huey", words, "Redis without persistence, 2 processes, results kept")


if __name__ == "__main__":
    import peer_huey  # tasks are known by their module's name: it must be the one that the consumer imports

    peer_huey.main()
