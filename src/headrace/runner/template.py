"""The template: the lean parent that every runner is forked from. ``python -m headrace.runner.template FD``.

Imports what a runner needs and nothing of the user's, so that runners share its pages and start in a millisecond. Must
never import user code and never outlive the agent. Started by ``agent.executors.python``.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import gc
import os
import select
import signal
import socket
import sys
import traceback
from collections import deque

from headrace.codec.lean import import_records

import_records()

from headrace.runner.main import serve  # noqa: E402 -- it imports msgspec
from headrace.runner.protocol import (  # noqa: E402 -- likewise
    TO_TEMPLATE,
    Fork,
    Forked,
    Frames,
    FromTemplate,
    Gone,
    SignalRunner,
    frame,
)

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
FDS_MAX = 64


def die_with_parent(parent: int) -> None:
    """SIGKILL to this process when its parent ends; at once when that has already happened."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


class Template:
    """Forks runners on request and tells when one is gone."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._frames = Frames(TO_TEMPLATE)
        self._fds: deque[int] = deque()
        self._runners: dict[int, int] = {}
        self._wake, self._waker = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)

    def serve(self) -> None:
        """Until the agent closes the socket; then every runner dies."""
        signal.signal(signal.SIGCHLD, lambda *_: None)
        # A task that signals its parent must not take the other runners with it. Runners set their own handlers.
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(self._waker, warn_on_full_buffer=False)
        poll = select.poll()
        poll.register(self._sock, select.POLLIN)
        poll.register(self._wake, select.POLLIN)
        while True:
            ready = {fd for fd, _ in poll.poll()}
            if self._wake in ready:
                with contextlib.suppress(BlockingIOError):
                    os.read(self._wake, 4096)
                self._reap()
            if self._sock.fileno() in ready and not self._read():
                break
        for pid in self._runners.values():
            os.kill(pid, signal.SIGKILL)

    def _read(self) -> bool:
        data, ancillary, _, _ = self._sock.recvmsg(65_536, socket.CMSG_SPACE(FDS_MAX * 4))
        for level, kind, payload in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                fds = array.array("i")
                fds.frombytes(payload[: len(payload) - len(payload) % fds.itemsize])
                self._fds.extend(fds)
        if not data:
            return False
        for message in self._frames.feed(data):
            if isinstance(message, Fork):
                self._fork(message)
            else:
                self._signal(message)
        return True

    def _fork(self, order: Fork) -> None:
        fd, memory = self._fds.popleft(), self._fds.popleft()
        parent = os.getpid()
        pid = os.fork()
        if pid == 0:
            self._become_runner(order, fd, memory, parent)
        os.close(fd)
        os.close(memory)
        self._runners[order.id] = pid
        self._tell(Forked(order.id, pid))

    def _become_runner(self, order: Fork, fd: int, memory: int, parent: int) -> None:
        """In the child; never returns."""
        try:
            os.setsid()
            die_with_parent(parent)
            ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
            signal.set_wakeup_fd(-1)
            for number in (signal.SIGCHLD, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                signal.signal(number, signal.SIG_DFL)
            self._sock.close()
            for own in (self._wake, self._waker, *self._fds):
                os.close(own)
            if order.cgroup:
                with open(order.cgroup, "w") as f:
                    f.write("0")
            gc.enable()
            serve(socket.socket(fileno=fd), memory, order.roots, order.scratch)
            os._exit(0)
        except BaseException:  # reason: the last border of this process; nothing may go up into the template's loop
            traceback.print_exc()
            os._exit(70)

    def _signal(self, order: SignalRunner) -> None:
        pid = self._runners.get(order.id)
        if pid is None:
            return
        with contextlib.suppress(ProcessLookupError):
            if order.group:
                os.killpg(pid, order.signal)
            os.kill(pid, order.signal)

    def _reap(self) -> None:
        for id, pid in list(self._runners.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self._runners[id]
                self._tell(Gone(id, pid, os.waitstatus_to_exitcode(status)))

    def _tell(self, message: FromTemplate) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._sock.sendall(frame([message]))


def main() -> None:
    """Be the template on the socket whose descriptor is the first argument; the second is the agent's pid."""
    fd, parent = int(sys.argv[1]), int(sys.argv[2])
    die_with_parent(parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    gc.collect()
    gc.freeze()
    gc.disable()
    Template(socket.socket(fileno=fd)).serve()


if __name__ == "__main__":
    main()
