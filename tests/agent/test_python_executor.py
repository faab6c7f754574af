"""The Python executor with real template and runners: frames, order, cancel, death of a runner, packages."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import signal
import sys
import zipfile
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from headrace.agent.executors.port import Ending
from headrace.agent.executors.python import PythonExecutor
from headrace.agent.packages import FilePackages
from headrace.link.records import Assignment
from headrace.model.changes import OutcomeKind

CODE = """
import asyncio, ctypes, logging, os, signal, subprocess, sys, time, warnings
from datetime import date
from pathlib import Path
from headrace import Canceled, Context, Fail, Retry, Skip, Task, current, task

@task
def noop() -> None: ...

@task
def add(a: int, b: int = 1) -> int:
    return a + b

@task
def day_after(ctx: Context, day: date) -> list[object]:
    return [type(day).__name__, ctx.run, current().epoch, os.environ["HEADRACE_EPOCH"], os.listdir(".")]

@task
def says() -> None:
    print("one")
    os.write(1, b"two\\n")
    subprocess.run(["echo", "three"])
    print("four", file=sys.stderr)
    logging.getLogger("mine").error("five %d", 5)
    warnings.warn("six")

@task
def litters() -> str:
    Path("left.txt").write_text("x")
    os.environ["LEFT"] = "x"
    os.chdir("/")
    subprocess.Popen(["sleep", "1000"], start_new_session=True)
    return "done"

@task
def looks() -> list[object]:
    return [os.listdir("."), os.environ.get("LEFT")]

@task
def boom() -> None:
    try:
        {}["k"]
    except KeyError as e:
        raise ValueError("bad") from e

@task
def fails() -> None: raise Fail("no data", exit_status="NO_DATA")
@task
def retries() -> None: raise Retry("later", after="30s")
@task
def skips() -> None: raise Skip("nothing")

@task
def sleeps(ctx: Context, path: str) -> str:
    Path(path).touch()
    try:
        time.sleep(60)  # the work itself
    except Canceled:
        return "woken"
    return "slept"

@task
def sleeps_on(path: str) -> None:
    Path(path).touch()
    time.sleep(60)  # the work itself

@task
async def waits(path: str) -> None:
    Path(path).touch()
    await asyncio.sleep(60)  # the work itself

@task
def stubborn(path: str) -> None:
    Path(path).touch()
    while True:
        try:
            time.sleep(60)  # the work itself
        except Canceled:
            pass

@task
def holds() -> None:  # the interpreter: no thread of the runner can speak, and no signal but a kill ends the sleep
    signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    ctypes.PyDLL(None).sleep(60)

@task
def dies() -> None: os.kill(os.getpid(), 9)

@task
def narrows(what: str, path: str) -> None:
    import resource
    if what == "files": resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
    if what == "depth": sys.setrecursionlimit(80)
    if what == "mask": os.umask(0o777)
    if what == "deaf": signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if what == "alarm": signal.setitimer(signal.ITIMER_REAL, 0.2)

@task
def deep(what: str, path: str) -> list[int]:
    time.sleep(0.3)  # the work itself: longer than the alarm that an earlier call may have set
    with open(path, "w"): pass
    def down(n: int) -> int: return n and down(n - 1)
    import resource
    return [down(300), resource.getrlimit(resource.RLIMIT_NOFILE)[0] == 64, os.stat(path).st_mode & 0o700 == 0o600]

@task
def signals_its_parent() -> None:
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
        os.kill(os.getppid(), number)

@task
def many(n: int) -> object:
    return (i for i in range(n))

@task
def large() -> str: return "x" * 1_000_000

@task
def blocked(folder: str) -> str:
    for n in range(1000):
        os.mkdir(f"{folder}/result-{n}")
    return "x" * 1_000_000

@task
def odd() -> object: return object()

@task
def file(ctx: Context) -> None: (ctx.outputs / "a.txt").write_text("hello")

