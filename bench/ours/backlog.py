"""What a run costs beside a million that wait: unplaceable tasks, and behind each a blocked one."""

from __future__ import annotations

import statistics
import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import apsw
from lab.machine import resident
from lab.rows import Metric, Row, Values
from lab.up import Broken, Up, python

if TYPE_CHECKING:
    from pathlib import Path

    from lab.stage import Stage

FEW = 1_000
ROUNDS = 5
SLICE = 4_000
"""Runs per slice; slices of both servers alternate, and each is compared with the one beside it."""

WAITING = (
    {"name": "nowhere", "command": ["/bin/true"], "agent": {"labels": {"place": "nowhere"}}},
    {"name": "behind", "command": ["/bin/true"], "needs": ["nowhere"]},
)
_COLUMNS = {
    "run": "state, due_at, created_at, job, labels, input, params, image",
    "task": "no, idx, state, klass, rank, due_at, agent, image",
}


def _multiply(data: Path, times: int) -> None:
    """The store holds one waiting run, as the product wrote it: give it so many, with ids that were never given out.

    Images carry the run's own number, which copies would get wrong: it is written into them.
    """
    with apsw.Connection(str(data / "headrace.db")) as db:
        first, one = next(
            db.execute("select (select next from id_block where what = 'run'), (select id from run where state < 4)")
        )
        texts = {table: list(db.execute(f"select {_COLUMNS[table]} from {table} where {key} = ?", (one,)))
                 for table, key in (("run", "id"), ("task", "run"))}  # fmt: skip
        with db:
            db.execute("update id_block set next = next + ? where what = 'run'", (times,))
            for table, key in (("run", "id"), ("task", "run")):
                marks = ",".join("?" * (len(texts[table][0]) + 1))
                into = f"insert into {table} ({key}, {_COLUMNS[table]}) values ({marks})"
                db.executemany(into, _copies(texts[table], one, range(first, first + times)))
    db.close()


def _copies(rows: list[tuple], one: int, runs: range):  # type: ignore[no-untyped-def,type-arg]  # a script
    """Each run's rows; ``image`` is the last column of both tables and begins with the run's number."""
    import msgspec

    old = msgspec.msgpack.encode(one)
    shared = []
    for row in rows:
        head, image = row[:-1], row[-1]
        at = image.index(old)
        if at > 3:
            raise Broken("an image does not begin with its run")
        shared.append((head, image[:at], image[at + len(old) :]))
    for run in runs:
        number = msgspec.msgpack.encode(run)
        for head, before, after in shared:
            yield (run, *head, before + number + after)


def _server(stage: Stage, stack: ExitStack, waiting: int) -> tuple[Up, float]:
    """A server over so many waiting runs, and how long it took from its start to the first run that ended."""
    room = stage.room()
    with Up(room) as up:
        up.package()
        up.job("noop", python("t", "noop"))
        up.job("waiting", *WAITING)
        up.ask("POST", "/jobs/waiting/runs", {})
        up.warm_beside("noop", 50)
    _multiply(room / "data", waiting - 1)
    begun = time.perf_counter()
    up = stack.enter_context(Up(room))
    run = up.ask("POST", "/jobs/noop/runs", {})["id"]
    up.ended(run)
    seconds = time.perf_counter() - begun
    found = (
        up.number("select count(*) from task where state = 1"),
        up.number("select count(*) from task where state = 0"),
    )
    if found != (waiting, waiting):
        raise Broken(f"{waiting} of both kinds should wait: {found}")
    return up, seconds


def _slice(up: Up, runs: int) -> tuple[float, float]:
    """(seconds, CPU seconds of all processes) for so many runs in batches."""
    done = up.number("select count(*) from run where job = 'noop' and state = 4")
    used, begun = sum(up.cpu().values()), time.perf_counter()
    unit = min(runs, 500)
    for _ in range(runs // unit):
        up.ask("POST", "/runs/batch", {"runs": [{"job": "noop"}] * unit})
    up.all_ended("noop", done + runs // unit * unit)
    return time.perf_counter() - begun, sum(up.cpu().values()) - used


def backlog(stage: Stage, waiting: int) -> Values:
    """Two servers beside each other, one with a thousand waiting runs and one with ``waiting``."""
    small = waiting < FEW
    rounds, runs = (1, 20) if small else (ROUNDS, SLICE)
    with ExitStack() as stack:
        few, _ = _server(stage, stack, min(FEW, waiting))
        many, seconds = _server(stage, stack, waiting)
        memory = resident(many.control()) - resident(few.control())
        walls, costs = [], []
        for at in range(rounds + 1):
            pair = {}
            for who in (few, many) if at % 2 else (many, few):
                pair[who] = _slice(who, runs)
            if at or small:  # the first warms both
                walls.append(pair[many][0] / pair[few][0])
                costs.append(pair[many][1] / max(pair[few][1], 0.001))
        for who in (few, many):
            who.settings()
        stage.settings["SQLite"] = many.settings()
    return {
        "cost": (statistics.median(costs) - 1) * 100,
        "wall": (statistics.median(walls) - 1) * 100,
        "start": seconds,
        "memory": memory,
    }


ROWS = (
    Row(
        "backlog",
        "a run beside 1M unplaceable and 1M blocked tasks, against beside 1k of each",
        (
            Metric("cost", "% more CPU a run", 20, stretch=5),
            Metric("wall", "% longer"),
            Metric("start", "s from start to the first run ended, over all that", 3),
            Metric("memory", "MiB more in control", 32),
        ),
        backlog,
        1_000_000,
        100_000,
        20,
        pairs=1,
    ),
)
