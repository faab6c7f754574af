"""The runner: the process that imports user code and calls it, frame by frame, until its socket closes.

Single-threaded but for the outbox's watcher. Never opens a connection, never reads configuration: all it knows comes
in calls. Entered in a fresh process that the template forked (``serve``).
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from types import FrameType

from headrace.runner.calls import Caller
from headrace.runner.capture import install
from headrace.runner.memory import Memory
from headrace.runner.outbox import Outbox
from headrace.runner.place import Grounds
from headrace.runner.protocol import TO_RUNNER, Ask, Frames, Work

CHUNK = 65_536
"""Above 128 KiB every read would ask the kernel for memory and give it back."""


class Runner:
    """One runner: reads work, makes the calls, heeds what it is asked."""

    def __init__(self, sock: socket.socket, caller: Caller, outbox: Outbox) -> None:
        self._sock = sock
        self._caller = caller
        self._outbox = outbox
        self._frames = Frames(TO_RUNNER)
        self._queue: list[Work] = []
        self._asked: set[int] = set()
        self._poked = False
        self._working = False

    def serve(self) -> None:
        """Work until the other end closes."""
        signal.signal(signal.SIGTERM, self._on_term)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        os.register_at_fork(after_in_child=self._forked)
        while True:
            while self._queue:
                self._do(self._queue.pop(0))
            data = self._sock.recv(CHUNK)
            if not data:
                return
            self._take(data)

    def _do(self, work: Work) -> None:
        self._working = True
        self._outbox.begin()
        for call in work.calls:
            if self._poked:
                self._read_now()
            self._caller.make(call, self._asked)
            if self._caller.spoiled:
                break
        self._working = False
        self._caller.sweep()
        self._outbox.flush()
        if self._caller.spoiled:
            # What it was given and has not begun, the agent gives to a fresh one.
            os._exit(0)

    def _take(self, data: bytes) -> None:
        for message in self._frames.feed(data):
            if isinstance(message, Ask):
                self._asked.add(message.id)
            else:
                self._queue.append(message)

    def _read_now(self) -> None:
        """What lies in the socket: an Ask may be among it. Only while the main loop is not itself reading."""
        self._poked = False
        while True:
            try:
                data = self._sock.recv(CHUNK, socket.MSG_DONTWAIT)
            except BlockingIOError:
                return
            if not data:
                os._exit(0)
            self._take(data)

    def _forked(self) -> None:
        """User code made a copy of this process: an ordinary one, which ends when it is told to."""
        self._outbox.forked()
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def _on_term(self, signum: int, frame: FrameType | None) -> None:
        """An Ask was sent. While a call runs, look at once whether it is the one that is meant."""
        self._poked = True
        if not self._working or not self._caller.open:
            return
        self._read_now()
        running = self._outbox.running
        if running is not None and running[0] in self._asked:
            self._caller.interrupt()


def serve(sock: socket.socket, memory: int, roots: tuple[str, ...], scratch: str) -> None:
    """Be a runner on this socket. Returns when the agent closed it."""
    sys.path[:0] = roots
    outbox = Outbox(sock, Memory(memory))
    install(outbox)
    outbox.start()
    runner = Runner(sock, Caller(outbox, Grounds(scratch), roots), outbox)
    runner.serve()
