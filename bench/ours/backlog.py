"""What a run costs beside a million that wait: unplaceable tasks, and behind each a blocked one."""

from __future__ import annotations

import http.client
import os
import signal
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
SLICE = 3_000
"""Runs per slice; slices of both servers alternate, and each is compared with the one beside it."""

WAITING = (
    {"name": "nowhere", "command": ["/bin/true"], "agent": {"labels": {"place": "nowhere"}}},
    {"name": "behind", "command": ["/bin/true"], "needs": ["nowhere"]},
)
KEYS = (("run", "id"), ("task", "run"))
FIRST = "select next from id_block where what = 'run'"
TAKE = "update id_block set next = next + {} where what = 'run'"
ONE = "select id from run where state < 4"


def _multiply(data: Path, times: int) -> None:
    """The store holds one waiting run, as the product wrote it: give it so many, with ids that were never given out.

    Images carry the run's own number, which copies would get wrong: it is written into them. Copies have no history.
    """
    with apsw.Connection(str(data / "headrace.db")) as db:
        ((first,),), ((one,),) = db.execute(FIRST), db.execute(ONE)
        with db:
            db.execute(TAKE.format(times))
            for table, key in KEYS:
                rows = db.execute(f"select * from {table} where {key} = ?", (one,))
                names = [name for name, _ in rows.get_description()]
                into = f"insert into {table} values ({','.join('?' * len(names))})"
                db.executemany(into, _copies(names, key, list(rows), range(first, first + times)))
    db.close()


def _multiply_postgres(url: str, times: int) -> None:
    """The same on PostgreSQL."""
    import psycopg

    with psycopg.connect(url, options="-c search_path=headrace") as db:
        (first,), (one,) = db.execute(FIRST).fetchone() or (), db.execute(ONE).fetchone() or ()
        db.execute(TAKE.format(times).encode())
        for table, key in KEYS:
            found = db.execute(f"select * from {table} where {key} = {one}".encode(), binary=True)
            names = [column.name for column in found.description or ()]
            copies = _copies(names, key, found.fetchall(), range(first, first + times))
            with db.cursor() as cursor, cursor.copy(f"copy {table} from stdin".encode()) as copy:
                for row in copies:
                    copy.write_row(row)
    with psycopg.connect(url, options="-c search_path=headrace", autocommit=True) as db:
        db.execute("analyze run, task")


def _copies(names: list[str], key: str, rows: list[tuple], runs: range):  # type: ignore[no-untyped-def,type-arg]  # a script
    """Each run's rows; ``image`` begins with the run's number."""
    import msgspec

    at_key, at_image = names.index(key), names.index("image")
    shared = []
    for row in rows:
        old, image = msgspec.msgpack.encode(row[at_key]), bytes(row[at_image])
        at = image.index(old)
        if at > 3:
            raise Broken("an image does not begin with its run")
        shared.append((list(row), image[:at], image[at + len(old) :]))
    for run in runs:
        number = msgspec.msgpack.encode(run)
        for row, before, after in shared:
            row[at_key], row[at_image] = run, before + number + after
            yield tuple(row)


def _server(stage: Stage, stack: ExitStack, waiting: int, *, postgres: bool = False) -> tuple[Up, float]:
    """A server over so many waiting runs, and how long it took from its start to the first run that ended."""
    room = stage.room()
    url = ""
    if postgres:
        dsn = stage.postgres().empty()
        stack.callback(stage.postgres().drop, dsn)
        url = stage.url(dsn)
    with Up(room, store=url) as up:
        up.package()
        up.job("noop", python("t", "noop"))
        up.job("waiting", *WAITING)
        up.ask("POST", "/jobs/waiting/runs", {})
        up.warm_beside("noop", 50)
    if postgres:
        _multiply_postgres(url, waiting - 1)
    else:
        _multiply(room / "data", waiting - 1)
    begun = time.perf_counter()
    up = stack.enter_context(Up(room, store=url))
    run = up.ask("POST", "/jobs/noop/runs", {})["id"]
    up.ended(run)
    seconds = time.perf_counter() - begun
    found = (
        up.number("select count(*) from run where state < 4"),
        up.number("select count(*) from task where state < 2"),
    )
    if found != (waiting, 2 * waiting):
        raise Broken(f"{waiting} runs with two tasks each should wait: {found}")
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


def _killed(up: Up) -> float:
    """Seconds from kill -9 of control until a run that is submitted to the next one has ended."""
    dead = up.control()
    begun = time.perf_counter()
    os.kill(dead, signal.SIGKILL)
    while True:
        try:
            up.connection = up.connect()
            run = up.ask("POST", "/jobs/noop/runs", {})["id"]
            up.ended(run)
            break
        except (OSError, http.client.HTTPException) as error:
            if time.perf_counter() - begun > 60:
                raise Broken(f"control did not come back: {error}") from error
            time.sleep(0.005)
    seconds = time.perf_counter() - begun
    if up.control() == dead:
        raise Broken("control was not killed")
    return seconds


def backlog(stage: Stage, waiting: int) -> Values:
    """On SQLite."""
    return _beside(stage, waiting, postgres=False)


def on_postgres(stage: Stage, waiting: int) -> Values:
    """On PostgreSQL."""
    return _beside(stage, waiting, postgres=True)


def _beside(stage: Stage, waiting: int, *, postgres: bool) -> Values:
    """Two servers beside each other, one with a thousand waiting runs and one with ``waiting``."""
    small = waiting < FEW
    rounds, runs = (1, 20) if small else (ROUNDS, SLICE // 2 if postgres else SLICE)
    with ExitStack() as stack:
        few, _ = _server(stage, stack, min(FEW, waiting), postgres=postgres)
        many, seconds = _server(stage, stack, waiting, postgres=postgres)
        memory = resident(many.control()) - resident(few.control())
        walls, costs = [], []
        for at in range(rounds + 1):
            pair = {}
            for who in (few, many) if at % 2 else (many, few):
                pair[who] = _slice(who, runs)
            if at or small:  # the first warms both
                walls.append(pair[many][0] / pair[few][0])
                costs.append(pair[many][1] / max(pair[few][1], 0.001))
        killed = _killed(many)
        for who in (few, many):
            who.settings()
        stage.settings["PostgreSQL" if postgres else "SQLite"] = many.settings()
    return {
        "cost": (statistics.median(costs) - 1) * 100,
        "wall": (statistics.median(walls) - 1) * 100,
        "start": seconds,
        "killed": killed,
        "memory": memory,
    }


METRICS = (
    Metric("cost", "% more CPU a run", 20, stretch=5),
    Metric("wall", "% longer"),
    Metric("start", "s from start to the first run ended, over all that", 3),
    Metric("killed", "s from kill -9 of control to the next run ended", 3),
    Metric("memory", "MiB more in control", 32),
)
ROWS = (
    Row(
        "backlog",
        "a run beside 1M unplaceable and 1M blocked tasks, against beside 1k of each",
        METRICS,
        backlog,
        1_000_000,
        100_000,
        20,
        pairs=1,
    ),
    Row(
        "postgres-backlog",
        "the same on PostgreSQL, beside 100k of each",
        METRICS,
        on_postgres,
        100_000,
        10_000,
        20,
        postgres=True,
        pairs=1,
    ),
)
