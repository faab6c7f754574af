"""How long one thing takes on an idle server: submit → start, by raw socket and by our client; a chain of 100."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.rows import Metric, Row, Values, quantile
from lab.up import Broken, Up, python

if TYPE_CHECKING:
    from lab.stage import Stage

PAUSE_S = 0.005
"""Between two submits: the server is idle again."""


def _timed(up: Up, count: int, submit: Callable[[], int]) -> Values:
    """Each run tells on the machine's monotonic clock when it began; the submit began before its first byte."""
    times, pids = [], set()
    for at in range(count + 20):
        begun = time.monotonic_ns()
        run = submit()
        started, pid = up.ended(run)["tasks"][0]["result"]
        pids.add(pid)
        if at >= 20:
            times.append((started - begun) / 1e6)
        time.sleep(PAUSE_S)
    up.worked(pids, {1})
    up.prove(count + 20, job="clock")
    if min(times) <= 0:
        raise Broken("a run began before it was submitted")
    return {"p50": quantile(times, 0.5), "p99": quantile(times, 0.99)}


def _raw(stage: Stage, count: int, *, postgres: bool) -> Values:
    with stage.up(postgres=postgres) as up:
        up.job("clock", python("t", "clock"))
        host, _, port = up.address.partition(":")
        request = up.request("POST", "/jobs/clock/runs", b"{}")
        with socket.create_connection((host, int(port))) as raw:
            raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

            def submit() -> int:
                raw.sendall(request)
                answer = b""
                while b"\r\n\r\n" not in answer or not answer.rstrip().endswith(b"}"):
                    answer += raw.recv(65536)
                if not answer.startswith(b"HTTP/1.1 201"):
                    raise Broken(answer.decode())
                return int(answer.partition(b'"id":')[2].partition(b",")[0])

            return _timed(up, count, submit)


def latency(stage: Stage, count: int) -> Values:
    """By a raw socket."""
    return _raw(stage, count, postgres=False)


def postgres(stage: Stage, count: int) -> Values:
    """By a raw socket, on PostgreSQL."""
    return _raw(stage, count, postgres=True)


def client(stage: Stage, count: int) -> Values:
    """By ``headrace.client``."""
    from headrace.client.sync import Client

    with stage.up() as up, Client(data=up.data) as ours:
        up.job("clock", python("t", "clock"))
        return _timed(up, count, lambda: ours.submit("clock").id)


def chain(stage: Stage, length: int) -> Values:
    """One run of ``length`` tasks, each of which needs the one before: from the request until it has ended."""
    tasks = [python(f"t{n}", "noop", **({"needs": [f"t{n - 1}"]} if n else {})) for n in range(length)]
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop")
        up.job("chain", *tasks)
        for _ in range(3):
            begun = time.perf_counter()
            run = up.ask("POST", "/jobs/chain/runs", {})["id"]
            view = up.ended(run)
            seconds = time.perf_counter() - begun
        if [t["state"] for t in view["tasks"]] != ["succeeded"] * length:
            raise Broken("not every link of the chain has succeeded")
        up.worked({t["result"] for t in view["tasks"]}, {1})
        history = up.number(f"select count(*) from history_run where run = {run}")
        if history < length:
            raise Broken(f"{length} tasks, {history} history rows")
    return {"s": seconds}


def _metrics(more: float) -> tuple[Metric, ...]:
    return (
        Metric("p50", "ms p50", 2.0 + more, stretch=1.4 + more),
        Metric("p99", "ms p99", 5.0 + more, stretch=3.0 + more),
    )


ROWS = (
    Row(
        "latency",
        "submit → start, idle, raw socket",
        _metrics(0),
        latency,
        200,
        60,
        3,
        (("huey", "latency", 200), ("dramatiq", "latency", 200), ("celery", "latency", 200)),
    ),
    Row("client", "submit → start, idle, by our client", _metrics(0.5), client, 200, 60, 3),
    Row(
        "postgres-latency",
        "submit → start, idle, raw socket, PostgreSQL",
        _metrics(1.0),
        postgres,
        200,
        60,
        3,
        (("pgqueuer", "latency", 100), ("procrastinate", "latency", 100), ("dbos", "latency", 100)),
        postgres=True,
    ),
    Row(
        "chain",
        "chain of 100 dependent no-op tasks",
        (Metric("s", "s", 0.12, stretch=0.07),),
        chain,
        100,
        100,
        5,
        (("dramatiq", "chain", 100), ("celery", "chain", 100), ("dbos", "chain", 100)),
    ),
)
