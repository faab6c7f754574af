"""kill -9 of each process of a server under load: what must go on goes on, and what must end leaves nothing."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness import Load, Server, alive, as_url, inspect, package, stat_of, until, words_of

STORES = ("sqlite", "postgresql")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    made = Server(tmp_path / "data")
    try:
        yield made.start()
    finally:
        made.kill_all()


def on(store: str, request: pytest.FixtureRequest) -> str:
    return request.getfixturevalue("postgres_dsn") if store == "postgresql" else ""


def sleeper(server: Server, key: str = "sleeper", *, seconds: int = 600) -> int:
    job = {
        "name": "sleeper",
        "tasks": [{"name": "only", "python": "load:slow", "package": "load", "with": {"seconds": seconds}}],
    }
    server.ask(lambda c: c.packages.put("load", package()))
    run = server.submit({"job": job}, key)
    until(lambda: server.state(run) == "running", what="the Python task to run")
    return run


def runners(server: Server) -> list[int]:
    """The template and the runners forked from it, parents first."""
    return sorted(p for p in server.ours() if any("headrace.runner" in word for word in words_of(p)))


@pytest.mark.parametrize("store", STORES)
def test_kill_of_up_leaves_no_process_and_nothing_acknowledged_is_lost(
    store: str, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    dsn = on(store, request)
    server = Server(tmp_path / "data", store=as_url(dsn) if dsn else "")
    try:
        load = Load(server.start(), tmp_path).submit()
        daemon = server.submit({"command": ["sh", "-c", "setsid sleep 600 & sleep 601"]}, "daemon")
        until(lambda: server.state(daemon) == "running")
        family = server.family()
        assert server.process is not None
        server.process.kill()
        server.process.wait()
        server.gone(family)
        server.forget()
        server.start()
        server.cancel(daemon)
        load.acknowledged["daemon"], load.expected[daemon] = daemon, "canceled"
        load.finish()
        family = server.family()
        assert server.end() == 0
        server.gone(family)
    finally:
        server.kill_all()
    assert not inspect(tmp_path / "data", dsn, lambda opened: load.broken(opened, lost=True))


@pytest.mark.parametrize("who", ["control", "agent", "guard"])
def test_each_process_of_a_server_is_started_again(who: str, server: Server, tmp_path: Path) -> None:
    load = Load(server, tmp_path).submit()
    victim = {"control": server.control, "agent": server.agent, "guard": server.guard}[who]()
    os.kill(victim, signal.SIGKILL)
    load.finish()
    until(lambda: server.control() and server.agent() and server.guard() and not alive(victim))
    family = server.family()
    assert server.end() == 0
    server.gone(family)
    assert not inspect(tmp_path / "data", "", lambda opened: load.broken(opened, lost=who != "control"))


def test_a_runner_killed_in_the_middle_of_a_task_fails_that_attempt_with_the_signal(server: Server) -> None:
    run = sleeper(server)
    for pid in reversed(runners(server)):
        if alive(pid) and not [p for p in runners(server) if parent_of(p) == pid]:
            os.kill(pid, signal.SIGKILL)
    ended = server.wait(run)
    assert (ended.state, ended.tasks["only"].attempts[0].signal) == ("failed", 9)
    assert server.wait(brief(server)).state == "succeeded"


def parent_of(pid: int) -> int:
    stat = stat_of(pid)
    return int(stat[1]) if stat else 0


def brief(server: Server) -> int:
    server.ask(lambda c: c.packages.put("load", package()))
    job = {
        "name": "brief",
        "tasks": [{"name": "only", "python": "load:slow", "package": "load", "with": {"seconds": 0}}],
    }
    return server.submit({"job": job}, f"brief-{time.monotonic_ns()}")


def test_a_killed_template_is_made_again_for_the_next_task(server: Server) -> None:
    assert server.wait(brief(server)).state == "succeeded"
    everyone = runners(server)
    templates = [p for p in everyone if parent_of(p) not in everyone]
    assert templates
    for pid in templates:
        os.kill(pid, signal.SIGKILL)
    assert server.wait(brief(server)).state == "succeeded"


def control_down(server: Server, folder: Path, seconds: float) -> None:
    """Control is held by SIGSTOP, then killed: it is away for so long while attempts run, end and print."""
    runs = [
        server.submit(
            {"command": ["sh", "-c", f'echo "$HEADRACE_ATTEMPT_KEY" >> {folder}/began; sleep {n % 5}; echo over']},
            f"n-{n}",
        )
        for n in range(8)
    ]
    long = server.submit({"command": ["sh", "-c", f"echo began; sleep {seconds + 3}; echo over"]}, "long")
    until(lambda: server.state(long) == "running")
    attempts = {p for p in server.ours() if words_of(p)[:1] == ["sleep"]}
    held, agent = server.control(), server.agent()
    os.kill(held, signal.SIGSTOP)
    server.forget()
    back = time.monotonic() + seconds
    until(lambda: time.monotonic() >= back, seconds=seconds + 60)
    assert alive(agent)
    assert any(alive(p) for p in attempts), "an attempt was killed because control was away"
    os.kill(held, signal.SIGKILL)
    for run in [*runs, long]:
        ended = server.wait(run)
        assert (ended.state, ended.tasks["sh"].attempt) == ("succeeded", 1)
    lines = (folder / "began").read_text().split()
    assert len(lines) == len(set(lines)) == len(runs)


def test_control_down_for_20_seconds_kills_no_attempt_and_each_is_reported_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", workers=10)
    try:
        control_down(server.start(), tmp_path, 20)
    finally:
        server.kill_all()


@pytest.mark.tail
@pytest.mark.timeout(900)
def test_control_down_for_10_minutes_kills_no_attempt_and_each_is_reported_once(tmp_path: Path) -> None:
    server = Server(tmp_path / "data", workers=10)
    try:
        control_down(server.start(), tmp_path, 600)
    finally:
        server.kill_all()
