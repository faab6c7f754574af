"""The real thing for tests: ``headrace up`` as a process tree, clients that do not give up, and a look at what is left.

``Server`` starts the command line in a data folder of its own and knows every process of it by a mark in the
environment, by the family tree and by what the agent puts into an attempt's environment. ``Load`` is a small mixed load
whose every attempt notes itself in a file, so that afterwards the history can be held against what really happened.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headrace.client import flow
from headrace.client.sync import FINAL, Client, Run
from headrace.link.records import LogRecord, Seal
from headrace.model.cells import ParentRef, TaskCell
from headrace.model.errors import Busy, Conflict, HeadraceError, Refused, Unreachable
from headrace.model.ids import RUN_ITSELF
from headrace.model.states import TASK_FINAL
from headrace.store.port import Store
from headrace.store.rows import HistoryRow, RunFilter
from headrace.testing.sim.checker import judge

T = TypeVar("T")
PATIENCE_S = 60.0
"""How long anything may take on a machine that is busy with other tests; nothing is measured by it."""

MARK = "HEADRACE_TEST_MARK"


def until(holds: Callable[[], T], *, what: str = "", seconds: float = PATIENCE_S) -> T:
    """Wait until it holds (is true), and give what it gave. Raises AssertionError after ``seconds``."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, StopIteration, json.JSONDecodeError):
            if got := holds():
                return got
        assert time.monotonic() < deadline, f"waited {seconds:.0f} s for {what or holds}"
        select.select([], [], [], 0.02)


# Processes


def stat_of(pid: int) -> list[str]:
    """State, parent … of a process; empty when it is gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return []


def alive(pid: int) -> bool:
    """It is there and no zombie: PID 1 of some machines reaps late."""
    return bool(stat_of(pid)) and stat_of(pid)[0] not in "ZX"


def words_of(pid: int) -> list[str]:
    """Its argument list."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode("utf-8", "replace").split("\0")
    except OSError:
        return []


def pids() -> list[int]:
    """Every process there is."""
    return [int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()]


