"""The guard: a tiny process above the agent that leaves nothing running when the agent, or what started it, dies.

It is the subreaper of everything below it. When the agent dies it kills every descendant, and only then starts the
agent again (a new boot id); when its own parent dies it kills all and ends. Runs as a file of its own under
``python -I -S``, or as a copy of ``cli.supervisor``, and therefore imports nothing of Headrace and no more of Python than it
must.
"""

import _signal as signal  # type: ignore[import-not-found]  # what `signal` is made of: its enums cost 0.8 MB
import os
import select
import sys
import time
from collections.abc import Sequence

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
GRACE_S = 20.0
"""How long the agent may take to end in order after SIGTERM."""

BACKOFF_FIRST_S = 0.1
BACKOFF_MAX_S = 2.0
STEADY_S = 10.0
"""An agent that lived this long is started again without delay."""


def guard_command(agent: Sequence[str], python: str = sys.executable) -> list[str]:
    """The argument list that runs ``agent`` (its own argument list) under a guard."""
    return [python, "-I", "-S", os.path.abspath(__file__), "--", *agent]


def agent_of(command: Sequence[str]) -> list[str]:
    """The agent's own argument list in a guard's."""
    return list(command[command.index("--") + 1 :])


def rename(command: Sequence[str]) -> None:
    """Let ``ps`` show this process, a copy of another one, as what it is. As far as there is room for the words."""
    with open("/proc/self/stat", "rb") as f:
        fields = f.read().rpartition(b")")[2].split()
    begin, end = int(fields[45]), int(fields[46])
    if begin:
        text = b"\0".join(word.encode(errors="surrogateescape") for word in command)
        import ctypes  # half a MB that whoever asks for ``guard_command`` does not need; likewise below

        ctypes.memmove(begin, text[: end - begin - 1].ljust(end - begin, b"\0"), end - begin)


def children_of(pid: int) -> list[int]:
    """Children of every thread of a process; empty when it is gone."""
    found: list[int] = []
    try:
        for tid in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{tid}/children", "rb") as f:
                found.extend(int(p) for p in f.read().split())
    except OSError:
        return found
    return found


def kill_everything() -> None:
    """Kill every descendant, again and again until this process has no child."""
    me = os.getpid()
    pause = 0.0005
    while True:
        stack = children_of(me)
        if not stack:
            return
        while stack:
            pid = stack.pop()
            _send(pid, signal.SIGSTOP)
            stack.extend(children_of(pid))
            _send(pid, signal.SIGKILL)
        _reap()
        time.sleep(pause)
        pause = min(2 * pause, 0.05)


def _send(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except (ProcessLookupError, PermissionError):
        return


def _reap() -> None:
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


class Guard:
    """One guard, which ends with its parent. ``run`` returns the exit code of the process."""

    def __init__(self, agent: Sequence[str], parent: int) -> None:
        self._agent = list(agent)
        self._parent = parent
        self._stopping = False
        read, write = os.pipe()
        os.set_blocking(write, False)
        self._wake = read
        signal.set_wakeup_fd(write)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._stop)
        _prctl(PR_SET_CHILD_SUBREAPER, 1)

    def run(self) -> int:
        """Keep an agent running until told to end, or until the parent is gone."""
        try:
            parent = os.pidfd_open(self._parent)
        except ProcessLookupError:
            return 0
        if os.getppid() != self._parent:
            return 0
        pause = BACKOFF_FIRST_S
        while True:
            began = time.monotonic()
            code, orphaned = self._live(parent)
            if "HEADRACE_FAULT_MARKS" not in os.environ:
                os.environ.pop("HEADRACE_FAULT", None)  # a fault that was asked for strikes one life, not each
            kill_everything()
            if orphaned or self._stopping or code == 0:
                return max(code, 0)
            if time.monotonic() - began > STEADY_S:
                pause = BACKOFF_FIRST_S
            if self._wait([parent], pause):
                return 0
            if self._stopping:
                return 0
            pause = min(2 * pause, BACKOFF_MAX_S)

    def _live(self, parent: int) -> tuple[int, bool]:
        """One life of the agent: (its exit code, whether our parent died)."""
        pid = os.posix_spawn(self._agent[0], self._agent, os.environ)
        agent = os.pidfd_open(pid)
        deadline = None
        try:
            while True:
                left = None if deadline is None else max(0.0, deadline - time.monotonic())
                ready = self._wait([agent, parent], left)
                if agent in ready:
                    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), False
                if parent in ready:
                    return 0, True
                if self._stopping and deadline is None:
                    deadline = time.monotonic() + GRACE_S
                    _send(pid, signal.SIGTERM)
                elif deadline is not None and time.monotonic() >= deadline:
                    return 0, False
        finally:
            os.close(agent)

    def _wait(self, fds: list[int], seconds: float | None) -> list[int]:
        """Which of these are ready; returns early, with none, when a signal came."""
        ready = select.select([*fds, self._wake], [], [], seconds)[0]
        if self._wake in ready:
            os.read(self._wake, 512)
        return [fd for fd in ready if fd != self._wake]

    def _stop(self, number: int, frame: object) -> None:
        self._stopping = True


def _prctl(option: int, value: int) -> None:
    import ctypes

    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


if __name__ == "__main__":
    sys.exit(Guard(agent_of(sys.argv), os.getppid()).run())
