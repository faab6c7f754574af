"""What the context of a running call speaks to. Never runs anything. Made by ``runner.calls`` for each call."""

from __future__ import annotations

from collections.abc import Callable

from headrace.runner.place import Grounds
from headrace.runner.protocol import Call


class CallHost:
    """What the context of the running call speaks to."""

    __slots__ = ("_call", "_grounds", "asked", "cancel", "newest")

    def __init__(self, call: Call, grounds: Grounds) -> None:
        self._call = call
        self._grounds = grounds
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

    def progress(self, text: bytes) -> None:
        """Kept until the end of the call."""
        self.newest = text
