"""Three ledgers, in three processes, that want the same runs of one PostgreSQL at the same time."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from lab.rows import Metric, Row, Values
from lab.up import Broken

if TYPE_CHECKING:
    from lab.stage import Stage

PROGRAM = Path(__file__).parents[1] / "postgres_ledgers.py"


def ledgers(stage: Stage, tasks: int) -> Values:
    """400 live runs of so many tasks, their outcomes in groups of 40; the program proves that every run has succeeded."""
    server = stage.postgres()
    dsn = server.fresh()
    words = [sys.executable, str(PROGRAM), "--json", "--tasks", str(tasks), "--dsn", dsn]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=170)
    except subprocess.TimeoutExpired:
        raise Broken("three ledgers took longer than 170 s") from None
    finally:
        server.drop(dsn)
    if done.returncode:
        raise Broken(f"three ledgers: {done.stderr[-1500:]}")
    told: Values = json.loads(done.stdout)
    return told


ROWS = (
    Row(
        "postgres-ledgers",
        "three ledgers on one PostgreSQL, groups of 40 changes over 400 live runs",
        (
            Metric("worst", "ms the worst group", 100),
            Metric("worst queued", "ms of it in the queue for a core"),
            Metric("p50", "ms a group p50"),
            Metric("deadlocks", "deadlocks", 0),
            Metric("rate", "changes/s", more=True),
        ),
        ledgers,
        60,
        30,
        1,
        postgres=True,
    ),
)
