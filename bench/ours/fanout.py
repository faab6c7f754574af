"""One job with 100,000 parallel tasks: its rate, control's peak memory, and what others notice of it."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

from lab.machine import forget_peak, peak, resident
from lab.rows import Metric, Row, Values, quantile
from lab.up import Broken, Up, python

if TYPE_CHECKING:
    from lab.stage import Stage


def _beside(up: Up, over: threading.Event, acks: list[float]) -> None:
    """Another submitter: one run every 10 ms."""
    connection = up.connect()
    while not over.is_set():
        begun = time.perf_counter()
        up.ask("POST", "/jobs/noop/runs", {}, connection=connection)
        acks.append((time.perf_counter() - begun) * 1000)
        over.wait(0.01)
    connection.close()


def parallel(stage: Stage, tasks: int) -> Values:
    """The fan-out is given by a first task, whose list is the items."""
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.job(
            "wide",
            python("list", "items", **{"with": {"n": tasks}}),
            python("each", "one", each="${tasks.list.result}", **{"with": {"n": "${item}"}}),
        )
        up.warm("noop", 200)
        control = up.control()
        over, acks = threading.Event(), []
        forget_peak(control)
        before = resident(control)
        other = threading.Thread(target=_beside, args=(up, over, acks))
        other.start()
        try:
            begun = time.perf_counter()
            run = up.ask("POST", "/jobs/wide/runs", {})["id"]
            view = up.ended(run)
            seconds = time.perf_counter() - begun
        finally:
            over.set()
            other.join()
        most = peak(control)
        up.idle()
        _prove(up, run, view, tasks)
    return {
        "rate": tasks / seconds,
        "peak": most - before,
        "acks p50": quantile(acks, 0.5),
        "acks p99": quantile(acks, 0.99),
    }


def _prove(up: Up, run: int, view: dict[str, object], tasks: int) -> None:
    counts = next(t for t in view["tasks"] if t["name"] == "each")["counts"]  # type: ignore[index,union-attr]  # JSON
    if counts.get("succeeded") != tasks:
        raise Broken(f"{tasks} tasks, counted {counts}")
    rows = up.number(f"select count(*) from task where run = {run} and idx >= 0")
    history = up.number(f"select count(*) from (select 1 from history_run where run = {run} group by no, idx) as told")
    if rows != tasks or history < tasks:
        raise Broken(f"{tasks} tasks, {rows} rows, {history} with history")


ROWS = (
    Row(
        "parallel",
        "one job with 100k parallel tasks",
        (
            Metric("rate", "tasks/s", 30_000, more=True, stretch=50_000),
            Metric("peak", "MiB more in control at its peak", 64),
            Metric("acks p99", "ms: ack p99 of others meanwhile", 20),
            Metric("acks p50", "ms: ack p50 of others meanwhile"),
        ),
        parallel,
        100_000,
        10_000,
        40,
    ),
)
