"""A ``headrace up`` of the benchmark's own, driven over HTTP, and what its store holds, seen from outside."""

from __future__ import annotations

import contextlib
import http.client
import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import Any, Self

import apsw
import msgspec

from headrace.model.cells import TaskCell
from lab.machine import Process, tree

PATIENCE_S = 240.0
HEADRACE = str(Path(sys.executable).with_name("headrace"))
CODE = """
import os
import time

from headrace import task


@task
def noop():
    return os.getpid()


@task
def clock():
    return [time.monotonic_ns(), os.getpid()]


@task
def items(n):
    return list(range(n))


@task
def one(n):
    return os.getpid()
"""
ROLES = (
    ("supervisor.py", "supervisor"),
    ("cli.control", "control"),
    ("guard.py", "guard"),
    ("cli.agent", "agent"),
    ("runner.template", "runner"),
)


def python(name: str, function: str, **more: Any) -> dict[str, Any]:
    """A task of CODE."""
    return {"name": name, "python": f"bench_code:{function}", "package": "bench", **more}


def environment() -> dict[str, str]:
    """Ours without what changes how Headrace or Python starts (bytecode is written, as for any user)."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("HEADRACE", "PYTHON"))}


class Broken(Exception):
    """The work was not done as it should have been: the row has no number."""


class Up:
    """Started by the constructor; answers when that returns. Use it in a ``with``."""

    def __init__(self, folder: Path, *, store: str = "", workers: int = 2) -> None:
        self.data, self.store, self.log = folder / "data", store, folder / "up.log"
        command = [HEADRACE, "up", "--data", str(self.data), "--port", "0", "--workers", str(workers)]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [*command, *(["--store", store] if store else [])],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(),
                start_new_session=True,
            )
        try:
            self._find()
        except BaseException:
            self.end()
            raise

    def _find(self) -> None:
        deadline = time.monotonic() + 60
        while not (self.data / "server.json").exists():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise Broken(f"the server did not start:\n{self.log.read_text()[-1200:]}")
            time.sleep(0.002)
        self.address = json.loads((self.data / "server.json").read_text())["url"].removeprefix("http://")
        self.token = (self.data / "admin-token").read_text().strip()
        self.connection = self.connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    # HTTP

    def connect(self) -> http.client.HTTPConnection:
        """One more connection."""
        return http.client.HTTPConnection(self.address, timeout=180)

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        kind: str = "application/json",
        connection: http.client.HTTPConnection | None = None,
    ) -> Any:
        """The answer, decoded; a refusal ends the row."""
        connection = connection or self.connection
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.token}", "Content-Type": kind}
        connection.request(method, "/api/v1" + path, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise Broken(f"{method} {path}: {answer.status} {text.decode(errors='replace')[:2000]}")
        return msgspec.json.decode(text) if text else None

    def request(self, method: str, path: str, body: bytes) -> bytes:
        """The same as the bytes that go over a socket."""
        head = (
            f"{method} /api/v1{path} HTTP/1.1\r\nHost: {self.address}\r\nAuthorization: Bearer {self.token}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        return head.encode() + body

    def job(self, name: str, *tasks: dict[str, Any], **more: Any) -> None:
        """Save a job."""
        self.ask("POST", "/jobs", {"name": name, "tasks": list(tasks), **more})

    def package(self) -> None:
        """Register CODE."""
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("bench_code.py", CODE)
        self.ask("PUT", "/packages/bench", packed.getvalue(), kind="application/zip")

    def warm(self, job: str, runs: int = 100) -> None:
        """Every part has done this before."""
        self.ask("POST", "/runs/batch", {"runs": [{"job": job}] * runs})
        self.idle()

    def warm_beside(self, job: str, runs: int) -> None:
        """The same where other runs stay open."""
        self.ask("POST", "/runs/batch", {"runs": [{"job": job}] * runs})
        self.all_ended(job, runs)

    def all_ended(self, job: str, runs: int, pause: float = 0.002) -> None:
        """Until so many runs of the job have succeeded; asks by the open ones, which are few."""
        listed = "open_run o join run r on r.id = o.id" if self.store else "run r"
        open_ = f"select count(*) from {listed} where r.job = '{job}' and r.state < 4"
        done = f"select count(*) from run where job = '{job}' and state = 4"
        deadline = time.monotonic() + PATIENCE_S
        while self.number(open_):
            if time.monotonic() > deadline:
                raise Broken(f"runs of {job} are still open")
            time.sleep(pause)
        if self.number(done) != runs:
            raise Broken(f"{runs} runs of {job} expected, {self.number(done)} have succeeded")

    def ended(self, run: int, seconds: float = PATIENCE_S) -> dict[str, Any]:
        """The run when it has succeeded."""
        deadline = time.monotonic() + seconds
        while True:
            view: dict[str, Any] = self.ask("GET", f"/runs/{run}?wait=30s")
            if view["state"] == "succeeded":
                return view
            if view["state"] in {"failed", "canceled", "abandoned"} or time.monotonic() > deadline:
                raise Broken(f"run {run} is {view['state']}: {json.dumps(view)[:2000]}")

    def settings(self) -> dict[str, str]:
        """What control read back from its own writing connection. Ends the row when they are not durable."""
        found: dict[str, str] = self.ask("GET", "/version")["settings"]
        good = found.get("synchronous") == "2" and found.get("journal_mode") == "wal"
        if self.store:
            good = found.get("synchronous_commit") == "on" and found.get("fsync") == "on"
        if not good:
            raise Broken(f"these settings are not durable: {found}")
        return found

    # The store

    def rows(self, text: str) -> list[tuple[Any, ...]]:
        """All rows of a question that both dialects understand, over a connection of our own."""
        if self.store:
            import psycopg

            if not hasattr(self, "_postgres"):
                path = "-c search_path=headrace,public"
                self._postgres = psycopg.connect(self.store, autocommit=True, options=path)
            return self._postgres.execute(text.encode()).fetchall()
        if not hasattr(self, "_sqlite"):
            self._sqlite = apsw.Connection(str(self.data / "headrace.db"), flags=apsw.SQLITE_OPEN_READONLY)
            self._sqlite.set_busy_timeout(5000)
        return list(self._sqlite.execute(text))

    def number(self, text: str) -> int:
        """The one number that it gives."""
        return int(self.rows(text)[0][0])

    def idle(self, pause: float = 0.002, *, but: int = 0) -> None:
        """Until the store shows no open run (or not more than ``but``)."""
        listed = "open_run" if self.store else "run where state < 4"
        text = f"select count(*) from (select 1 from {listed} limit {but + 1}) as open"
        deadline = time.monotonic() + PATIENCE_S
        while self.number(text) > but:
            if time.monotonic() > deadline:
                raise Broken(f"runs are still open: {self.rows('select state, count(*) from run group by state')}")
            time.sleep(pause)

    def prove(self, runs: int, *, job: str, python: bool = True) -> None:
        """So many runs of the job have succeeded, each with history and result, worked by runners of ours."""
        where = f"job = '{job}'"
        done = self.number(f"select count(*) from run where {where} and state = 4")
        if done != runs:
            raise Broken(f"{runs} runs of {job} expected, {done} have succeeded")
        told = self.number(
            f"select count(*) from run r where {where} and exists (select 1 from history_run h where h.run = r.id)"
        )
        if told != runs:
            raise Broken(f"{runs} runs of {job}, {told} have history")
        self.settings()
        if python:
            cells = [
                _task(i) for (i,) in self.rows(f"select t.image from task t join run r on r.id = t.run where r.{where}")
            ]
            self.worked(
                {_pid(cell) for cell in cells if cell.result is not None}, {cell.key for cell in cells if cell.result}
            )
            if sum(cell.result is not None for cell in cells) < runs:
                raise Broken(f"{runs} runs of {job}, not all kept their result")

    def worked(self, pids: set[int], keys: set[Any]) -> None:
        """These pids are runners of this server."""
        alive = {p.pid for p in self.processes()}
        if keys and (not pids or not pids <= alive):
            raise Broken(f"worked by {pids}, which are not all among our processes {alive}")

    # Processes

    def processes(self) -> list[Process]:
        """``up`` and all below it."""
        return tree(self.process.pid)

    def cpu(self) -> dict[str, float]:
        """Seconds of CPU so far by role."""
        used: dict[str, float] = {}
        for process in self.processes():
            role = role_of(process)
            used[role] = used.get(role, 0.0) + process.cpu
        return used

    def control(self) -> int:
        """The control process."""
        return next(p.pid for p in self.processes() if role_of(p) == "control")

    def end(self) -> None:
        """SIGTERM, and wait; what does not end is killed."""
        for name in ("_sqlite", "_postgres"):
            if hasattr(self, name):
                getattr(self, name).close()
                delattr(self, name)
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(40)
            except subprocess.TimeoutExpired:
                for process in self.processes():
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
                self.process.wait()


def role_of(process: Process) -> str:
    """What it does for the server; the supervisor's words name all the others."""
    return next((role for mark, role in ROLES if mark in process.words), "command")


def _task(image: bytes) -> TaskCell:
    return msgspec.msgpack.decode(image, type=TaskCell)


def _pid(cell: TaskCell) -> int:
    assert cell.result is not None
    value = msgspec.json.decode(cell.result.data or b"0")
    return int(value[-1]) if isinstance(value, list) else int(value)