def environ_of(pid: int) -> bytes:
    """Its environment as it was given at its start."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return b""


class Server:
    """A ``headrace up`` on a data folder. ``start`` it, ``end`` it; ``leftovers`` are its processes that live."""

    def __init__(
        self, data: Path, *, store: str = "", workers: int = 2, port: int = 0, environ: dict[str, str] | None = None
    ) -> None:
        self.data = data
        self.mark = uuid.uuid4().hex
        self.url = store
        self.log = data.parent / f"{data.name}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._client: Client | None = None
        kept = {k: v for k, v in os.environ.items() if not k.startswith("HEADRACE")}
        self.environ = {**kept, MARK: self.mark, **(environ or {})}
        self.command = [str(Path(sys.executable).with_name("headrace")), "up", "--data", str(data), "--port", str(port)]
        self.command += ["--workers", str(workers), *(["--store", store] if store else [])]

    def start(self, *, wait: bool = True) -> Server:
        """Start it, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command, env=self.environ, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
        if wait:
            self.ask(lambda c: c.version())
        return self

    def ask(self, what: Callable[[Client], T], *, seconds: float = PATIENCE_S) -> T:
        """Ask until there is an answer: what cannot be reached or is busy is asked again, elsewhere if it moved."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                if self._client is None:
                    self._client = Client(data=self.data)
                return what(self._client)
            except (Unreachable, Busy) as error:
                self.forget()
                assert self.process is None or self.process.poll() is None, f"up has ended:\n{self.words()}"
                if time.monotonic() > deadline:
                    raise AssertionError(f"no answer in {seconds:.0f} s\n{self.words()}") from error
                select.select([], [], [], 0.03)

    def forget(self) -> None:
        """The next question opens a new connection."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def submit(
        self, target: Any, key: str, params: dict[str, Any] | None = None, *, seconds: float = PATIENCE_S
    ) -> int:
        """One run under an idempotency key, asked for until it is acknowledged."""
        return self.ask(lambda c: c.submit(target, params, key=key).id, seconds=seconds)

    def run(self, number: int) -> Run:
        """The run as the server shows it now."""
        return self.ask(lambda c: c.runs.get(number))

    def state(self, number: int) -> str:
        """Its state."""
        return self.run(number).state

    def wait(self, number: int, *, seconds: float = PATIENCE_S) -> Run:
        """Until it has ended, over whatever happens to the server."""
        deadline = time.monotonic() + seconds
        while True:
            run = self.ask(lambda c: c.runs.get(number), seconds=seconds)
            with contextlib.suppress(TimeoutError, Unreachable, Busy):
                run.wait(timeout=1.0)
            if run.state in FINAL:
                return run
            assert time.monotonic() < deadline, f"run {number} is still {run.view}\n{self.words()}"

    def cancel(self, number: int) -> None:
        """Cancel until it is acknowledged; a run that has ended needs none."""
        with contextlib.suppress(Conflict, Refused):
            self.ask(lambda c: c.do(_cancel(number)))

    # Processes

    def family(self) -> set[int]:
        """Every process below and with ``up``, by what the kernel says now."""
        assert self.process is not None
        found = {self.process.pid}
        parents = {pid: int(stat[1]) for pid in pids() if (stat := stat_of(pid))}
        while more := {p for p, parent in parents.items() if parent in found} - found:
            found |= more
        return found

    def ours(self) -> set[int]:
        """Every living process that carries our mark or an attempt key of our agent."""
        whose = hashlib.sha256(os.path.realpath(self.data / "agent").encode()).hexdigest()[:16]
        marks = (f"{MARK}={self.mark}".encode(), f"HEADRACE_ATTEMPT_KEY={whose}.".encode())
        return {p for p in pids() if any(m in environ_of(p) for m in marks) and alive(p)}

    def control(self) -> int:
        """The control process."""
        return self._named("headrace.cli.control")

    def agent(self) -> int:
        """The agent process."""
        return next(p for p in sorted(self.family()) if words_of(p)[1:3] == ["-m", "headrace.cli.agent"])

    def guard(self) -> int:
        """The guard above the agent."""
        return next(p for p in sorted(self.family()) if any(w.endswith("agent/guard.py") for w in words_of(p)[:5]))

    def _named(self, module: str) -> int:
        return next(p for p in sorted(self.family()) if module in words_of(p)[:4])

    def end(self) -> int:
        """SIGTERM, and wait; gives the exit code."""
        assert self.process is not None
        self.forget()
        self.process.terminate()
        return self.process.wait(PATIENCE_S)

    def gone(self, family: set[int] = frozenset()) -> None:  # type: ignore[assignment]  # frozenset reads as empty set
        """Nothing of it lives, nor anything of ``family``. Raises AssertionError naming what does."""
        told = lambda: f"{[(p, words_of(p)) for p in self.ours() | {f for f in family if alive(f)}]}"  # noqa: E731
        try:
            until(lambda: not self.ours() and not any(alive(p) for p in family), seconds=15)
        except AssertionError:
            raise AssertionError(f"still alive: {told()}\n{self.words()}") from None

    def kill_all(self) -> None:
        """For the end of a test, however it went."""
        self.forget()
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
        if self.process is not None:
            self.process.wait()
        for pid in self.ours():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    def words(self) -> str:
        """The end of what it said."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


def _cancel(number: int) -> Any:
    return flow.command(number, "cancel", "the test says so")


@contextlib.contextmanager
def serving(data: Path, **settings: Any) -> Iterator[Server]:
    """A server for the length of a block; nothing of it outlives the block, and a test that leaves some fails."""
    server = Server(data, **settings)
    try:
        yield server.start()
    finally:
        server.kill_all()


def as_url(dsn: str) -> str:
    """``host=… user=… dbname=…`` as the URL that ``--store`` takes."""
    words = dict(word.split("=", 1) for word in dsn.split())
    return f"postgresql://{words['user']}@/{words['dbname']}?host={words['host']}"


# Load

CODE = """
import os, time
from headrace import task

@task
def double(n, ground):
    with open(ground, "a") as f:
        f.write(os.environ.get("HEADRACE_RUN", "python") + "\\n")
    return 2 * n

@task
def slow(seconds=600):
    time.sleep(seconds)  # the work itself
    return os.getpid()
"""


def package() -> bytes:
    """A package ``load`` with the tasks of CODE."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(zipfile.ZipInfo("load.py", (2026, 1, 1, 0, 0, 0)), CODE)
    return out.getvalue()


