"""What a server costs while nothing happens, and how soon it is there."""

from __future__ import annotations

import subprocess
import sys
import time
from typing import TYPE_CHECKING

from lab.machine import memory
from lab.rows import Metric, Row, Values, quantile
from lab.up import HEADRACE, Broken, Up, environment, python

if TYPE_CHECKING:
    from lab.stage import Stage


def idle(stage: Stage, seconds: int) -> Values:
    """All processes after some work, with two warm runners."""
    with stage.up() as up:
        up.job("noop", python("t", "noop"))
        up.warm("noop", 500)
        time.sleep(min(2, seconds))
        used = up.cpu()
        begun = time.monotonic()
        time.sleep(seconds)
        spent = up.cpu()
        share = sum(spent[r] - used.get(r, 0.0) for r in spent) / (time.monotonic() - begun) * 100
        family = up.processes()
        sizes = [memory(p.pid) for p in family]
        up.prove(500, job="noop")
    return {
        "rss": sum(s[0] for s in sizes),
        "pss": sum(s[1] for s in sizes),
        "cpu": share,
        "processes": float(len(family)),
    }


def start(stage: Stage, times: int) -> Values:
    """From the start of the command on an empty folder until the first run is accepted; ``show`` as a person runs it."""
    ups, shows = [], []
    for _ in range(times):
        begun = time.perf_counter()
        with Up(stage.room()) as up:
            run = up.ask("POST", "/runs", {"command": ["/bin/true"]})["id"]
            ups.append(time.perf_counter() - begun)
            up.ended(run)
            for _ in range(3):
                asked = time.perf_counter()
                done = subprocess.run(
                    [HEADRACE, "show", str(run), "--data", str(up.data)],
                    capture_output=True,
                    text=True,
                    env=environment(),
                )
                shows.append(time.perf_counter() - asked)
                if done.returncode or "succeeded" not in done.stdout:
                    raise Broken(f"headrace show: {done.stdout}{done.stderr}")
            up.settings()
    return {"up": quantile(ups, 0.5), "show": quantile(shows, 0.5)}


SURFACE = (
    "import sys; before = set(sys.modules); import headrace; "
    "print(*sorted({m.partition('.')[0] for m in set(sys.modules) - before} - set(sys.stdlib_module_names)))"
)
"""Tells which packages beyond Python's own came with it."""


def surface(stage: Stage, times: int) -> Values:
    """``import headrace`` beyond an empty Python, and one with a task described; interleaved."""
    told = subprocess.run([sys.executable, "-c", SURFACE], capture_output=True, text=True, check=True, cwd=stage.folder)
    if set(told.stdout.split()) - {"headrace", "msgspec"}:
        raise Broken(f"import headrace brought {told.stdout}")
    codes = {"bare": "pass", "import": "import headrace", "task": "from headrace import task, job"}
    seen: dict[str, list[float]] = {name: [] for name in codes}
    for _ in range(times):
        for name, code in codes.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-c", code], check=True, cwd=stage.folder, env=environment())
            seen[name].append(time.perf_counter() - begun)
    bare = quantile(seen["bare"], 0.5)
    return {
        "import": (quantile(seen["import"], 0.5) - bare) * 1000,
        "task": (quantile(seen["task"], 0.5) - bare) * 1000,
        "bare": bare * 1000,
    }


ROWS = (
    Row(
        "idle",
        "idle with 2 warm runners, all processes",
        (
            Metric("rss", "MB RSS", 110, stretch=95),
            Metric("pss", "MB PSS", 60, stretch=50),
            Metric("cpu", "% CPU", 0.2),
            Metric("processes", "processes"),
        ),
        idle,
        10,
        5,
        1,
        (("huey", "idle", 5), ("dramatiq", "idle", 5), ("celery", "idle", 5)),
        pairs=2,
    ),
    Row(
        "start",
        "headrace up → first run accepted; headrace show",
        (Metric("up", "s to the first run accepted", 0.6, stretch=0.4), Metric("show", "s for show", 0.2)),
        start,
        3,
        1,
        1,
    ),
    Row(
        "import",
        "import headrace",
        (
            Metric("import", "ms beyond an empty Python", 60),
            Metric("task", "ms with task and job"),
            Metric("bare", "ms an empty Python"),
        ),
        surface,
        15,
        5,
        1,
    ),
)
