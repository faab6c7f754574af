"""A WebSocket without IO (RFC 6455): bytes in, whole binary messages out; bytes to write are asked for.

What the doorbell and the stream of events need and no more: no extensions. Whatever the other end sends is checked and
bounded; nonsense is a ``LinkError``. Ours because the published library costs each process 5 MB and 80 ms of start for the same frames;
the tests let the two talk to each other. Called by ``link.doorbell`` and ``control.sockets``.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable

from headrace.model.errors import LinkError

GUID = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0x0, 0x1, 0x2, 0x8, 0x9, 0xA
_FIN = 0x80
_MASKED = 0x80
_SHORT_MAX = 125


class WebSocket:
    """One end of an open WebSocket. ``masks`` gives four random bytes per frame for the end that dialed, else None."""

    def __init__(self, *, masks: Iterable[bytes] | None, message_max: int, texts: bool = False) -> None:
        self._opens = (BINARY, TEXT, CONTINUATION) if texts else (BINARY, CONTINUATION)
        self._masks = None if masks is None else iter(masks)
        self._message_max = message_max
        self._got = bytearray()
        self._pieces: list[bytes] | None = None
        self._size = 0
        self._out: list[bytes] = []
        self._said_close = False
        self.closed = False
        """The other end has said that nothing more will come."""
        self.pongs = 0

    def send(self, message: bytes) -> None:
        """A binary message is to be written."""
        self._frame(BINARY, message)

    def ping(self, payload: bytes = b"") -> None:
        """Ask whether the other end is there; its answer is counted in ``pongs``."""
        self._frame(PING, payload)

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Say that nothing more will come; once."""
        if not self._said_close:
            self._said_close = True
            self._frame(CLOSE, code.to_bytes(2, "big") + reason.encode()[: _SHORT_MAX - 2])

    def to_write(self) -> bytes:
        """What is to be written now, pongs and the closing frame included."""
        out, self._out = self._out, []
        return b"".join(out)

    def receive(self, data: bytes) -> list[bytes]:
        """The messages that are whole now. Raises LinkError for what is no WebSocket, or too large."""
        self._got += data
        messages = []
        while not self.closed and (found := self._take()) is not None:
            opcode, final, payload = found
            if opcode in self._opens:
                whole = self._piece(opcode, payload, final=final)
                if whole is not None:
                    messages.append(whole)
            elif opcode == PING:
                self._frame(PONG, payload)
            elif opcode == CLOSE:
                self.closed = True
                self.close()
            elif opcode == PONG:
                self.pongs += 1
            else:
                raise LinkError(f"a frame of kind {opcode} has no place on the doorbell")
        return messages

    def _piece(self, opcode: int, payload: bytes, *, final: bool) -> bytes | None:
        if (self._pieces is None) == (opcode == CONTINUATION):
            raise LinkError("the frames of two messages are mixed")
        pieces = self._pieces or []
        pieces.append(payload)
        self._size += len(payload)
        if self._size > self._message_max:
            raise LinkError(f"a message of more than {self._message_max} bytes")
        if not final:
            self._pieces = pieces
            return None
        self._pieces = None
        self._size = 0
        return b"".join(pieces)

    def _take(self) -> tuple[int, bool, bytes] | None:
        """The next whole frame, or None."""
        got = self._got
        if len(got) < 2:
            return None
        first, second = got[0], got[1]
        if first & 0x70:
            raise LinkError("a frame with bits that mean nothing here")
        opcode, final, size, at = first & 0x0F, bool(first & _FIN), second & 0x7F, 2
        if bool(second & _MASKED) != (self._masks is None):
            raise LinkError("only the end that dialed masks its frames")
        if size > _SHORT_MAX:
            at = 4 if size == _SHORT_MAX + 1 else 10
            if len(got) < at:
                return None
            size = int.from_bytes(got[2:at], "big")
        if opcode >= CLOSE and (size > _SHORT_MAX or not final):
            raise LinkError("a control frame that is too long or in pieces")
        if size > self._message_max:
            raise LinkError(f"a message of more than {self._message_max} bytes")
        mask = b""
        if second & _MASKED:
            mask, at = bytes(got[at : at + 4]), at + 4
        if len(got) < at + size:
            return None
        payload = bytes(got[at : at + size])
        del got[: at + size]
        return opcode, final, masked(payload, mask) if mask else payload

    def _frame(self, opcode: int, payload: bytes) -> None:
        size = len(payload)
        bit = 0 if self._masks is None else _MASKED
        head = bytearray([_FIN | opcode])
        if size <= _SHORT_MAX:
            head.append(bit | size)
        elif size < 1 << 16:
            head.append(bit | (_SHORT_MAX + 1))
            head += size.to_bytes(2, "big")
        else:
            head.append(bit | (_SHORT_MAX + 2))
            head += size.to_bytes(8, "big")
        if self._masks is not None:
            mask = next(self._masks)
            head += mask
            payload = masked(payload, mask)
        self._out.append(bytes(head) + payload)


