"""What the context of a running call speaks to. Never runs anything. Made by ``runner.calls`` for each call."""

from __future__ import annotations

import time
from collections.abc import Callable

from msgspec import Struct

from headrace.runner.place import Grounds
from headrace.runner.protocol import Call

TELL_S = 1.0
"""A loop may say how far it is a million times: so often at most it is told."""


class CallHost(Struct, eq=False):
    """What the context of the running call speaks to."""

    call: Call
    grounds: Grounds
    tell: Callable[[bytes], None]
    asked: bool = False
    newest: bytes = b""
    cancel: Callable[[], object] | None = None
    """How to end a coroutine that is running; None while none is."""
    told_at: float = 0.0

    def cancelled(self) -> bool:
        """Whether the agent asked for the end."""
        return self.asked

    def folder(self, name: str) -> str:
        """The call's own folder of that name."""
        return self.grounds.folder(self.call, name)

    def progress(self, text: bytes, *, phase: bool = False) -> None:
        """Told at once when a phase begins, else not more often than each second; the newest is kept to the end."""
        self.newest = text
        if phase:
            self.tell(text)
        elif (now := time.monotonic()) - self.told_at >= TELL_S:
            self.told_at = now
            self.tell(text)
