"""10,000 one-task runs by batch submit through a real ``headrace up``: runs per second and CPU of every process.

Submits ``--runs`` runs of a saved job with one no-op Python task, in units of ``--unit`` (``POST /runs/batch``), and
waits until all have succeeded. What is told is also proved: settings as the server's own connection reads them, history
rows, kept results, the processes that worked. Refuses a data folder in memory. Wall time means something on an idle
machine only; CPU time per run always does. Usage:

    python bench/batch.py [--runs 10000] [--unit 1000] [--kind python|command] [--store postgresql://…] [--beside]
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from pathlib import Path
from typing import Any

import apsw
import msgspec

from headrace.model.cells import TaskCell

PROGRAM = "import os\n\nfrom headrace import task\n\n\n@task\ndef noop():\n    return os.getpid()\n"
TICK = os.sysconf("SC_CLK_TCK")
PATIENCE_S = 300.0


class Rows:
    """What the store holds, seen from outside, over a connection of our own."""

    def __init__(self, data: Path, url: str) -> None:
        self._url = url
        if url:
            import psycopg

            self._pg = psycopg.connect(url, autocommit=True, options="-c search_path=headrace")
        else:
            self._lite = apsw.Connection(str(next(data.glob("*.db"))), flags=apsw.SQLITE_OPEN_READONLY)

    def ask(self, text: str) -> list[tuple[Any, ...]]:
        """All rows of a question that both dialects understand."""
        if self._url:
            return self._pg.execute(text).fetchall()  # type: ignore[arg-type]  # reason: our own texts only
        return list(self._lite.execute(text))

    def open(self) -> bool:
        """Whether a run is open; cheap, because it is asked while the others are measured."""
        return bool(
            self.ask("select 1 from open_run limit 1" if self._url else "select 1 from run where state < 4 limit 1")
        )

    def number(self, text: str) -> int:
        """The one number that it gives."""
        return int(self.ask(text)[0][0])


class Server:
    """A ``headrace up`` of our own."""

    def __init__(self, folder: Path, workers: int, store: str) -> None:
        self.data = folder / "data"
        self.log = folder / "up.log"
        command = [str(Path(sys.executable).with_name("headrace")), "up", "--data", str(self.data), "--port", "0"]
        command += ["--workers", str(workers), *(["--store", store] if store else [])]
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE")}
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=kept)
        deadline = time.monotonic() + 30
        while not (self.data / "server.json").exists() or "agent" not in self.log.read_text():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise SystemExit(f"the server did not start:\n{self.log.read_text()}")
            time.sleep(0.02)
        host = json.loads((self.data / "server.json").read_text())["url"].removeprefix("http://")
        token = (self.data / "admin-token").read_text().strip()
        self.address, self.headers = host, {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
        self.connection = self.connect()

    def connect(self) -> http.client.HTTPConnection:
        """A connection of its own."""
        return http.client.HTTPConnection(self.address, timeout=120)

    def call(
        self, method: str, path: str, body: bytes, kind: str = "", connection: http.client.HTTPConnection | None = None
    ) -> bytes:
        """The answer's body; any refusal ends the benchmark."""
        connection = connection or self.connection
        headers = {**self.headers, "Content-Type": kind} if kind else self.headers
        connection.request(method, "/api/v1" + path, body, headers)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status >= 300:
            raise SystemExit(f"{method} {path}: {answer.status} {text.decode()[:2000]}")
        return text

    def settings(self) -> str:
        """As control read them back from its own connection."""
        self.connection.request("GET", "/api/v1/version", headers=self.headers)
        return str(json.loads(self.connection.getresponse().read()).get("settings", "not told"))

    def cpu(self) -> dict[str, tuple[str, float]]:
        """User and system seconds so far of every process below ``up``: pid → (role, seconds)."""
        parents: dict[int, list[int]] = {}
        stats: dict[int, tuple[str, float]] = {}
        for entry in Path("/proc").iterdir():
            if not entry.name.isdigit():
                continue
            with contextlib.suppress(OSError, ValueError):
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                ticks = sum(int(t) for t in fields[11:15])
                parents.setdefault(int(fields[1]), []).append(int(entry.name))
                stats[int(entry.name)] = (words, ticks / TICK)
        found: dict[str, tuple[str, float]] = {}
        waiting = [self.process.pid]
        while waiting:
            pid = waiting.pop()
            below = parents.get(pid, [])
            waiting += below
            found[str(pid)] = (_role(stats[pid][0], bool(below)), stats[pid][1])
        return found

    def end(self) -> None:
        """SIGTERM, and wait."""
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def _role(words: str, parent: bool) -> str:
    for mark, role in (
        ("supervisor.py", "supervisor"),
        ("cli.control", "control"),
        ("guard.py", "guard"),
        ("cli.agent", "agent"),
        ("runner.template", "template" if parent else "runner"),
    ):
        if mark in words:
            return role
    return "command"


def prepare(server: Server, kind: str) -> None:
    """Register the code and the job."""
    if kind == "python":
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w") as archive:
            archive.writestr("bench_noop.py", PROGRAM)
        server.call("PUT", "/packages/bench", packed.getvalue(), "application/zip")
        task: dict[str, Any] = {"name": "t", "python": "bench_noop:noop", "package": "bench"}
    else:
        task = {"name": "t", "command": ["/bin/true"]}
    server.call("POST", "/jobs", json.dumps({"name": "noop", "tasks": [task]}).encode())


