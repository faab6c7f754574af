"""Runs commands and scripts: one process tree per attempt, both streams kept apart, nothing left running.

Spawns with ``posix_spawn`` (flat in the agent's size) and awaits by pidfd. An attempt is over when its main process has
ended, its whole tree is gone and its pipes are read. Called by ``agent.attempts``; decides no timeouts.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections import deque
from collections.abc import Mapping, Sequence

from headrace.agent.executors.environment import MARK, Given, environment, write_file
from headrace.agent.executors.left import ending_of, failed_to_start
from headrace.agent.executors.port import Ending, Place, Report
from headrace.agent.places import FilePlace
from headrace.agent.processes import Family, Leaf, Leaves, Trace, kill_tree, send_group
from headrace.link.records import Artifact, Assignment, AttemptName
from headrace.model.changes import OutcomeKind
from headrace.model.errors import HeadraceError
from headrace.model.ports import Clock

READ = 65536
READS_A_TURN = 4
WATCH_S = 0.005
"""Only streams of what runs longer are watched; the others are read when their process is over."""

DRAIN_S = 1.0
"""How long the pipes may stay open after the whole tree is gone."""

PENDING_S = 5.0
"""After this long between kill and death a line in the log says so; the slot stays taken until it is truly over."""

_DEFAULT_SIGNALS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGHUP)
_NULL = (os.POSIX_SPAWN_OPEN, 0, "/dev/null", os.O_RDONLY, 0)


class CommandExecutor:
    """``Executor`` for kinds ``command`` and ``script``."""

    def __init__(self, key: str, base: Mapping[str, str], *, family: Family, leaves: Leaves, clock: Clock) -> None:
        self.key = key
        self.base = dict(base)
        self.given = Given()
        self.family = family
        self.leaves = leaves
        self.clock = clock
        self.loop = asyncio.get_running_loop()
        self.home = os.open("/", os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
        self._procs: dict[AttemptName, _Proc] = {}
        self._found: dict[tuple[str, str], str] = {}
        self._unwatched: deque[tuple[float, _Proc]] = deque()
        self._watch_timer: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self, a: Assignment, report: Report, place: Place) -> None:
        """See ``Executor``."""
        assert isinstance(place, FilePlace)
        try:
            place.make()
            proc = _Proc(self, a, report, place)
            proc.spawn()
        except HeadraceError as e:
            report.ended(Ending(OutcomeKind.refused, 0, self.clock.now(), reason=e.message))
        except (OSError, ValueError) as e:
            report.ended(failed_to_start(a, e, self.clock.now()))
        else:
            self._procs[proc.name] = proc
            self._unwatched.append((self.loop.time() + WATCH_S, proc))
            if self._watch_timer is None:
                self._watch_timer = self.loop.call_later(WATCH_S, self._watch)
            report.started(proc.started_at)

    def start_many(self, batch: Sequence[tuple[Assignment, Report, Place]]) -> None:
        """See ``Executor``."""
        for a, report, place in batch:
            self.start(a, report, place)

    def ask(self, name: AttemptName, reason: str) -> None:
        """See ``Executor``: SIGTERM to the main process's group."""
        proc = self._procs.get(name)
        if proc is not None:
            proc.ask()

    def kill(self, name: AttemptName) -> None:
        """See ``Executor``: SIGKILL to the whole tree."""
        proc = self._procs.get(name)
        if proc is not None:
            proc.kill()

    async def close(self) -> None:
        """See ``Executor``."""
        self._closed = True
        while self._procs:
            for proc in self._procs.values():
                proc.kill()
            await asyncio.sleep(0.01)
        if self._watch_timer is not None:
            self._watch_timer.cancel()
        self.leaves.close()
        os.close(self.home)

    def _watch(self) -> None:
        """Begin to watch the streams of what has run for long enough."""
        self._watch_timer = None
        waiting = self._unwatched
        now = self.loop.time()
        while waiting and (waiting[0][0] <= now or waiting[0][1].over):
            waiting.popleft()[1].watch()
        if waiting:
            self._watch_timer = self.loop.call_later(waiting[0][0] - now, self._watch)

    def over(self, proc: _Proc, end: Ending) -> None:
        """The attempt is over and nothing of it is left."""
        self._procs.pop(proc.name, None)
        if not self._closed:
            proc.report.ended(end)

    def program(self, argv0: str, path: str) -> str:
        """The file to execute. Raises ``FileNotFoundError``."""
        if "/" in argv0:
            return argv0
        found = self._found.get((argv0, path))
        if found is None or not os.access(found, os.X_OK):
            found = shutil.which(argv0, path=path)
            if found is None:
                raise FileNotFoundError(2, "no such program in PATH", argv0)
            if len(self._found) > 1000:
                self._found.clear()
            self._found[(argv0, path)] = found
        return found


