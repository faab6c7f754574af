"""What a runner says, gathered into frames: replies of a frame of calls together, but nothing held longer than 2 ms.

While user code runs only the flusher thread sends, so a cancellation can never tear a frame; the main thread sends
between frames. The same thread reads what C code and subprocesses write to file descriptors 1 and 2. Blocking, POSIX.
"""

from __future__ import annotations

import os
import select
import socket
import threading
import time

from msgspec import Raw

from headrace.runner.memory import Memory
from headrace.runner.protocol import ENCODER, FromRunner, Log, Said, Started, frame

MOMENT_MS = 2
MOMENT_US = MOMENT_MS * 1000
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
        self._idle = True
        self._wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
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
        """A frame of calls begins: make sure that the flusher looks at it within a moment."""
        self._busy = True
        if self._idle:
            self._stir()

    def making(self, id: int, at: int) -> None:
        """Note that this call begins."""
        self._memory.making(id)
        self.running = (id, at)

    def log(self, stream: str, data: bytes, level: str = "", logger: str = "") -> None:
        """One piece of log of the running call, in order after what was written to the file descriptors before."""
        if self._copied:
            return _say(1 if stream == "stdout" else 2, data)
        with self._lock:
            self._drain()
            self._append(stream, data, level, logger)
            while self._waiting > ROOM:
                if self._idle:
                    self._stir()
                self._room.wait(1)
        if self._idle:
            self._stir()
        return None

    def said(self, text: bytes) -> None:
        """What the running call says of itself; told within a moment."""
        running = self.running
        if running is None or self._copied:
            return
        with self._lock:
            self._pending.append(Said(running[0], text))
        if self._idle:
            self._stir()

    def forked(self) -> None:
        """In a copy of this process that user code forked: socket, memory and lock belong to the original. Only the
        captured descriptors are left to speak through.
        """
        self._copied = True

    def finish(self, message: FromRunner) -> None:
        """The running call is over: its last log first, then this."""
        encoded = encode(message)
        with self._lock:
            self._drain()
            self.running = None
            self._pending.append(Raw(encoded))
            noted = self._memory.note(encoded)
            self._memory.making(0)
            if not noted:
                self._send()
        if self._idle:
            self._stir()

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

    def _stir(self) -> None:
        self._idle = False
        os.eventfd_write(self._wake, 1)

    def _watch(self) -> None:
        poll = select.poll()
        for fd in (self._wake, *self._pipes):
            poll.register(fd, select.POLLIN)
        sent, timeout = time.monotonic(), None
        while True:
            ready = poll.poll(timeout)
            for fd, what in ready:
                if fd == self._wake:
                    os.eventfd_read(fd)
                elif not what & select.POLLIN:
                    poll.unregister(fd)
            with self._lock:
                self._drain()
                if not ready or time.monotonic() - sent > MOMENT_MS / 1000 or self._waiting > ROOM:
                    self._announce()
                    self._send()
                    sent = time.monotonic()
                self._idle = not self._pending and not (self._busy and self._unannounced())
                timeout = None if self._idle else MOMENT_MS

    def _unannounced(self) -> bool:
        running = self.running
        return running is None or running[0] != self._announced

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