class Doubles(Task):
    def run(self, ctx: Context, n: int) -> int: return 2 * n
    def on_status_change(self, old: str, new: str) -> None: print(old, new)

def plain() -> None: ...
"""


def zipped(**files: str) -> tuple[str, bytes]:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as z:
        for name, text in files.items():
            z.writestr(f"{name}.py", text)
    data = buffer.getvalue()
    return hashlib.sha256(data).hexdigest(), data


class Told:
    """A report that keeps all it is told, and can be waited for."""

    def __init__(self) -> None:
        self.logs: list[tuple[str, bytes, str, str]] = []
        self.began: int | None = None
        self.end: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()

    def started(self, at: int) -> None:
        self.began = at

    def log(self, stream: str, data: bytes, *, at: int, level: str = "", logger: str = "", fields: Any = None) -> None:
        self.logs.append((stream, data, level, logger))

    def ended(self, end: Ending) -> None:
        if not self.end.done():
            self.end.set_result(end)

    def text(self, stream: str) -> bytes:
        return b"".join(data for s, data, _, _ in self.logs if s == stream)


class TestPlace:
    """A place in a temporary folder."""

    __test__ = False

    def __init__(self, root: Path) -> None:
        self.root = root

    work = property(lambda self: str(self.root / "work"))
    outputs = property(lambda self: str(self.root / "outputs"))
    inputs = property(lambda self: str(self.root / "inputs"))
    result = property(lambda self: str(self.root / "result"))
    exit_status = property(lambda self: str(self.root / "exit"))

    def make(self) -> None:
        for path in (self.work, self.outputs, self.inputs):
            os.makedirs(path, exist_ok=True)

    def harvest(self, globs: Any = ()) -> tuple[Any, ...]:
        found = [p for g in globs for p in Path(self.work).glob(g)] + list(Path(self.outputs).iterdir())
        return tuple((p.name, p.read_text()) for p in found)


class Rig:
    def __init__(self, executor: PythonExecutor, digest: str, folder: Path) -> None:
        self.executor = executor
        self.digest = digest
        self.folder = folder
        self.n = 0

    def start(self, *targets: str, prefetch: bool = False, **args: Any) -> list[Told]:
        batch = []
        for target in targets:
            self.n += 1
            a = Assignment(
                self.n, 0, -1, 7, 1, 1, "python", "t", target=f"flow:{target}" if ":" not in target else target,
                package=self.digest, args=msgspec.json.encode(args), prefetch=prefetch,
                outputs=("*.txt",) if target == "litters_kept" else (),
            )  # fmt: skip
            batch.append((a, Told(), TestPlace(self.folder / f"place-{self.n}")))
        self.names = [a.name for a, _, _ in batch]
        self.executor.start_many(batch)
        return [told for _, told, _ in batch]

    async def one(self, target: str, **args: Any) -> tuple[Ending, Told]:
        (told,) = self.start(target, **args)
        return await asyncio.wait_for(told.end, 30), told


async def until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.005)  # a poll: nothing tells of it


@asynccontextmanager
async def rig(folder: Path, slots: int) -> AsyncIterator[Rig]:
    class Clock:
        def now(self) -> int:
            return 1

        def monotonic(self) -> float:
            return asyncio.get_running_loop().time()

    packages = FilePackages(str(folder / "packages"))
    digest, data = zipped(flow=CODE)
    await packages.put(digest, data)
    env = {"PATH": os.environ["PATH"], "HOME": "/tmp"}
    executor = PythonExecutor(packages, str(folder / "runners"), env, slots=slots, clock=Clock())
    try:
        yield Rig(executor, digest, folder)
    finally:
        await executor.close()


def run(folder: Path, body: Callable[[Rig], Coroutine[Any, Any, None]], slots: int = 1) -> None:
    async def main() -> None:
        async with rig(folder, slots) as r:
            await asyncio.wait_for(body(r), 60)

    asyncio.run(main())


def test_a_task_runs_with_arguments_rebuilt_by_annotation_and_knows_its_attempt(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, _ = await r.one("add", a=2)
        assert (end.kind, end.result, end.exit_status) == (OutcomeKind.succeeded, b"3", "ok")
        end, _ = await r.one("day_after", day="2026-03-29")
        assert end.result is not None
        assert msgspec.json.decode(end.result) == ["date", 2, 7, "7", []]

    run(tmp_path, body)


def test_everything_said_is_captured_in_order_by_stream_level_and_logger(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, told = await r.one("says")
        assert end.kind is OutcomeKind.succeeded
        assert told.text("stdout") == b"one\ntwo\nthree\n"
        assert told.text("stderr") == b"four\n"
        assert ("log", b"five 5\n", "ERROR", "mine") in told.logs
        assert any(logger == "py.warnings" and b"six" in data for _, data, _, logger in told.logs)

    run(tmp_path, body)


def test_an_attempt_leaves_no_file_variable_folder_or_process_to_the_next(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        await r.one("litters")
        (runner,) = r.executor.runners
        assert children(runner) == []
        end, _ = await r.one("looks")
        assert end.result == b"[[],null]"
        assert r.executor.runners == [runner]

    run(tmp_path, body)


def children(pid: int) -> list[str]:
    return [
        c for t in os.listdir(f"/proc/{pid}/task") for c in Path(f"/proc/{pid}/task/{t}/children").read_text().split()
    ]


def test_a_task_that_signals_its_parent_takes_no_other_runner_with_it(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        first, _ = await r.one("signals_its_parent")
        runners = r.executor.runners
        second, _ = await r.one("add", a=2)
        assert (first.kind, second.kind) == (OutcomeKind.succeeded, OutcomeKind.succeeded)
        assert r.executor.runners == runners

    run(tmp_path, body)


@pytest.mark.parametrize("what", ["files", "depth", "mask", "deaf", "alarm"])
def test_what_a_call_changes_of_its_process_is_put_back_or_the_next_gets_another(tmp_path: Path, what: str) -> None:
    async def body(r: Rig) -> None:
        before, after = r.start("narrows", "deep", prefetch=True, what=what, path=str(tmp_path / "f"))
        assert (await before.end).kind is OutcomeKind.succeeded
        ended = await after.end
        assert (ended.kind, ended.result) == (OutcomeKind.succeeded, b"[0,false,true]"), ended.error
        (asked,) = r.start("sleeps", path=str(tmp_path / "flag"))
        await until((tmp_path / "flag").exists)
        r.executor.ask(r.names[0], "canceled")
        assert (await asked.end).result == b'"woken"'

    run(tmp_path, body)


def test_errors_tell_type_message_frames_and_cause(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, told = await r.one("boom")
        assert end.kind is OutcomeKind.failed and end.exit_status == "error" and end.error is not None
        error = msgspec.json.decode(end.error)
        assert (error["type"], error["message"], error["cause"]["type"]) == ("ValueError", "bad", "KeyError")
        frame = error["frames"][-1]
        assert (frame["file"], frame["function"], frame["yours"]) == ("flow.py", "boom", True)
        assert "raise ValueError" in frame["code"]
        assert end.error_types == ("ValueError", "Exception", "BaseException")
        assert "ValueError: bad" in error["traceback"]
        assert told.text("stderr") == b"", "the record of the failure has the traceback: once is enough"

    run(tmp_path, body)


def test_fail_retry_and_skip_say_how_the_attempt_ends(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, _ = await r.one("fails")
        assert (end.kind, end.stop_retry, end.exit_status) == (OutcomeKind.failed, True, "NO_DATA")
        end, _ = await r.one("retries")
        assert (end.kind, end.retry_after) == (OutcomeKind.failed, 30_000)
        end, _ = await r.one("skips")
        assert end.skip

    run(tmp_path, body)


@pytest.mark.parametrize("target", ["os:system", "flow:plain", "flow:nothing", "headrace:Task", "nonsense"])
def test_what_is_not_a_task_is_refused(tmp_path: Path, target: str) -> None:
    async def body(r: Rig) -> None:
        end, _ = await r.one(target if target != "nonsense" else "nonsense:")
        assert end.kind is OutcomeKind.failed and end.stop_retry
        assert b"not a task" in (end.error or b"")

    run(tmp_path, body)


def test_a_frame_of_64_gives_64_ends_in_order(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        tolds = r.start(*["noop"] * 200, prefetch=True)
        ends = await asyncio.gather(*(t.end for t in tolds))
        assert {e.kind for e in ends} == {OutcomeKind.succeeded}
        assert [e.started_at for e in ends] == sorted(e.started_at for e in ends)
        assert len(r.executor.runners) == 1

    run(tmp_path, body)


def test_asking_wakes_a_sync_task_by_canceled_and_an_async_one_by_cancelled_error(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        for target, kind in (
            ("sleeps", OutcomeKind.succeeded),
            ("sleeps_on", OutcomeKind.canceled),
            ("waits", OutcomeKind.canceled),
        ):
            flag = tmp_path / target
            (told,) = r.start(target, path=str(flag))
            await until(flag.exists)
            await until(lambda told=told: told.began is not None)  # type: ignore[misc]  # reason: bound per turn
            r.executor.ask(r.names[0], "canceled")
            assert (await told.end).kind is kind
        assert len(r.executor.runners) == 1

    run(tmp_path, body)


def test_an_ask_for_a_waiting_call_never_touches_the_running_one(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        flag = tmp_path / "flag"
        first, second = r.start("sleeps_on", "sleeps_on", prefetch=True, path=str(flag))
        await until(flag.exists)
        r.executor.ask(r.names[1], "canceled")
        await asyncio.sleep(0.1)  # absence: only time shows it
        assert not first.end.done()
        r.executor.ask(r.names[0], "canceled")
        assert (await first.end).kind is OutcomeKind.canceled
        assert (await second.end).kind is OutcomeKind.canceled
        assert second.began is None

    run(tmp_path, body)


def test_a_kill_ends_a_stubborn_task_and_the_calls_behind_it_go_to_another_runner(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        flag = tmp_path / "flag"
        first, *behind = r.start("stubborn", "looks", "looks", prefetch=True, path=str(flag))
        behind_names = r.names[1:]
        await until(flag.exists)
        (old,) = r.executor.runners
        r.executor.ask(r.names[0], "canceled")
        r.executor.kill(r.names[0])
        end = await first.end
        assert (end.signal, end.reason) == (signal.SIGKILL, "runner died")
        assert behind_names
        for told in behind:
            assert (await told.end).kind is OutcomeKind.failed
        assert r.executor.runners != [old] and not os.path.exists(f"/proc/{old}")

    run(tmp_path, body)


def test_a_waiting_call_that_was_asked_to_end_never_begins_though_its_runner_dies(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        flag = tmp_path / "flag"
        first, second = r.start("stubborn", "sleeps_on", prefetch=True, path=str(flag))
        await until(flag.exists)
        (runner,) = r.executor.runners
        r.executor.ask(r.names[1], "canceled")
        os.kill(runner, signal.SIGKILL)
        assert (await first.end).signal == signal.SIGKILL
        assert (await second.end).kind is OutcomeKind.canceled
        assert second.began is None

    run(tmp_path, body)


def test_a_runner_killed_in_mid_frame_costs_only_the_call_it_was_making(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        tolds = r.start(*["noop"] * 10, "dies", *["noop"] * 10, prefetch=True)
        ends = [await t.end for t in tolds]
        assert [e.kind for e in ends].count(OutcomeKind.failed) == 1
        assert (ends[10].signal, ends[10].exit_status, ends[10].reason) == (9, "signal:9", "runner died")

    run(tmp_path, body)


def test_results_of_any_size_arrive_and_generators_are_json_lines(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, _ = await r.one("many", n=3)
        assert (end.result, end.result_lines, end.result_count) == (b"0\n1\n2\n", True, 3)
        end, _ = await r.one("many", n=200_000)
        assert end.result is not None and end.result_count == 200_000
        assert end.result.splitlines()[-1] == b"199999"
        end, _ = await r.one("large")
        assert end.result is not None and len(end.result) == 1_000_002
        end, _ = await r.one("odd")
        assert end.kind is OutcomeKind.failed and b"ctx.outputs" in (end.error or b"")

    run(tmp_path, body)


def test_a_large_result_that_cannot_be_written_fails_its_call_and_not_its_runner(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        await r.one("noop")
        (runner,) = r.executor.runners
        (scratch,) = (tmp_path / "runners").iterdir()
        end, _ = await r.one("blocked", folder=str(scratch))
        assert (end.kind, end.error_types[:1]) == (OutcomeKind.failed, ("IsADirectoryError",))
        await r.one("noop")
        assert r.executor.runners == [runner]

    run(tmp_path, body)


def test_output_files_of_a_task_without_a_folder_of_its_own_are_harvested(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, _ = await r.one("file")
        assert list(end.artifacts) == [("a.txt", "hello")]

    run(tmp_path, body)


def test_a_task_class_runs_and_its_hooks_are_told(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        end, told = await r.one("Doubles", n=4)
        assert end.result == b"8"
        assert told.text("stdout") == b"dispatched running\nrunning succeeded\n"

    run(tmp_path, body)


def test_wrong_arguments_name_the_argument(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        for args in ({"a": "x"}, {}, {"a": 1, "c": 2}):
            end, _ = await r.one("add", **args)
            assert end.kind is OutcomeKind.failed
            error = msgspec.json.decode(end.error or b"")
            assert "add" in error["message"]

    run(tmp_path, body)


def test_two_slots_run_two_calls_at_once_and_an_idle_runner_makes_room_for_another_package(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        flags = [tmp_path / "a", tmp_path / "b"]
        (one,) = r.start("sleeps_on", path=str(flags[0]))
        (two,) = r.start("sleeps_on", path=str(flags[1]))
        await until(lambda: all(f.exists() for f in flags))
        assert len(r.executor.runners) == 2
        for n in (1, 2):
            r.executor.ask(msgspec.structs.replace(r.names[0], run=n), "x")
        await asyncio.gather(one.end, two.end)
        r.digest = ""
        end, _ = await r.one("os:system")
        assert end.kind is OutcomeKind.failed
        assert len(r.executor.runners) == 2

    run(tmp_path, body, slots=2)


def test_when_the_template_dies_its_calls_fail_and_the_next_ones_run(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        flag = tmp_path / "flag"
        (told,) = r.start("sleeps_on", path=str(flag))
        await until(flag.exists)
        os.kill(r.executor._template.pid, signal.SIGKILL)
        assert (await told.end).reason == "runner died"
        end, _ = await r.one("add", a=1)
        assert end.result == b"2"

    run(tmp_path, body)


def test_the_template_imports_nothing_heavy(tmp_path: Path) -> None:
    code = "import sys, headrace.runner.template; print([m for m in ('apsw','uvicorn','yaml','psycopg','headrace.store','headrace.core','headrace.agent','headrace.link') if m in sys.modules])"
    import subprocess

    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout == "[]\n"


def test_a_call_that_holds_the_interpreter_is_known_to_have_begun_and_a_kill_ends_it(tmp_path: Path) -> None:
    async def body(r: Rig) -> None:
        _, held = r.start("looks", "holds", prefetch=True)
        await until(lambda: held.began is not None)
        r.executor.kill(r.names[1])
        assert (await held.end).signal == signal.SIGKILL

    run(tmp_path, body)