class Load:
    """Single commands, retries, a fan-out, Python, a long log, a large artifact and result, child runs, a wait, a cancel
    that is carried down; and what they did.
    """

    LINES = 30_000

    def __init__(self, server: Server, folder: Path, *, singles: int = 6, mixed: int = 2) -> None:
        self.server = server
        self.ground = folder / "ground"
        self.ground.touch()
        self.acknowledged: dict[str, int] = {}
        self.expected: dict[int, str] = {}
        self._singles = singles
        self._mixed = mixed

    def submit(self) -> Load:
        """Everything, each under a key of its own; the canceled one as soon as it is acknowledged."""
        self.server.ask(lambda c: c.packages.put("load", package()))
        for name, text in (("leaf", "true"), ("sleeper", "sleep 600")):
            job = self._job(name, [{"name": "only", "command": self._sh(text)}])
            self.server.ask(lambda c, job=job: c.jobs.put(job))
        stopped = [{"name": "kid", "job": "sleeper"}]
        self._one("stopped", {"job": self._job("stopped", stopped)}, "canceled")
        self._one("asked", {"command": self._sh("sleep 600")}, "canceled")
        for n in range(self._mixed):
            self._one(f"mixed-{n}", {"job": self._job("mixed", self._tasks())}, "succeeded")
        for n in range(self._singles):
            self._one(f"single-{n}", {"command": self._sh("true")}, "succeeded")
        for key in ("stopped", "asked"):
            until(lambda key=key: self.server.state(self.acknowledged[key]) != "queued", what=f"the {key} one to begin")
            self.server.cancel(self.acknowledged[key])
        return self

    def more(self, *, seconds: float = PATIENCE_S) -> Load:
        """One more single command, to its end, when the others have been submitted."""
        key = f"more-{len(self.acknowledged)}"
        run = self.acknowledged[key] = self.server.submit({"command": self._sh("true")}, key, seconds=seconds)
        self.expected[run] = "succeeded"
        self.server.wait(run, seconds=seconds)
        return self

    def finish(self) -> Load:
        """Until all have ended, as they should."""
        for key, run in self.acknowledged.items():
            ended = self.server.wait(run)
            assert ended.state == self.expected[run], f"{key}: {ended.view}\n{self.server.words()}"
            if "mixed" in key:
                assert ended.tasks["py"].result == 42
                self._read_log(run)
        return self

    def _read_log(self, run: int) -> None:
        """Logs follow their outcomes: read the long one until its last attempt is all there, or says that it was cut."""
        whole = b"".join(b"%d\n" % n for n in range(1, self.LINES + 1))

        def read() -> bool:
            text: bytes = self.server.ask(lambda c: c.do(flow.log_text(run, "log")))
            return text.endswith(whole) or b"the log is cut here" in text

        until(read, what=f"the long log of run {run}")

    def _one(self, key: str, target: dict[str, Any], expected: str) -> None:
        run = self.server.submit(target, key)
        self.acknowledged[key] = run
        self.expected[run] = expected

    def _sh(self, text: str) -> list[str]:
        return ["sh", "-c", f'echo "$HEADRACE_ATTEMPT_KEY" >> {self.ground}; {text}']

    def _job(self, name: str, tasks: list[dict[str, Any]]) -> dict[str, Any]:
        return {"name": name, "tasks": tasks}

    def _tasks(self) -> list[dict[str, Any]]:
        fast = {"max": 5, "delay": "20ms", "jitter": 0}
        return [
            {"name": "flaky", "command": self._sh('test "$HEADRACE_ATTEMPT" -ge 2'), "retries": fast},
            {"name": "list", "command": self._sh('echo "[1,2,3]" > "$HEADRACE_RESULT"')},
            {"name": "many", "each": "${tasks.list.result}", "command": [*self._sh('echo "$0"'), "${item}"]},
            {
                "name": "py",
                "python": "load:double",
                "package": "load",
                "with": {"n": 21, "ground": f"{self.ground}.py"},
            },
            {"name": "log", "command": self._sh(f"seq 1 {self.LINES}")},
            {
                "name": "file",
                "command": self._sh('head -c 700000 /dev/urandom > "$HEADRACE_OUTPUTS/big.bin"; echo kept'),
            },
            {"name": "large", "command": self._sh('seq -s, 1 80000 | sed "s/.*/[&]/" > "$HEADRACE_RESULT"')},
            {"name": "kids", "each": [1, 2], "job": "leaf", "retries": {"max": 3, "delay": "20ms", "only": ["lost"]}},
            {"name": "pause", "wait": {"for": "100ms"}},
            {"name": "sum", "needs": ["many", "py", "flaky", "kids", "pause"], "command": self._sh("true")},
        ]

    # Afterwards

    async def broken(self, store: Store, *, lost: bool) -> list[str]:
        """Which promises the store does not keep, held against what was acknowledged and what really ran.

        ``lost``: attempts may have been lost, because their agent died.
        """
        broken: list[str] = []
        known: set[int] = set()
        children: dict[int, ParentRef] = {}
        after: tuple[int, int] | None = None
        while rows := await store.reader.runs(RunFilter(limit=500, after=after)):
            known.update(row.cell.run for row in rows)
            children |= {r.cell.run: r.input.more.parent for r in rows if r.input.more and r.input.more.parent}
            after = (rows[-1].cell.created_at, rows[-1].cell.run)
        broken += [
            f"I1 {k} was acknowledged as run {r}, which is lost" for k, r in self.acknowledged.items() if r not in known
        ]
        broken += [
            f"I1 run {r} exists, and nobody was answered with it"
            for r in known - set(self.acknowledged.values()) - children.keys()
        ]
        broken += [f"{text} twice" for text, n in Counter(map(str, children.values())).items() if n > 1]
        broken += [f"child {r} has no parent: {parent}" for r, parent in children.items() if parent.run not in known]
        broken += [f"not delivered: {row}" for row in await store.reader.outbox("child", 2**62, 10)]
        began = Counter(self.ground.read_text().split())
        broken += [f"I4 attempt {key} ran {n} times" for key, n in began.items() if n > 1]
        ran: Counter[tuple[int, int, int]] = Counter()
        for key in began:
            _, _, run, no, index, _ = key.split(".")
            ran[int(run), int(no), int(index)] += 1
        for run in sorted(known):
            cells = await all_tasks(store, run)
            broken += await judge_run(store, run, cells)
            broken += [f"I6 run {run} left {c.key} {c.state.name}" for c in cells if c.state not in TASK_FINAL]
            for cell in cells:
                broken += self._counted(cell, ran[cell.key], lost=lost)
                broken += await self._logged(store, cell, began)
        return broken

    def _counted(self, cell: TaskCell, ran: int, *, lost: bool) -> list[str]:
        """The attempts that were counted are those that ran; one that was lost may not have begun."""
        if cell.counts is not None or (cell.attempt == 0 and ran == 0) or (ran == 0 and lost):
            return []
        if ran > cell.attempt or (not lost and 0 < ran < cell.attempt):
            return [f"I4 {cell.key} has {cell.attempt} attempts, {ran} ran"]
        if cell.attempt > (4 if lost else 2):
            return [f"I4 {cell.key} took {cell.attempt} attempts"]
        return []

    async def _logged(self, store: Store, cell: TaskCell, began: Counter[str]) -> list[str]:
        """The long log is there to its last byte, or a prefix that says it was cut."""
        if cell.counts is not None or not cell.seal:
            return []
        seal = msgspec.msgpack.decode(cell.seal, type=Seal)
        data, seen = b"", 0
        for segment in await store.reader.segments(cell.key, cell.attempt):
            packed = segment.data if segment.data is not None else await store.blobs.get(segment.digest)
            for record in msgspec.msgpack.decode(packed, type=list[LogRecord]):
                if record.seq != seen + 1:
                    return [f"I12 log of {cell.key}: record {record.seq} after {seen}"]
                seen = record.seq
                data += record.data if record.stream == "stdout" else b""
        if seal.last > 0 and not seal.inline and seen < seal.last and not seal.cut:
            return [f"I12 log of {cell.key}: {seen} of {seal.last} records"]
        whole = b"".join(b"%d\n" % n for n in range(1, self.LINES + 1))
        if data.startswith(b"1\n2\n") and data != whole and not (seal.cut and whole.startswith(data)):
            return [f"I12 log of {cell.key}: {len(data)} bytes of {len(whole)}, cut {seal.cut!r}"]
        return []


