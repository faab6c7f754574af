"""What a runner has not sent yet, in memory that outlives it: so a crash takes no finished call's reply with it.

A page range shared by runner and agent (a memfd). The runner notes which call it makes and every reply that waits for
its frame; the agent reads it when the runner is gone; while it lives only that call. No locks: one writer.
"""

from __future__ import annotations

import mmap
import os
import struct
from typing import Any

from headrace.runner.protocol import FROM_RUNNER, Frames
from headrace.runner.protocol import HEAD as SIZE_OF

SIZE = 262_144
HEAD = struct.Struct("<QQQ")
"""Which call is being made (0: none), how many frames were sent, how many bytes of replies wait."""
WORD = struct.Struct("<Q")
ONE = b"\x91"
"""MessagePack: a list of one."""


def make_memory() -> int:
    """A new descriptor of such memory. Raises OSError."""
    fd = os.memfd_create("headrace-runner", os.MFD_CLOEXEC)
    os.ftruncate(fd, SIZE)
    return fd


class Memory:
    """The runner's side."""

    def __init__(self, fd: int) -> None:
        self._map = mmap.mmap(fd, SIZE)
        self._words = memoryview(self._map).cast("Q")
        """The head of it: each is written at once, or not at all."""
        self._sent = 0
        self._end = HEAD.size

    def making(self, id: int) -> None:
        """The call with this id begins; 0: none does."""
        self._words[0] = id

    def note(self, message: bytes) -> bool:
        """Keep this encoded message until it is sent. False when there is no room: it is safe only once it is sent."""
        data = SIZE_OF.pack(len(message) + 1) + ONE + message
        end = self._end + len(data)
        if end > SIZE:
            return False
        self._map[self._end : end] = data
        self._end = end
        self._words[2] = end - HEAD.size
        return True

    def sent(self) -> None:
        """Everything that waited was sent, as one frame."""
        self._sent += 1
        self._end = HEAD.size
        HEAD.pack_into(self._map, 0, self._words[0], self._sent, 0)


def read_making(fd: int) -> int:
    """While the runner lives: the call it is making; 0 for none."""
    (making,) = WORD.unpack(os.pread(fd, WORD.size, 0))
    return int(making)


def read_memory(fd: int, frames_heard: int) -> tuple[int, list[Any]]:
    """After the runner's death: the call it was making, and the replies that it could not send any more."""
    with mmap.mmap(fd, SIZE, prot=mmap.PROT_READ) as memory:
        making, sent, size = HEAD.unpack_from(memory, 0)
        if sent != frames_heard or size > SIZE - HEAD.size:
            return making, []
        try:
            return making, list(Frames(FROM_RUNNER).feed(memory[HEAD.size : HEAD.size + size]))
        except ValueError:
            return making, []
