"""Takes an attempt's own credential out of what it writes, before a byte of it reaches a disk.

Streams of bytes come in any pieces, so the end of a piece that may be the beginning of the secret waits for the next.
Pure. Made by ``agent.work`` for attempts that say something.
"""

from __future__ import annotations

SHOWN = b"***"
_STREAMS = frozenset({"stdout", "stderr"})


class Mask:
    """``secret`` never comes out, whatever the pieces it goes in by."""

    __slots__ = ("_held", "_secret")

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._held: dict[str, bytes] = {}

    def take(self, stream: str, data: bytes) -> bytes:
        """What may be written of this piece now, and of what waited before it."""
        secret = self._secret
        if stream not in _STREAMS:
            return data.replace(secret, SHOWN)
        if self._held:
            data = self._held.pop(stream, b"") + data
        if secret in data:
            data = data.replace(secret, SHOWN)
        begins = self._begins(data)
        if begins < len(data):
            self._held[stream] = data[begins:]
            data = data[:begins]
        return data

    def rest(self) -> dict[str, bytes]:
        """What still waited when the stream ended: no secret after all."""
        held, self._held = self._held, {}
        return held

    def _begins(self, data: bytes) -> int:
        """Where the secret may begin at the end of these bytes; their length when it does not."""
        at = data.find(self._secret[:1], max(0, len(data) - len(self._secret) + 1))
        while at >= 0:
            if self._secret.startswith(data[at:]):
                return at
            at = data.find(self._secret[:1], at + 1)
        return len(data)
