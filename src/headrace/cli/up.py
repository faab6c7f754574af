"""``headrace up``: one small process that starts control and the agent, restarts either when it dies, and ends both.

It imports next to nothing and forks its children before anything heavy is loaded, so that it stays lean and their
pages are shared. When it is killed itself, the kernel ends control (which is safe at any moment) and the agent's guard
ends the agent with everything it runs. Called by the command line's wiring, with settings; never from a thread.
"""

from __future__ import annotations

import os
import select
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

from headrace.cli.children import die_with_parent
from headrace.control.settings import SOCKET_NAME, ControlSettings, UpSettings

__all__ = ["UpSettings", "run"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LIVED_WELL_S = 10.0
END_S = 10.0
REFUSED = 3


class Child:
    """A process that is to be there: started, and started again after it died, later each time it died young."""

    def __init__(self, name: str, work: Callable[[], int], death: signal.Signals) -> None:
        self.name = name
        self.pid = 0
        self.restart_at = 0.0
        self._work = work
        self._death = death
        self._started_at = 0.0
        self._pause = FIRST_PAUSE_S

    def start(self) -> None:
        """Fork. The child never returns from here."""
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        self._started_at = time.monotonic()
        self.restart_at = 0.0
        self.pid = os.fork()
        if self.pid:
            return
        code = 1
        try:
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
                signal.signal(number, signal.SIG_DFL)
            os.setpgid(0, 0)
            die_with_parent(parent, self._death)
            code = self._work()
        except SystemExit as e:
            code = e.code if isinstance(e.code, int) else 1
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def died(self) -> None:
        """It is gone: when to start it again."""
        now = time.monotonic()
        if now - self._started_at > LIVED_WELL_S:
            self._pause = FIRST_PAUSE_S
        self.pid = 0
        self.restart_at = now + self._pause
        self._pause = min(self._pause * 2, LONGEST_PAUSE_S)

    def tell(self, number: signal.Signals) -> None:
        """Send a signal if it lives."""
        if self.pid:
            os.kill(self.pid, number)


class Supervisor:
    """Control and agent, until told to end."""

    def __init__(self, settings: UpSettings) -> None:
        self._settings = settings
        self._ending = False
        self._ready_r, self._ready_w = os.pipe()
        os.set_inheritable(self._ready_w, True)
        self._wake_r, self._wake_w = os.pipe()
        for fd in (self._wake_r, self._wake_w, self._ready_r):
            os.set_blocking(fd, False)
        self._ready = False
        self._port = settings.port
        self._code = 0
        self.control = Child("control", self._control, signal.SIGKILL)
        self.agent = Child("agent", self._agent, signal.SIGTERM)

    def run(self) -> int:
        """Until a signal, or until the first start fails; gives the exit code."""
        signal.set_wakeup_fd(self._wake_w, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
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
            _drain(self._wake_r)
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
        text = _drain(self._ready_r).decode()
        if text and not self._ready:
            self._ready = True
            self._port = int(text.split()[-1].rpartition(":")[2])
            if not self._settings.quiet:
                print(
                    f"Headrace is up: {text.split()[-1]}  (data in {self._settings.data}; Ctrl+C ends it)", flush=True
                )

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if not pid:
                return
            code = os.waitstatus_to_exitcode(status)
            for child in (self.control, self.agent):
                if child.pid == pid:
                    child.died()
                    self._judge(child, code)

    def _judge(self, child: Child, code: int) -> None:
        """A control that refuses its very first start is not started again: it has said why."""
        if self._ending:
            return
        if child is self.control and not self._ready and code == REFUSED:
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
                _drain(self._wake_r)
                self._reap()
            if child.pid:
                child.tell(signal.SIGKILL)
                os.waitpid(child.pid, 0)

    def _control(self) -> int:
        from headrace.cli.control import run as run_control  # the heavy imports belong to the child

        s = self._settings
        settings = ControlSettings(data=s.data, host=s.host, port=self._port, store=s.store, url=s.url)
        return run_control(settings, ready_fd=self._ready_w, quiet=s.quiet)

    def _agent(self) -> int:
        from headrace.cli.agent import run_local  # likewise

        run_local(self._settings.data, self._settings.data / SOCKET_NAME, self._settings.workers)
        return 1


def _drain(fd: int) -> bytes:
    try:
        return os.read(fd, 65_536)
    except BlockingIOError:
        return b""


def run(settings: UpSettings) -> int:
    """Run until SIGTERM or SIGINT; gives the exit code."""
    Path(settings.data).mkdir(mode=0o700, parents=True, exist_ok=True)
    return Supervisor(settings).run()
