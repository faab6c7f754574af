"""How late events come to those who watch."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.rows import Metric, Row, Values, quantile
from lab.up import Broken, Up, python

if TYPE_CHECKING:
    from lab.stage import Stage

WATCHERS = Path(__file__).parents[1] / "lab" / "watchers.py"
COUNT = 100


def watching(stage: Stage, count: int) -> Values:
    """``count`` single submits, 20 ms apart, with a hundred watchers of everything."""
    with stage.up() as up:
        return _watched(up, count)


def watching_postgres(stage: Stage, count: int) -> Values:
    """The same on PostgreSQL."""
    with stage.up(postgres=True) as up:
        return _watched(up, count)


def _watched(up: Up, count: int) -> Values:
    up.job("noop", python("t", "noop"))
    up.warm("noop", 50)
    watchers = subprocess.Popen(
        [sys.executable, WATCHERS, up.address, up.token, str(COUNT)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        if not watchers.stdout or watchers.stdout.readline() != "begun\n":
            raise Broken("the watchers did not begin")
        for _ in range(count):
            up.ask("POST", "/jobs/noop/runs", {})
            time.sleep(0.02)
        up.idle()
        time.sleep(1.0)
    finally:
        told = watchers.communicate("end\n")[0]
    up.prove(50 + count, job="noop")
    seen = json.loads(told)
    if not seen["same"] or seen["events"] < 3 * count:
        raise Broken(f"the watchers saw {seen['events']} events of {count} runs, all the same: {seen['same']}")
    lags = [lag * 1000 for lag in seen["lags"]]
    return {"lag p50": quantile(lags, 0.5), "lag p99": quantile(lags, 0.99), "events": float(seen["events"])}


METRICS = (
    Metric("lag p99", "ms lag p99", 20),
    Metric("lag p50", "ms lag p50"),
    Metric("events", "events to each", more=True),
)

ROWS = (
    Row("watching", "events to 100 watchers, from their instant to each", METRICS, watching, 250, 50, 3),
    Row(
        "watching pg", "the same on PostgreSQL", METRICS, watching_postgres, 250, 50, 3, postgres=True,
    ),
)  # fmt: skip
