"""What a runner says, gathered into frames: replies of a frame of calls together, but nothing held longer than 5 ms.

While user code runs only the watcher thread sends, so a cancellation can never tear a frame; the main thread sends
between calls. The watcher sleeps while calls are short: to wake it costs as much as a call. The same thread reads what
C code and subprocesses write to file descriptors 1 and 2. Blocking, POSIX.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time

from msgspec import Raw

from headrace.runner.memory import Memory
from headrace.runner.protocol import ENCODER, Done, FromRunner, Log, Ok, Said, Started, frame
from headrace.runner.timer import Timer

MOMENT_US = 2000
GRAIN_US = 500
"""So much later than a moment may the watcher look: it need not be told of each call then."""
NEVER = -(1 << 62)
PIECE = 65_536
encode = ENCODER.encode
ROOM = 4 * 1024 * 1024
"""Bytes of log that may wait before a writer has to."""


class Outbox:
    """The runner's one way out. ``running`` is (id, started_at) of the call being made, set by the main thread."""

    def __init__(self, sock: socket.socket, memory: Memory) -> None:
        self.running: tuple[int, int] | None = None
        self._sock = sock
        self._memory = memory
        self._pending: list[FromRunner | Raw] = []
        self._waiting = 0
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._announced = 0
        self._busy = False
        self._timer = Timer(MOMENT_US + GRAIN_US)
        self._set_at = NEVER
        """When the timer was set; NEVER once it has fired. Never tells of a timer that does not run."""
        self._sent_at = 0
        self._pipes: dict[int, str] = {}
        self._poll = select.poll()
        self._copied = False

    def capture(self, fd: int, stream: str) -> None:
        """From now on, what is written to ``fd`` becomes log of the running call."""
        read, write = os.pipe()
        os.set_blocking(read, False)
        os.dup2(write, fd)
        os.close(write)
        self._pipes[read] = stream
        self._poll.register(read, select.POLLIN)

    def start(self) -> None:
        """Begin to watch; before this nothing is sent but by ``flush``."""
        threading.Thread(target=self._watch, name="headrace-outbox", daemon=True).start()

    def begin(self) -> None:
        """A frame of calls begins: its first reply may wait for a moment from here."""
        self._busy = True
        self._sent_at = time.time_ns() // 1000

    def making(self, id: int, at: int) -> None:
        """Note that this call begins. The watcher sleeps as long as calls follow each other within a grain."""
        self._memory.making(id)
        self.running = (id, at)
        # After ``running``: a watcher that wakes in between sees the call. Before the setting: see ``_set_at``.
        if not 0 <= at - self._set_at < GRAIN_US:
            self._set_at = at
            self._timer.set()

    def log(self, stream: str, data: bytes, level: str = "", logger: str = "") -> None:
        """One piece of log of the running call, in order after what was written to the file descriptors before."""
        if self._copied:
            return _say(1 if stream == "stdout" else 2, data)
        with self._lock:
            self._drain()
            self._append(stream, data, level, logger)
            while self._waiting > ROOM:
                self._timer.fire()
                self._room.wait(1)
            self._soon()
        return None

    def said(self, text: bytes) -> None:
        """What the running call says of itself; told within a moment."""
        running = self.running
        if running is None or self._copied:
            return
        with self._lock:
            self._pending.append(Said(running[0], text))
            self._soon()

    def forked(self) -> None:
        """In a copy of this process that user code forked: socket, memory and lock belong to the original. Only the
        captured descriptors are left to speak through.
        """
        self._copied = True

    @property
    def ears(self) -> tuple[int, ...]:
        """Descriptors that are readable when something was written to a captured one."""
        return tuple(self._pipes)

    def finish(self, message: Ok | Done, *, still: bool = False) -> None:
        """The running call is over: its last log first, then this. ``still``: nothing is to be read from ``ears``."""
        encoded = encode(message)
        with self._lock:
            if not still:
                self._drain()
            self.running = None
            self._pending.append(Raw(encoded))
            noted = self._memory.note(encoded)
            self._memory.making(0)
            if not noted or not 0 <= message.ended_at - self._sent_at < MOMENT_US:
                self._sent_at = message.ended_at
                self._send()

    def flush(self) -> None:
        """The frame is over: send all that waits. No user code can be interrupted now."""
        with self._lock:
            self._busy = False
            self._send()

    def _append(self, stream: str, data: bytes, level: str, logger: str) -> None:
        self._waiting += len(data)
        if len(data) <= PIECE // 2:
            running = self.running
            piece = Log(running[0] if running else 0, time.time_ns() // 1000, stream, data, level, logger)
            self._memory.note(encode(piece))
        running = self.running
        id = running[0] if running else 0
        last = self._pending[-1] if self._pending else None
        same = isinstance(last, Log) and (last.stream, last.id, last.level) == (stream, id, level)
        if isinstance(last, Log) and same and not level and len(last.data) + len(data) <= PIECE:
            last.data += data
            return
        now = time.time_ns() // 1000
        for at in range(0, len(data), PIECE):
            self._pending.append(Log(id, now, stream, data[at : at + PIECE], level, logger))

    def _drain(self) -> None:
        """Take what lies in the pipes; the lock is held, so no piece can be overtaken by a reply."""
        while ready := self._poll.poll(0):
            for fd, _ in ready:
                try:
                    data = os.read(fd, PIECE)
                except BlockingIOError:
                    continue
                if not data:
                    self._poll.unregister(fd)
                    continue
                self._append(self._pipes[fd], data, "", "")
            if self._waiting > ROOM:
                return

    def _send(self) -> None:
        if not self._pending:
            return
        batch, self._pending = self._pending, []
        if self._waiting:
            self._waiting = 0
            self._room.notify_all()
        self._sock.sendall(frame(batch))
        self._memory.sent()

    def _soon(self) -> None:
        """The watcher looks within a moment. The lock is held, so it does not look between the two lines; user code may
        be interrupted there, and then the timer runs and nobody knows: that is harmless.
        """
        if self._set_at == NEVER:
            self._timer.set()
            self._set_at = time.time_ns() // 1000

    def _watch(self) -> None:
        poll = select.poll()
        timer = self._timer.fd
        for fd in (timer, *self._pipes):
            poll.register(fd, select.POLLIN)
        while True:
            fired = False
            for fd, what in poll.poll():
                if fd == timer:
                    fired = True
                elif not what & select.POLLIN:
                    poll.unregister(fd)
            with self._lock:
                if fired:
                    self._set_at = NEVER
                    self._timer.clear()
                self._drain()
                if fired or self._waiting > ROOM:
                    self._announce()
                    self._send()
                if self._pending or (self._busy and self._unannounced()):
                    self._soon()

    def _unannounced(self) -> bool:
        running = self.running
        return running is not None and running[0] != self._announced

    def _announce(self) -> None:
        running = self.running
        if running is None or running[0] == self._announced:
            return
        if time.time_ns() // 1000 - running[1] >= MOMENT_US:
            self._announced = running[0]
            self._pending.append(Started(*running))


def _say(fd: int, data: bytes) -> None:
    """All of it to this descriptor."""
    while data:
        data = data[os.write(fd, data) :]