def wait(rows: Rows) -> None:
    """Until no run is open."""
    deadline = time.monotonic() + PATIENCE_S
    while rows.open():
        if time.monotonic() > deadline:
            raise SystemExit(f"runs are still open: {rows.ask('select state, count(*) from run group by state')}")
        time.sleep(0.01)


def beside(server: Server, over: threading.Event, times: list[float]) -> None:
    """Another client, which submits one run at a time meanwhile."""
    connection = server.connect()
    while not over.is_set():
        began = time.perf_counter()
        server.call("POST", "/jobs/noop/runs", b"{}", connection=connection)
        times.append(time.perf_counter() - began)
        time.sleep(0.005)


def measure(server: Server, rows: Rows, args: argparse.Namespace) -> None:
    """One load, from the first request to the last outcome."""
    sizes = [min(args.unit, args.runs - at) for at in range(0, args.runs, args.unit)]
    bodies = [json.dumps({"runs": [{"job": "noop"}] * size}).encode() for size in sizes]
    before, runs_before = server.cpu(), rows.number("select count(*) from run")
    over, others = threading.Event(), []
    other = threading.Thread(target=beside, args=(server, over, others))
    if args.beside:
        other.start()
    acks = []
    began = time.perf_counter()
    for body in bodies:
        asked = time.perf_counter()
        server.call("POST", "/runs/batch", body)
        acks.append(time.perf_counter() - asked)
    submitted = time.perf_counter() - began
    over.set()
    wait(rows)
    seconds = time.perf_counter() - began
    after = server.cpu()
    runs = rows.number("select count(*) from run") - runs_before
    used: dict[str, float] = {}
    for pid, (role, spent) in after.items():
        used[role] = used.get(role, 0.0) + spent - before.get(pid, ("", 0.0))[1]
    told = ", ".join(f"{role} {spent / runs * 1e6:.1f}" for role, spent in sorted(used.items()) if spent)
    print(f"{runs} runs in units of {args.unit}: {runs / seconds:8.0f} runs/s (submitted {runs / submitted:.0f}/s)")
    print(f"  CPU {sum(used.values()) / runs * 1e6:6.1f} us a run: {told}")
    print(f"  batch ack worst {max(acks) * 1000:.0f} ms", end="")
    if others:
        others.sort()
        p50, p99 = (others[int(len(others) * q)] * 1000 for q in (0.5, 0.99))
        print(f"; another's single submit beside it: p50 {p50:.1f} ms, p99 {p99:.1f} ms ({len(others)})", end="")
    print(flush=True)


def prove(server: Server, rows: Rows, kind: str) -> None:
    """History, results, processes, settings."""
    runs = rows.number("select count(*) from run")
    succeeded = rows.number("select count(*) from run where state = 4")
    history = rows.number("select count(*) from history_run")
    results: dict[Any, int] = {}
    kept = 0
    for (image,) in rows.ask("select image from task"):
        cell = msgspec.msgpack.decode(image, type=TaskCell)
        if cell.result is not None and cell.result.data is not None:
            kept += 1
            results[cell.result.data] = results.get(cell.result.data, 0) + 1
    print(f"  settings {server.settings()}")
    print(f"  {runs} runs, {succeeded} succeeded, {history} history rows, {kept} results kept, worked by {results}")
    if succeeded != runs or (kind == "python" and kept != runs):
        raise SystemExit("not every run succeeded and kept its result")


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--unit", type=int, default=1_000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kind", choices=("python", "command"), default="python")
    parser.add_argument("--store", default="")
    parser.add_argument("--folder", default=".")
    parser.add_argument("--beside", action="store_true")
    parser.add_argument("--profile", default="", help="folder for py-spy's recordings of control and agent")
    args = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="headrace-bench-", dir=args.folder)).resolve()
    kind = subprocess.run(["stat", "-f", "-c", "%T", folder], capture_output=True, text=True, check=True).stdout
    if kind.strip() in {"tmpfs", "ramfs"}:
        raise SystemExit(f"{folder} is in memory: give --folder on a real disk")
    server = Server(folder, args.workers, args.store)
    try:
        rows = Rows(server.data, args.store)
        prepare(server, args.kind)
        server.call("POST", "/runs/batch", json.dumps({"runs": [{"job": "noop"}] * 200}).encode())
        wait(rows)
        spies = _spies(server, args.profile) if args.profile else []
        for _ in range(args.rounds):
            measure(server, rows, args)
        for spy in spies:
            spy.send_signal(signal.SIGINT)
            spy.wait()
        prove(server, rows, args.kind)
        if not args.store:
            size = sum(file.stat().st_size for file in server.data.glob("*.db"))
            print(f"  {size / rows.number('select count(*) from run'):.0f} bytes of database a run")
    finally:
        server.end()
        shutil.rmtree(folder)


def _spies(server: Server, folder: str) -> list[subprocess.Popen[bytes]]:
    """py-spy on control, agent and one runner."""
    spies, seen = [], set()
    for pid, (role, _) in server.cpu().items():
        if role in {"control", "agent", "runner"} and role not in seen:
            seen.add(role)
            out = f"{folder}/{role}.txt"
            command = ["py-spy", "record", "--rate", "500", "--format", "raw", "-d", "120", "-o", out, "--pid", pid]
            command.insert(2, "--native")
            spies.append(subprocess.Popen([str(Path(sys.executable).with_name("py-spy")), *command[1:]]))
    time.sleep(2)
    return spies


if __name__ == "__main__":
    main()
