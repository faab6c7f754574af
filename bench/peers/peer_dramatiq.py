"""Dramatiq on Redis: 2 processes of 8 threads, results kept."""

from __future__ import annotations

import os
import time
from typing import Any

import common
import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

backend = RedisBackend(url=os.environ["BENCH_REDIS"], use_namespace_prefix_keys=True)
broker = RedisBroker(url=os.environ["BENCH_REDIS"])
broker.add_middleware(Results(backend=backend))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop() -> int:
    return os.getpid()


@dramatiq.actor(store_results=True)
def clock() -> int:
    return time.monotonic_ns()


@dramatiq.actor(store_results=True)
def true() -> int:
    common.true()
    return os.getpid()


@dramatiq.actor(store_results=True)
def link(before: int) -> int:
    return before + 1


def _work() -> None:
    broker.client.flushall()
    common.start(common.BIN / "dramatiq", "peer_dramatiq", "-p", 2, "-t", 8)
    noop.send().get_result(block=True, timeout=30_000)
    broker.client.delete(*broker.client.keys("dramatiq-results*"))


def _results() -> int:
    return sum(1 for _ in broker.client.scan_iter(match="dramatiq-results*", count=20_000))


def _batch(actor: Any, count: int) -> dict[str, float]:
    _work()
    begun = time.perf_counter()
    sent = [actor.send() for _ in range(count)]
    common.until(lambda: _results() >= count, pause=0.03)
    values = common.rate(count, begun)
    pids = [m.get_result(block=True, timeout=10_000) for m in sent]
    common.check(set(pids), sum(p > 0 for p in pids), count)
    return values


def latency(count: int) -> dict[str, float]:
    _work()
    return common.latencies(count, lambda: clock.send().get_result(block=True, timeout=30_000))


def chain(length: int) -> dict[str, float]:
    _work()
    for _ in range(2):
        pipe = dramatiq.pipeline([link.message(0), *(link.message() for _ in range(length - 1))])
        begun = time.perf_counter()
        last = pipe.run().get_result(block=True, timeout=60_000)
        seconds = time.perf_counter() - begun
    if last != length:
        raise SystemExit(f"the chain ended with {last}")
    return {"s": seconds}


def idle(seconds: int) -> dict[str, float]:
    _work()
    [noop.send() for _ in range(200)][-1].get_result(block=True, timeout=30_000)
    return common.idle(seconds, int(broker.client.info("server")["process_id"]))


if __name__ == "__main__":
    words = {"batch": lambda n: _batch(noop, n), "true": lambda n: _batch(true, n)}
    words |= {"latency": latency, "chain": chain, "idle": idle}
    common.run("dramatiq", words, "Redis without persistence, 2 processes of 8 threads, results kept")
