"""Process trees: which processes belong to an attempt, and how to end all of them.

The agent is a subreaper, so whatever an attempt leaves behind becomes the agent's own child and can be found in one
read. Where cgroup v2 is writable an attempt has a leaf of its own as well. Never trusts a pid alone: only the agent's
own unreaped children and their descendants are touched. Called by ``executors.command``.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from collections.abc import Iterator

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """Orphans of this process's descendants become its children. Raises OSError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def end_with_parent() -> None:
    """SIGTERM to this process when its parent dies. Raises OSError."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def kill_marked(prefix: bytes) -> int:
    """Kill every process whose environment marks it as an attempt of an earlier life; gives how many.

    For the start of an agent only: its predecessor is gone, so whatever carries the mark belongs to nobody.
    """
    killed, found = 0, True
    while found:
        found = False
        for name in os.listdir("/proc"):
            if name.isdigit() and int(name) != os.getpid():
                trace = Trace(int(name), prefix)
                if trace.marks and not trace.zombie:
                    send(int(name), signal.SIGKILL)
                    found = True
                    killed += 1
        if found:
            time.sleep(0.005)
    return killed


class Leaf:
    """One cgroup of one attempt at a time; used again when empty."""

    def __init__(self, path: str) -> None:
        self.path = path
        os.mkdir(path)
        self._procs = os.open(f"{path}/cgroup.procs", os.O_WRONLY | os.O_CLOEXEC)
        self._events = os.open(f"{path}/cgroup.events", os.O_RDONLY | os.O_CLOEXEC)

    def add(self, pid: int) -> None:
        """Move a process in; it may be over already."""
        with contextlib.suppress(OSError):
            os.write(self._procs, b"%d" % pid)

    @property
    def populated(self) -> bool:
        """Whether a live process is in it; a group that somebody removed was empty."""
        try:
            return b"populated 1" in os.pread(self._events, 256, 0)
        except OSError:
            return False

    def kill(self) -> None:
        """SIGKILL everything in it, at once, forks included."""
        with contextlib.suppress(OSError):
            fd = os.open(f"{self.path}/cgroup.kill", os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(fd, b"1")
            finally:
                os.close(fd)

    def remove(self) -> None:
        """Give it back to the kernel; stays when something lives in it."""
        os.close(self._procs)
        os.close(self._events)
        with contextlib.suppress(OSError):
            os.rmdir(self.path)


class Leaves:
    """A pool of leaves below one group of this agent; empty and without use where cgroups are not writable."""

    def __init__(self, name: str) -> None:
        self._free: list[Leaf] = []
        self._all: list[Leaf] = []
        self.path = _make_group(name)

    def take(self) -> Leaf | None:
        """An empty leaf, or None when there are no cgroups."""
        if self._free:
            return self._free.pop()
        if not self.path:
            return None
        try:
            leaf = Leaf(f"{self.path}/{len(self._all)}")
        except OSError:
            self.path = ""
            return None
        self._all.append(leaf)
        return leaf

    def give(self, leaf: Leaf) -> None:
        """Back; it must be empty."""
        self._free.append(leaf)

    def close(self) -> None:
        """Kill what is left and remove the group."""
        for leaf in self._all:
            if leaf.populated:
                leaf.kill()
            leaf.remove()
        if self.path:
            with contextlib.suppress(OSError):
                os.rmdir(self.path)


def _make_group(name: str) -> str:
    """The group of this agent, below its own cgroup v2; empty when there is none or it may not be written."""
    if not name:
        return ""
    base = _own_group()
    if not base:
        return ""
    path = f"{base}/headrace-{name}"
    _remove_group(path)
    try:
        os.mkdir(path)
        if not os.path.exists(f"{path}/cgroup.kill"):
            os.rmdir(path)
            return ""
    except OSError:
        return ""
    return path


def _remove_group(path: str) -> None:
    """What an earlier life of this agent left: kill it and take the group away."""
    if not os.path.isdir(path):
        return
    with contextlib.suppress(OSError):
        with open(f"{path}/cgroup.kill", "wb") as f:
            f.write(b"1")
        for _ in range(200):
            with open(f"{path}/cgroup.events", "rb") as f:
                if b"populated 0" in f.read():
                    break
            time.sleep(0.005)
        for leaf in os.scandir(path):
            if leaf.is_dir():
                os.rmdir(leaf.path)
        os.rmdir(path)


def _own_group() -> str:
    try:
        with open("/proc/self/cgroup", encoding="ascii") as f:
            own = next((line.strip()[3:] for line in f if line.startswith("0::")), "")
    except OSError:
        return ""
    for mount in ("/sys/fs/cgroup", "/sys/fs/cgroup/unified"):
        if own and os.path.exists(f"{mount}{own}/cgroup.procs") and os.path.exists(f"{mount}/cgroup.subtree_control"):
            return f"{mount}{own}".rstrip("/")
    return ""


class Children:
    """The children of this process, orphans it has inherited among them."""

    def __init__(self) -> None:
        self._pid = os.getpid()
        self._fd = os.open(f"/proc/self/task/{self._pid}/children", os.O_RDONLY | os.O_CLOEXEC)

    def pids(self) -> list[int]:
        """Every child of the main thread, zombies included."""
        data = os.pread(self._fd, 65536, 0)
        if len(data) == 65536:
            return children_of(self._pid)
        return [int(pid) for pid in data.split()]

    def close(self) -> None:
        """Free the handle."""
        os.close(self._fd)


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


def descendants_of(pid: int) -> Iterator[int]:
    """All of its tree below it, parents first; a snapshot of something that may be moving."""
    stack = children_of(pid)
    while stack:
        at = stack.pop()
        yield at
        stack.extend(children_of(at))


def kill_tree(pid: int) -> None:
    """SIGKILL a child of ours and its descendants: stop first, so that nothing forks away from the snapshot."""
    send(pid, signal.SIGSTOP)
    below = list(descendants_of(pid))
    for each in below:
        send(each, signal.SIGKILL)
    send(pid, signal.SIGKILL)


def send(pid: int, number: int) -> None:
    """Send a signal to a process that may be gone."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)


def send_group(pid: int, number: int) -> None:
    """Send a signal to the process group led by ``pid``, which must be an unreaped child of ours."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


class Trace:
    """What can be told of a process from outside: session, start and the mark in its environment."""

    def __init__(self, pid: int, mark: bytes) -> None:
        self.session = 0
        self.zombie = False
        self.marks: list[bytes] = []
        try:
            with open(f"/proc/{pid}/stat", "rb") as f:
                fields = f.read().rpartition(b") ")[2].split()
            self.zombie = fields[0] in (b"Z", b"X")
            self.session = int(fields[3])
            with open(f"/proc/{pid}/environ", "rb") as f:
                self.marks = [v[len(mark) :] for v in f.read().split(b"\0") if v.startswith(mark)]
        except (OSError, IndexError, ValueError):
            return


class Family:
    """Whose the agent's children are: main processes of attempts, parts of the agent itself, or strays.

    A stray is an orphan that an attempt left behind. ``owned`` must name every other child of the agent (runners and
    their makers), or it may be taken for one.
    """

    def __init__(self) -> None:
        self._children = Children()
        self.owned: set[int] = set()

    def strays(self) -> list[int]:
        """Living children that are nobody's; dead ones are reaped here."""
        return [pid for pid in self._children.pids() if pid not in self.owned and not _reaped(pid)]

    def close(self) -> None:
        """Free the handle."""
        self._children.close()


def _reaped(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] == pid
    except ChildProcessError:
        return True
