"""What the context of a running call speaks to. Never runs anything. Made by ``runner.calls`` for each call."""

from __future__ import annotations

import time
from collections.abc import Callable

from headrace.runner.place import Grounds
from headrace.runner.protocol import Call

TELL_S = 1.0
"""A loop may say how far it is a million times: so often at most it is told."""


class CallHost:
    """What the context of the running call speaks to."""

    __slots__ = ("_call", "_grounds", "_said", "_tell", "asked", "cancel", "newest")

    def __init__(self, call: Call, grounds: Grounds, tell: Callable[[bytes], None]) -> None:
        self._call = call
        self._grounds = grounds
        self._tell = tell
        self._said = 0.0
        self.asked = False
        self.newest = b""
        self.cancel: Callable[[], object] | None = None
        """How to end a coroutine that is running; None while none is."""

    def cancelled(self) -> bool:
        """Whether the agent asked for the end."""
        return self.asked

    def folder(self, name: str) -> str:
        """The call's own folder of that name."""
        return self._grounds.folder(self._call, name)

    def progress(self, text: bytes, *, phase: bool = False) -> None:
        """Told at once when a phase begins, else not more often than each second; the newest is kept to the end."""
        self.newest = text
        if phase:
            self._tell(text)
        elif (now := time.monotonic()) - self._said >= TELL_S:
            self._said = now
            self._tell(text)