def unmasked_frame(opcode: int, payload: bytes) -> bytes:
    """A whole frame of the end that was dialed, ready to be written to any number of sockets."""
    size = len(payload)
    if size <= _SHORT_MAX:
        head = bytes((_FIN | opcode, size))
    elif size < 1 << 16:
        head = bytes((_FIN | opcode, _SHORT_MAX + 1)) + size.to_bytes(2, "big")
    else:
        head = bytes((_FIN | opcode, _SHORT_MAX + 2)) + size.to_bytes(8, "big")
    return head + payload


def masked(payload: bytes, mask: bytes) -> bytes:
    """The payload under this mask; the same again takes it off."""
    size = len(payload)
    key = (mask * (size // 4 + 1))[:size]
    return (int.from_bytes(payload, "big") ^ int.from_bytes(key, "big")).to_bytes(size, "big")


def accept_of(key: bytes) -> bytes:
    """What the end that is dialed answers to this ``Sec-WebSocket-Key``."""
    return base64.b64encode(hashlib.sha1(key + GUID, usedforsecurity=False).digest())


def dialing(path: str, key: bytes, authorization: str = "") -> bytes:
    """The opening request."""
    lines = [f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"]
    if authorization:
        lines.append(f"Authorization: {authorization}\r\n")
    lines.append(f"Sec-WebSocket-Key: {key.decode('ascii')}\r\nSec-WebSocket-Version: 13\r\n\r\n")
    return "".join(lines).encode("latin-1")


def read_head(head: bytes) -> tuple[list[bytes], dict[bytes, bytes]]:
    """The words of the first line and the headers (lower case) of a request or answer. Raises LinkError."""
    lines = head.split(b"\r\n")
    words = lines[0].split(b" ", 2)
    headers = {}
    for line in lines[1:]:
        if not line:
            continue
        name, colon, value = line.partition(b":")
        if not colon or name.strip() != name:
            raise LinkError("not an HTTP header")
        headers[name.lower()] = value.strip()
    return words, headers


def check_accepted(head: bytes, key: bytes) -> None:
    """Whether this answer opens the WebSocket that was asked for with ``key``. Raises LinkError."""
    words, headers = read_head(head)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        raise LinkError("not an HTTP answer")
    if words[1] != b"101":
        raise LinkError(f"control refuses the doorbell: status {words[1].decode('latin-1')[:20]}")
    if headers.get(b"upgrade", b"").lower() != b"websocket" or headers.get(b"sec-websocket-accept") != accept_of(key):
        raise LinkError("control opened something else than a WebSocket")


def answer_to(head: bytes, path: str) -> tuple[bytes, bool]:
    """The answer to an opening request, and whether it opens a WebSocket. Never raises."""
    try:
        words, headers = read_head(head)
    except LinkError:
        return _refusal(b"400 Bad Request"), False
    if len(words) != 3 or words[2] != b"HTTP/1.1":
        return _refusal(b"400 Bad Request"), False
    if words[1] != path.encode("ascii"):
        return _refusal(b"404 Not Found"), False
    tokens = [t.strip().lower() for t in headers.get(b"connection", b"").split(b",")]
    if words[0] != b"GET" or headers.get(b"upgrade", b"").lower() != b"websocket" or b"upgrade" not in tokens:
        return _refusal(b"426 Upgrade Required", b"Upgrade: websocket\r\n"), False
    key = headers.get(b"sec-websocket-key", b"")
    if headers.get(b"sec-websocket-version") != b"13" or len(key) != 24:
        return _refusal(b"400 Bad Request", b"Sec-WebSocket-Version: 13\r\n"), False
    opened = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return opened + b"Sec-WebSocket-Accept: " + accept_of(key) + b"\r\n\r\n", True


def _refusal(status: bytes, more: bytes = b"") -> bytes:
    return b"HTTP/1.1 " + status + b"\r\n" + more + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
