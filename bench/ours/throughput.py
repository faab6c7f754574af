"""Runs per second: batches, one request per run, PostgreSQL, /bin/true; and what a run leaves on the disk."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING

from lab.flood import flood
from lab.machine import folder_bytes
from lab.rows import Metric, Row, Values, quantile
from lab.up import Broken, Up, python

if TYPE_CHECKING:
    from lab.stage import Stage

UNIT = 1000
"""Runs per batch request."""


def _submit(up: Up, job: str, runs: int, *, spread: bool = False) -> Values:
    """From the first request until the store shows the last one ended."""
    import json

    bodies = [json.dumps({"runs": [{"job": job}] * min(UNIT, runs - at)}).encode() for at in range(0, runs, UNIT)]
    used = up.cpu()
    begun = time.perf_counter()
    for body in bodies:
        up.ask("POST", "/runs/batch", body)
    submitted = time.perf_counter() - begun
    up.idle()
    seconds = time.perf_counter() - begun
    after = up.cpu()
    values = {"rate": runs / seconds, "submitted": runs / submitted}
    values["cpu"] = sum(after[role] - used.get(role, 0.0) for role in after) / runs * 1e6
    return values


def batch(stage: Stage, runs: int) -> Values:
    """No-op Python runs in batches."""
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop", 200)
        values = _submit(up, "noop", runs)
        up.prove(runs + 200, job="noop")
        up.end()
        # All of the folder, also what an empty server has: the WAL is folded into the file; VACUUM is not done.
        values["disk"] = folder_bytes(up.data) / (runs + 200)
        with sqlite3.connect(up.data / "headrace.db") as db:
            pages, size = (db.execute(f"pragma {name}").fetchone()[0] for name in ("page_count", "page_size"))
        values["database"] = pages * size / (runs + 200)
        db.close()
    return values


def postgres(stage: Stage, runs: int) -> Values:
    """The same on PostgreSQL."""
    with stage.up(postgres=True) as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop", 200)
        values = _submit(up, "noop", runs)
        up.prove(runs + 200, job="noop")
    return values


def single(stage: Stage, runs: int) -> Values:
    """One HTTP request per run over 64 keep-alive connections."""
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop", 200)
        requests = [up.request("POST", "/jobs/noop/runs", b"{}")] * runs
        begun = time.perf_counter()
        acked, times, errors = flood(up.address, requests[:], min(64, runs))
        if errors:
            raise Broken(errors[0])
        up.idle()
        seconds = time.perf_counter() - begun
        up.prove(runs + 200, job="noop")
    return {"rate": runs / seconds, "acked": runs / acked, "ack p99": quantile(times, 0.99) * 1000}


def true(stage: Stage, runs: int) -> Values:
    """/bin/true with session, cgroup or subreaper, both streams and a sealed log."""
    with stage.up() as up:
        up.job("true", {"name": "t", "command": ["/bin/true"]})
        up.warm("true", 50)
        values = _submit(up, "true", runs)
        up.prove(runs + 50, job="true", python=False)
        codes = set()
        for (image,) in up.rows("select image from task"):
            import msgspec

            from headrace.model.cells import TaskCell

            codes.add(msgspec.msgpack.decode(image, type=TaskCell).exit_code)
        if codes != {0}:
            raise Broken(f"exit codes {codes}")
    return values


def _metrics(target: float, stretch: float) -> tuple[Metric, ...]:
    return (
        Metric("rate", "runs/s", target, more=True, stretch=stretch),
        Metric("submitted", "submitted/s", more=True, peers=False),
        Metric("cpu", "µs CPU a run", peers=False),
    )


REDIS = (("huey", "batch", 6000), ("dramatiq", "batch", 6000), ("celery", "batch", 2000))
ROWS = (
    Row(
        "batch",
        "no-op Python runs, batch submit, results kept",
        (
            *_metrics(30_000, 60_000),
            Metric("disk", "bytes on disk a run", 500, stretch=300, peers=False),
            Metric("database", "of it database", peers=False),
        ),
        batch,
        10_000,
        2_000,
        60,
        REDIS,
    ),
    Row(
        "single",
        "one HTTP request per run, 64 keep-alive connections",
        (
            Metric("rate", "runs/s", 6_000, more=True, stretch=10_000),
            Metric("acked", "acknowledged/s", more=True, peers=False),
            Metric("ack p99", "ms", peers=False),
        ),
        single,
        10_000,
        2_000,
        80,
        REDIS,
    ),
    Row(
        "postgres",
        "the batch on PostgreSQL, synchronous_commit=on, one node",
        _metrics(10_000, 20_000),
        postgres,
        10_000,
        2_000,
        60,
        (("pgqueuer", "batch", 10_000), ("procrastinate", "batch", 1_500), ("dbos", "batch", 800)),
        postgres=True,
    ),
    Row(
        "true",
        "/bin/true: own session, cgroup or subreaper, both streams, sealed log",
        _metrics(1_600, 2_000),
        true,
        5_000,
        1_000,
        30,
        (("huey", "true", 2000), ("dramatiq", "true", 2000), ("celery", "true", 1000)),
    ),
)
