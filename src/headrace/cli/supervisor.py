"""The process above control and the agent's guard: starts them, starts them again when they die, ends both.

Runs as a file of its own under ``python -I -S`` and therefore imports nothing of Headrace but the guard's file, and no more
of Python than it must: it is there for as long as the server is and should cost next to nothing. The guard is a copy of this
process, so that the two share their pages. When it is killed itself, control is
killed by the kernel (it is safe at any moment) and the guard kills everything below it. Started by ``cli.up``.

Arguments: 1 for quiet, 2 for the first start on a folder, else 0; the data folder's name, ``--``, control's argument list, ``--``, the guard's argument list.
Control gets two more: the file descriptor on which it says that it is ready, and the process that it must not outlive.
"""

import _signal as signal  # type: ignore[import-not-found]  # what `signal` is made of: its enums cost 0.8 MB each
import gc
import os
import select
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LIVED_WELL_S = 10.0
END_S = 25.0
"""Longer than the guard gives the agent."""
REFUSED = 3
FAILED = 1
FIRST_TRIES = 3
"""A control that has never been up is not started more often when it fails."""
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)
"""What a child begins with its defaults for."""


class Child:
    """A process that is to be there: started, and started again after it died, later each time it died young."""

    def __init__(self, name: str, command: list[str]) -> None:
        self.name = name
        self.pid = 0
        self.restart_at = 0.0
        self.command = command
        self._started_at = 0.0
        self._pause = FIRST_PAUSE_S

    def start(self) -> None:
        """In a process group of its own: what a terminal's Ctrl+C ends is this process, which ends the others."""
        if self._started_at and "HEADRACE_FAULT_MARKS" not in os.environ:
            os.environ.pop("HEADRACE_FAULT", None)  # a fault that was asked for strikes one life, not each
        self._started_at = time.monotonic()
        self.pid = self.begin()

    def begin(self) -> int:
        """A new process; gives its id."""
        return os.posix_spawn(self.command[0], self.command, os.environ, setpgroup=0, setsigdef=SIGNALS)

    def died(self) -> None:
        """It is gone: when to start it again."""
        now = time.monotonic()
        if now - self._started_at > LIVED_WELL_S:
            self._pause = FIRST_PAUSE_S
        self.pid = 0
        self.restart_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_S)

    def tell(self, number: int) -> None:
        """Send a signal if it lives."""
        if self.pid:
            os.kill(self.pid, number)


class Guarding(Child):
    """The agent's guard: a copy of this process that goes on in the guard's own file."""

    def __init__(self, name: str, command: list[str], closed: list[int]) -> None:
        super().__init__(name, command)
        self._closed = closed

    def begin(self) -> int:
        """See ``Child``; the copy never returns."""
        guard = import_file(next(word for word in self.command if word.endswith("guard.py")))
        gc.freeze()
        parent = os.getpid()
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            os.setpgid(0, 0)
            signal.set_wakeup_fd(-1)
            for number in (*SIGNALS, signal.SIGHUP):
                signal.signal(number, signal.SIG_DFL)
            for fd in self._closed:
                os.close(fd)
            guard.rename(self.command)
            code = guard.Guard(guard.agent_of(self.command), parent).run()
        except (
            BaseException
        ) as error:  # reason: the last border of this process; nothing may go up into the supervisor's loop
            sys.excepthook(type(error), error, error.__traceback__)
        os._exit(code)


