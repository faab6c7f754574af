"""``headrace up`` as people start it: it comes up, heals itself, ends cleanly, and leaves no process however it ends."""

from __future__ import annotations

import http.client
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

PATIENCE_S = 30.0

ASKS_FOR_ITS_RUN = """
import os, urllib.error, urllib.request
url = os.environ["HEADRACE_URL"] + "/api/v1/runs/" + os.environ["HEADRACE_RUN"]
request = urllib.request.Request(url, headers={"Authorization": "Bearer " + os.environ["HEADRACE_TOKEN"]})
try:
    print(urllib.request.urlopen(request, timeout=10).status)
except urllib.error.HTTPError as error:
    print(error.code)
"""
"""A task that reads its own run with its own token."""


class Up:
    """A running ``headrace up`` on a data folder of its own."""

    def __init__(self, data: Path, **more: str) -> None:
        self.data = data
        environ = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE")} | more
        command = [
            sys.executable,
            "-m",
            "headrace.cli.main",
            "up",
            "--data",
            str(data),
            "--port",
            "0",
            "--workers",
            "2",
        ]
        self.process = subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        until((data / "server.json").exists)

    @property
    def server(self) -> dict[str, Any]:
        server: dict[str, Any] = json.loads((self.data / "server.json").read_text())
        return server

    def call(self, path: str, body: Any = None) -> Any:
        headers = {"authorization": f"Bearer {(self.data / 'admin-token').read_text()}"}
        headers["content-type"] = "application/json"
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.server["url"] + "/api/v1" + path, data, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)

    def ask(self, path: str) -> http.client.HTTPConnection:
        """Ask, and leave the answer for later."""
        asked = http.client.HTTPConnection(self.server["url"].removeprefix("http://"), timeout=PATIENCE_S)
        token = (self.data / "admin-token").read_text()
        asked.request("GET", "/api/v1" + path, headers={"authorization": f"Bearer {token}"})
        return asked

    def text(self, path: str) -> str:
        headers = {"authorization": f"Bearer {(self.data / 'admin-token').read_text()}", "accept": "text/plain"}
        request = urllib.request.Request(self.server["url"] + "/api/v1" + path, None, headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            text: str = answer.read().decode()
            return text

    def end(self) -> None:
        """Kill it, as the last thing a test does."""
        self.process.kill()
        self.process.wait()

    def submit(self, *argv: str) -> int:
        run: int = self.call("/runs", {"command": list(argv)})["id"]
        return run

    def state(self, run: int) -> str:
        state: str = self.call(f"/runs/{run}")["state"]
        return state

    def family(self) -> set[int]:
        """Every process below and with this one, by what the kernel says now."""
        found = {self.process.pid}
        parents = {int(p): parent_of(int(p)) for p in (entry.name for entry in Path("/proc").iterdir()) if p.isdigit()}
        while more := {p for p, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def agent(self) -> int:
        return next(p for p in self.family() if b"headrace.cli.agent" in words_of(p)[:4])


def parent_of(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, ValueError):
        return 0


def words_of(pid: int) -> list[bytes]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return []


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def until(holds: Any) -> None:
    """Wait until it holds. Raises AssertionError after PATIENCE_S."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            if holds():
                return
        except (OSError, StopIteration):
            pass
        assert time.monotonic() < deadline
        select.select([], [], [], 0.02)


@pytest.fixture
def up(tmp_path: Path) -> Iterator[Up]:
    started = Up(tmp_path / "data")
    family = started.family()
    try:
        yield started
    finally:
        family |= started.family()
        started.process.kill()
        started.process.wait()
        for pid in family - {started.process.pid}:
            if alive(pid) and words_of(pid) and str(tmp_path).encode() in b" ".join(words_of(pid)):
                os.kill(pid, signal.SIGKILL)


def test_a_command_runs_to_its_end(up: Up) -> None:
    run = up.submit("echo", "hello")
    until(lambda: up.state(run) == "succeeded")


def test_sigterm_ends_all_of_it_and_takes_the_announcement_back(up: Up) -> None:
    run = up.submit("sleep", "600")
    until(lambda: up.state(run) == "running")
    family = up.family()
    up.process.terminate()
    assert up.process.wait(PATIENCE_S) == 0
    until(lambda: not any(alive(p) for p in family))
    assert not (up.data / "server.json").exists()


def test_who_waits_when_the_server_ends_is_answered_with_what_there_is(up: Up) -> None:
    run = up.submit("sleep", "600")
    until(lambda: up.state(run) == "running")
    waits = [up.ask(f"/runs/{run}?wait=60s"), up.ask(f"/runs/{run}/logs?wait=60s")]
    assert up.state(run) == "running"  # asked later, answered: the server has heard those before
    up.process.terminate()
    first, second = [json.load(wait.getresponse()) for wait in waits]
    assert first["state"] == "running"
    assert second["next_cursor"]
    assert up.process.wait(PATIENCE_S) == 0
    assert up.process.stdout is not None
    assert b"request" not in up.process.stdout.read()


def test_kill_of_up_itself_leaves_no_process(up: Up) -> None:
    run = up.submit("sh", "-c", "setsid sleep 600 & sleep 600")
    until(lambda: up.state(run) == "running")
    family = up.family()
    assert len(family) >= 5
    up.process.kill()
    up.process.wait()
    until(lambda: not any(alive(p) for p in family))


def test_control_that_is_killed_comes_back_and_the_run_goes_on(up: Up) -> None:
    run = up.submit("sleep", "2")
    until(lambda: up.state(run) == "running")
    before = up.server
    os.kill(before["pid"], signal.SIGKILL)
    until(lambda: up.server["pid"] != before["pid"] and up.state(run) == "succeeded")
    assert up.server["url"] == before["url"]
    assert up.call(f"/runs/{run}/tasks")["items"][0]["attempt"] == 1


def test_run_tokens_hold_when_the_folder_has_lost_its_key_but_the_store_knows_it(tmp_path: Path) -> None:
    data = tmp_path / "data"
    first = Up(data)
    first.process.terminate()
    assert first.process.wait(PATIENCE_S) == 0
    (data / "run-secret").unlink()
    second = Up(data)
    try:
        run = second.submit(sys.executable, "-c", ASKS_FOR_ITS_RUN)
        until(lambda: second.state(run) in {"succeeded", "failed"})
        assert second.text(f"/runs/{run}/logs?stream=stdout").strip() == "200"
    finally:
        second.process.terminate()
        second.process.wait(PATIENCE_S)


def test_the_work_of_a_killed_agent_is_lost_and_done_again(up: Up, tmp_path: Path) -> None:
    flag = tmp_path / "flag"
    run = up.submit("sh", "-c", f"test -e {flag} && exit 0; touch {flag}; sleep 600")
    until(lambda: up.state(run) == "running" and flag.exists())
    os.kill(up.agent(), signal.SIGKILL)
    until(lambda: up.state(run) == "succeeded")
    assert up.call(f"/runs/{run}/tasks")["items"][0]["attempt"] == 2


def test_a_second_control_on_the_same_folder_is_refused_with_the_reason(up: Up) -> None:
    command = [sys.executable, "-m", "headrace.cli.main", "up", "--data", str(up.data), "--port", "0"]
    second = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert second.returncode == 3
    assert f"another control process uses the data folder {up.data}" in second.stderr