async def all_tasks(store: Store, run: int) -> list[TaskCell]:
    """Every task row of a run."""
    cells: list[TaskCell] = []
    after = (-1, -2)
    while page := await store.reader.tasks(run, after=after):
        cells += page
        after = (page[-1].no, page[-1].index)
    return cells


async def judge_run(store: Store, run: int, cells: list[TaskCell]) -> list[str]:
    """What the history of a run breaks: one end, rising epochs, dense versions, a record of every commit."""
    rows: list[HistoryRow] = []
    for no, index in [(RUN_ITSELF, -1), *((c.no, c.index) for c in cells)]:
        seen = 0
        while page := await store.reader.history(run, no=no, index=index, after=seen):
            rows += page
            seen = page[-1].version
    broken = [f"{text} (run {run})" for text in judge(rows)]
    broken += [] if rows else [f"I13 run {run} has no history"]
    missing = await store.reader.statement("commits_missing", {"run": run})
    return broken + [f"I13 run {run} names commit {row[0]}, which has no record" for row in missing]


def inspect(data: Path, dsn: str, look: Callable[[Store], Any]) -> Any:
    """Open the store of a server that has ended, and look."""

    async def opened() -> Any:
        if dsn:
            from headrace.store.postgres.store import open_store

            store: Store = await open_store(dsn)
        else:
            from headrace.control.clock import SystemClock
            from headrace.store.sqlite.store import open_sqlite

            store = await open_sqlite(str(data), clock=SystemClock())
        try:
            return await look(store)
        finally:
            await store.close()

    with asyncio.Runner() as runner:
        return runner.run(opened())


__all__ = ["HeadraceError", "Load", "Server", "as_url", "inspect", "serving", "until"]
