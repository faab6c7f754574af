"""A submitter beside four clients that list 500 runs all the time."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

from lab.rows import Metric, Row, Values, quantile
from lab.up import Broken, python

if TYPE_CHECKING:
    from lab.stage import Stage

LISTER = Path(__file__).parents[1] / "lab" / "lister.py"


def listing(stage: Stage, count: int) -> Values:
    """``count`` single submits, 20 ms apart, while four processes fetch pages as fast as they are given them."""
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop", 600)
        listers = [
            subprocess.Popen(
                [sys.executable, LISTER, up.address, up.token], stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )
            for _ in range(4)
        ]
        try:
            for lister in listers:
                if not lister.stdout or lister.stdout.readline() != b"begun\n":
                    raise Broken("a lister did not begin")
            acks = []
            begun = time.perf_counter()
            for _ in range(count):
                asked = time.perf_counter()
                up.ask("POST", "/jobs/noop/runs", {})
                acks.append((time.perf_counter() - asked) * 1000)
                time.sleep(0.02)
            seconds = time.perf_counter() - begun
        finally:
            pages = sum(int(lister.communicate(b"end\n")[0] or 0) for lister in listers)
        up.idle()
        up.prove(600 + count, job="noop")
        if pages < 4:
            raise Broken("the listers got no pages")
    return {"ack p50": quantile(acks, 0.5), "ack p99": quantile(acks, 0.99), "pages": pages / seconds}


ROWS = (
    Row(
        "listing",
        "submit beside four clients listing 500 runs",
        (
            Metric("ack p99", "ms ack p99", 50, stretch=20),
            Metric("ack p50", "ms ack p50"),
            Metric("pages", "pages/s meanwhile", more=True),
        ),
        listing,
        150,
        40,
        3,
        pairs=2,
    ),
)
