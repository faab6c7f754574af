"""The agent's end of the template: starts it, asks it for runners, hears which of them are gone.

Restarts it when it dies (its runners die with it). Decides nothing about attempts. Called by ``executors.python``.
"""

from __future__ import annotations

import array
import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping

from headrace.runner.protocol import FROM_TEMPLATE, Fork, Forked, Frames, SignalRunner, ToTemplate, frame

OnForked = Callable[[int, int], None]
OnGone = Callable[[int, int], None]
CHUNK = 65_536


class TemplateClient:
    """One template process at a time. ``on_forked(id, pid)``, ``on_gone(id, code)`` are called on the loop.

    ``owned`` names the agent's own children (``processes.Family``): the template is in it while it lives.
    """

    def __init__(self, env: Mapping[str, str], *, on_forked: OnForked, on_gone: OnGone, owned: set[int]) -> None:
        self._env = dict(env)
        self._owned = owned
        self._on_forked = on_forked
        self._on_gone = on_gone
        self._loop = asyncio.get_running_loop()
        self._process: subprocess.Popen[bytes] | None = None
        self._sock: socket.socket | None = None
        self._frames = Frames(FROM_TEMPLATE)
        self._alive: set[int] = set()

    @property
    def pid(self) -> int:
        """The template's process; 0 while there is none."""
        return self._process.pid if self._process else 0

    def start(self) -> None:
        """Start the template when it is not running. Raises OSError."""
        if self._sock is not None:
            return
        ours, theirs = socket.socketpair()
        with theirs:
            argv = [sys.executable, "-P", "-m", "headrace.runner.template", str(theirs.fileno()), str(os.getpid())]
            self._process = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, pass_fds=[theirs.fileno()], env=self._env, start_new_session=True
            )
        self._owned.add(self._process.pid)
        self._sock = ours
        self._frames = Frames(FROM_TEMPLATE)
        self._loop.add_reader(ours.fileno(), self._read)

    def fork(self, order: Fork, theirs: socket.socket, memory: int) -> None:
        """Ask for a runner that has this end of a socket pair and this memory. Raises OSError."""
        self.start()
        assert self._sock is not None
        self._alive.add(order.id)
        fds = array.array("i", [theirs.fileno(), memory])
        self._sock.sendmsg([frame([order])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, fds)])

    def signal(self, id: int, number: int, *, group: bool = False) -> None:
        """Send this signal to a runner, if it still is one."""
        if id in self._alive:
            self._tell(SignalRunner(id, number, group))

    def close(self) -> None:
        """End the template, and with it every runner; waits until it is gone."""
        if self._sock is None or self._process is None:
            return
        self._loop.remove_reader(self._sock.fileno())
        self._sock.close()
        self._sock = None
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._owned.discard(self._process.pid)
        self._process = None

    def _tell(self, message: ToTemplate) -> None:
        if self._sock is not None:
            try:
                self._sock.sendall(frame([message]))
            except OSError:
                self._lost()

    def _read(self) -> None:
        if self._sock is None:
            return
        try:
            data = self._sock.recv(CHUNK, socket.MSG_DONTWAIT)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            data = b""
        if not data:
            self._lost()
            return
        for message in self._frames.feed(data):
            if isinstance(message, Forked):
                self._on_forked(message.id, message.pid)
            else:
                self._alive.discard(message.id)
                self._on_gone(message.id, message.code)

    def _lost(self) -> None:
        """The template died: so did its runners."""
        gone, self._alive = sorted(self._alive), set()
        self.close()
        for id in gone:
            self._on_gone(id, -signal.SIGKILL)