class _Pipe:
    """The reading end of one stream; not watched by the loop until ``watch``."""

    __slots__ = ("_fd", "_proc", "_stream", "_watched")

    def __init__(self, proc: _Proc, stream: str, fd: int) -> None:
        self._proc = proc
        self._stream = stream
        self._fd = fd
        self._watched = False

    @property
    def open(self) -> bool:
        return self._fd >= 0

    def watch(self) -> None:
        """From now on what comes is read as it comes."""
        if self._fd >= 0 and not self._watched:
            self._watched = True
            self._proc.loop.add_reader(self._fd, self.read)

    def read(self, *, last: bool = False) -> None:
        """What is there, a bounded amount of it; closes itself at the end of the stream. ``last``: which is near."""
        for _ in range(READS_A_TURN):
            try:
                data = os.read(self._fd, READ)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                self.close()
                self._proc.piped()
                return
            self._proc.report.log(self._stream, data, at=self._proc.executor.clock.now())
            if len(data) < 4096 and not last:
                return

    def close(self) -> None:
        if self._fd >= 0:
            if self._watched:
                self._proc.loop.remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1


class _Proc:
    """One attempt's process tree, from spawn to the last byte."""

    def __init__(self, executor: CommandExecutor, a: Assignment, report: Report, place: FilePlace) -> None:
        self.executor = executor
        self.loop = executor.loop
        self.a = a
        self.name = a.name
        self.report = report
        self.place = place
        self.key = f"{executor.key}.{a.run}.{a.no}.{a.index}.{a.epoch}"
        self.started_at = 0
        self.pid = 0
        self._pidfd = -1
        self._pipes: tuple[_Pipe, ...] = ()
        self._leaf: Leaf | None = None
        self._exited = False
        self._clear = False
        self._tries = 0
        self._ended_at = 0
        self._timer: asyncio.TimerHandle | None = None
        self._pending: asyncio.TimerHandle | None = None

    def spawn(self) -> None:
        """Start the main process. Raises OSError, ValueError; leaves nothing open then."""
        a = self.a
        env = environment(self.executor.base, a, self.place.root, self.key, self.executor.given)
        self.place.give_params(a.params)
        argv = list(a.argv)
        if a.kind == "script":
            script = self.place.files + "/script"
            write_file(script, a.script.encode())
            argv = [*(argv or ("sh", "-eu")), script]
        program = self.executor.program(argv[0], env["PATH"])
        out, out_w = os.pipe()
        err, err_w = os.pipe()
        try:
            self._posix_spawn(program, argv, env, (out_w, err_w))
        except BaseException:
            os.close(out)
            os.close(err)
            raise
        finally:
            os.close(out_w)
            os.close(err_w)
        os.set_blocking(out, False)
        os.set_blocking(err, False)
        self._pipes = (_Pipe(self, "stdout", out), _Pipe(self, "stderr", err))
        self.loop.add_reader(self._pidfd, self._main_exited)

    def _posix_spawn(self, program: str, argv: list[str], env: dict[str, str], write: tuple[int, int]) -> None:
        os.chdir(self.place.work)
        try:
            self.started_at = self.executor.clock.now()
            self.pid = os.posix_spawn(
                program,
                argv,
                env,
                file_actions=(_NULL, (os.POSIX_SPAWN_DUP2, write[0], 1), (os.POSIX_SPAWN_DUP2, write[1], 2)),
                setsid=True,
                setsigmask=(),
                setsigdef=_DEFAULT_SIGNALS,
            )
        finally:
            os.fchdir(self.executor.home)
        self.executor.family.owned.add(self.pid)
        self._leaf = self.executor.leaves.take()
        if self._leaf is not None:
            self._leaf.add(self.pid)
        self._pidfd = os.pidfd_open(self.pid)

    def ask(self) -> None:
        if not self._exited:
            send_group(self.pid, signal.SIGTERM)
            send_group(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        if self._exited:
            return
        if self._leaf is not None:
            self._leaf.kill()
        kill_tree(self.pid)
        if self._pending is None:
            self._pending = self.loop.call_later(PENDING_S, self._still_there)

    @property
    def over(self) -> bool:
        """Nothing of it is left."""
        return self._pidfd < 0

    def watch(self) -> None:
        """It takes longer: read its streams as it writes them."""
        for pipe in self._pipes:
            pipe.watch()

    def piped(self) -> None:
        """One of the streams ended."""
        if self._clear and not any(p.open for p in self._pipes):
            self._finish()

    def _still_there(self) -> None:
        text = b"killed, but not dead yet: the kernel holds it (disk or network wait)\n"
        self.report.log("system", text, at=self.executor.clock.now(), level="error")

    def _main_exited(self) -> None:
        self.loop.remove_reader(self._pidfd)
        self._exited = True
        self._ended_at = self.executor.clock.now()
        self._sweep()

    def _sweep(self) -> None:
        """End what the main process left behind; again and again until there is nothing."""
        left = False
        if self._leaf is not None and self._leaf.populated:
            self._leaf.kill()
            left = True
        for pid in self.executor.family.strays():
            if self._is_mine(pid):
                kill_tree(pid)
                left = True
        if left:
            self._tries += 1
            self._timer = self.loop.call_later(min(0.0005 * 2**self._tries, 0.05), self._sweep)
            return
        self._clear = True
        for pipe in self._pipes:
            if pipe.open:
                pipe.read(last=True)
                pipe.watch()
        if any(p.open for p in self._pipes):
            self._timer = self.loop.call_later(DRAIN_S, self._held_open)
        else:
            self._finish()

    def _is_mine(self, pid: int) -> bool:
        trace = Trace(pid, MARK)
        return not trace.zombie and (trace.session == self.pid or self.key.encode() in trace.marks)

    def _held_open(self) -> None:
        text = b"a process that is not of this attempt's tree holds its output open: the rest is not read\n"
        self.report.log("system", text, at=self.executor.clock.now(), level="warning")
        for pipe in self._pipes:
            pipe.close()
        self._finish()

    def _finish(self) -> None:
        if self._pidfd < 0:
            return
        os.close(self._pidfd)
        self._pidfd = -1
        for timer in (self._timer, self._pending):
            if timer is not None:
                timer.cancel()
        status = os.waitpid(self.pid, 0)[1]
        self.executor.family.owned.discard(self.pid)
        if self._leaf is not None:
            self.executor.leaves.give(self._leaf)
            self._leaf = None
        code = os.waitstatus_to_exitcode(status)
        if self.a.outputs or self._left_files():
            harvest = self.loop.run_in_executor(None, self.place.harvest, self.a.outputs)
            harvest.add_done_callback(lambda done: self._harvested(code, done))
        else:
            self._end(code, ())

    def _left_files(self) -> bool:
        """Whether there is something in its outputs; the folder is the task's own, which may have removed it."""
        try:
            return self.place.touched("outputs") and bool(os.listdir(self.place.outputs))
        except OSError:
            return False

    def _harvested(self, code: int, done: asyncio.Future[tuple[Artifact, ...]]) -> None:
        error = done.exception()
        if error is None:
            self._end(code, done.result())
            return
        self.report.log("system", f"outputs could not be kept: {error}\n".encode(), at=self._ended_at, level="error")
        self._end(code, (), f"outputs could not be kept: {error}")

    def _end(self, code: int, artifacts: tuple[Artifact, ...], trouble: str = "") -> None:
        end = ending_of(self.place, code, (self.started_at, self._ended_at), artifacts, trouble)
        self.executor.over(self, end)