class Supervisor:
    """Control and guard, until told to end."""

    def __init__(self, how: str, data: str, control: list[str], agent: list[str]) -> None:
        self._quiet = how == "1"
        self._first = how == "2"
        self._data = data
        self._ending = False
        self._ready = False
        self._failed = 0
        self._code = 0
        self._ready_r, ready_w = os.pipe()
        self._wake_r, self._wake_w = os.pipe()
        for fd in (self._wake_r, self._wake_w, self._ready_r):
            os.set_blocking(fd, False)
        os.set_inheritable(ready_w, True)
        self.control = Child("control", [*control, str(ready_w), str(os.getpid())])
        self.agent = Guarding("the agent's guard", agent, [self._ready_r, ready_w, self._wake_r, self._wake_w])

    def run(self) -> int:
        """Until a signal, or until the first start is refused; gives the exit code."""
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._end)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        children = (self.control, self.agent)
        for child in children:
            child.start()
        poll = select.poll()
        poll.register(self._wake_r, select.POLLIN)
        poll.register(self._ready_r, select.POLLIN)
        while not self._ending:
            poll.poll(self._patience())
            drain(self._wake_r)
            self._hear_ready()
            self._reap()
            for child in children:
                if not self._ending and not child.pid and child.restart_at <= time.monotonic():
                    child.start()
        self._finish()
        return self._code

    def _patience(self) -> int | None:
        """Milliseconds until a child is to be started again; None when nothing is to be done."""
        times = [c.restart_at for c in (self.control, self.agent) if not c.pid]
        return None if not times else max(1, int((min(times) - time.monotonic()) * 1000) + 1)

    def _end(self, _number: int, _frame: object) -> None:
        self._ending = True

    def _hear_ready(self) -> None:
        text = drain(self._ready_r).decode()
        if text and not self._ready:
            self._ready = True
            if not self._quiet:
                print(f"Headrace is up: {text.split()[-1]}  (data in {self._data}; Ctrl+C ends it)", flush=True)
                if self._first and sys.stdout.isatty():
                    self._show_token()

    def _show_token(self) -> None:
        """Once, and to a person only: never into a log."""
        try:
            with open(f"{self._data}/admin-token") as file:  # noqa: PTH123 -- pathlib is 3 MB
                print(f"Its admin token, shown this once: {file.read()}", flush=True)
        except OSError as error:
            print(f"headrace up: the admin token cannot be shown: {error}", file=sys.stderr, flush=True)

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            for child in (self.control, self.agent):
                if child.pid == pid:
                    child.died()
                    self._judge(child, os.waitstatus_to_exitcode(status))

    def _judge(self, child: Child, code: int) -> None:
        """A control that refuses its very first start, or fails in it again and again, is left alone: it has said why."""
        if self._ending:
            return
        if child is self.control and not self._ready:
            self._failed += 1
            if code == REFUSED or (code == FAILED and self._failed >= FIRST_TRIES):
                self._ending, self._code = True, REFUSED
                return
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        print(f"headrace up: {child.name} ended ({how}); starting it again", file=sys.stderr, flush=True)

    def _finish(self) -> None:
        """End both: the agent first, while control can still hear what it has to tell."""
        for child in (self.agent, self.control):
            child.tell(signal.SIGTERM)
            deadline = time.monotonic() + END_S
            while child.pid and (left := deadline - time.monotonic()) > 0:
                select.select([self._wake_r], [], [], left)
                drain(self._wake_r)
                self._reap()
            if child.pid:
                child.tell(signal.SIGKILL)
                os.waitpid(child.pid, 0)


def import_file(path: str) -> "Any":
    """The module in this file, which may import nothing of ours; from its bytecode, as every module."""
    folder, _, name = path.rpartition("/")
    sys.path.append(folder)
    try:
        return __import__(name.removesuffix(".py"))
    finally:
        sys.path.remove(folder)


def drain(fd: int) -> bytes:
    """What is there to be read now."""
    try:
        return os.read(fd, 65_536)
    except BlockingIOError:
        return b""


def main(words: list[str]) -> int:
    """Read the arguments and supervise; gives the exit code."""
    first = words.index("--")
    second = words.index("--", first + 1)
    # the guard's own list holds a third "--", so the list ends are looked for from the left
    return Supervisor(words[0], words[1], words[first + 1 : second], words[second + 1 :]).run()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
