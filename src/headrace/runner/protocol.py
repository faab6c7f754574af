"""What an agent and a runner say to each other over a socket pair, and what an agent and the template say.

A frame is a 4-byte little-endian length and a MessagePack list of messages. Records only, and the framing; no sockets
here. Used by ``runner.main``, ``runner.template`` and ``agent.executors.python``.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from typing import Any

import msgspec
from msgspec import Struct

FRAME_CALLS = 64
"""Most calls in one ``Work``."""

INLINE_RESULT = 262_144
"""Bytes of a result that travel in a frame; larger ones are left in a file whose path is told."""

FRAME_MAX = 64 * 1024 * 1024
"""No honest frame is longer: a longer length means that the stream is broken."""

HEAD = struct.Struct("<I")


class Call(Struct, frozen=True, array_like=True, tag="c"):
    """One attempt to make. ``id`` is the pool's own number of it, never used twice in one runner.

    ``work``, ``outputs``, ``inputs`` are the attempt's own folders, which exist when they are named; otherwise the
    runner lends its scratch folders. ``params`` empty: those of the call that this runner was sent before this one.
    """

    id: int
    target: str
    args: bytes
    run: int
    index: int
    epoch: int
    attempt: int
    task: str
    job: str = ""
    params: bytes = b"{}"
    token: str = ""
    url: str = ""
    env: dict[str, str] = {}
    work: str = ""
    outputs: str = ""
    inputs: str = ""


class Work(Struct, frozen=True, array_like=True, tag="w"):
    """Up to 64 calls, made one after the other."""

    calls: list[Call]


class Ask(Struct, frozen=True, array_like=True, tag="a"):
    """End this call politely. A SIGTERM follows, so that a call that is running learns of it."""

    id: int


class Started(Struct, frozen=True, array_like=True, tag="s"):
    """The call is running since ``at``; told only of calls that take longer than a moment."""

    id: int
    at: int


class Said(Struct, frozen=True, array_like=True, tag="y"):
    """The running call says how far it is, or which phase begins: JSON text."""

    id: int
    text: bytes


class Log(Struct, array_like=True, tag="l"):
    """One piece of log. ``id`` 0: it belongs to no attempt."""

    id: int
    at: int
    stream: str
    data: bytes
    level: str = ""
    logger: str = ""


class Ok(Struct, frozen=True, array_like=True, tag="k"):
    """The common end: it returned, and there is nothing else to say."""

    id: int
    started_at: int
    ended_at: int
    result: bytes


class Done(Struct, frozen=True, array_like=True, tag="d"):
    """Any end. ``kind`` is succeeded | failed | canceled. ``files``: outputs lie in ``kept_path``."""

    id: int
    started_at: int
    ended_at: int
    kind: str
    result: bytes | None = None
    result_path: str = ""
    result_lines: bool = False
    result_count: int = -1
    error: bytes | None = None
    error_types: tuple[str, ...] = ()
    exit_status: str | None = None
    stop_retry: bool = False
    skip: bool = False
    retry_after: int | None = None
    progress: bytes = b""
    files: bool = False


def kept_path(scratch: str, id: int) -> str:
    """Where a runner leaves the output files of a call that had no folder of its own."""
    return f"{scratch}/outputs-{id}"


ToRunner = Work | Ask
FromRunner = Started | Said | Log | Ok | Done


class Fork(Struct, frozen=True, array_like=True, tag="f"):
    """To the template, with the runner's end of its socket pair and its memory attached: make a runner.

    ``roots`` are put at the front of ``sys.path``; ``scratch`` is a folder of the runner's own; ``cgroup`` is a
    ``cgroup.procs`` file that the runner enters before it does anything else, or empty.
    """

    id: int
    roots: tuple[str, ...]
    scratch: str
    cgroup: str = ""


class SignalRunner(Struct, frozen=True, array_like=True, tag="g"):
    """To the template: this signal to the runner; ``group``: and to every process of its session's group."""

    id: int
    signal: int
    group: bool = False


class Forked(Struct, frozen=True, array_like=True, tag="o"):
    """From the template: the runner exists."""

    id: int
    pid: int


class Gone(Struct, frozen=True, array_like=True, tag="x"):
    """From the template: the runner was reaped. ``code`` as ``subprocess.Popen.returncode``: negative for a signal."""

    id: int
    pid: int
    code: int


ToTemplate = Fork | SignalRunner
FromTemplate = Forked | Gone

ENCODER = msgspec.msgpack.Encoder()
TO_RUNNER = msgspec.msgpack.Decoder(list[ToRunner])
FROM_RUNNER = msgspec.msgpack.Decoder(list[FromRunner])
TO_TEMPLATE = msgspec.msgpack.Decoder(list[ToTemplate])
FROM_TEMPLATE = msgspec.msgpack.Decoder(list[FromTemplate])


def frame(messages: list[Any]) -> bytes:
    """These messages as one frame."""
    body = ENCODER.encode(messages)
    return HEAD.pack(len(body)) + body


class Frames:
    """Bytes in, whole frames out. Raises ValueError when the stream cannot be ours."""

    def __init__(self, decoder: msgspec.msgpack.Decoder[Any]) -> None:
        self._buffer = bytearray()
        self._decoder = decoder
        self.count = 0
        """Whole frames so far."""

    def feed(self, data: bytes) -> Iterable[Any]:
        """The messages that are complete now, in order."""
        found: list[Any] = []
        buffer = self._buffer
        if not buffer:
            # Most reads bring whole frames: they are decoded where they lie.
            at = self._whole(data, found)
            if at < len(data):
                buffer += memoryview(data)[at:]
            return found
        buffer += data
        at = self._whole(buffer, found)
        if at:
            del buffer[:at]
        return found

    def _whole(self, data: bytes | bytearray, found: list[Any]) -> int:
        """Where the whole frames in it end."""
        at = 0
        with memoryview(data) as view:
            while len(data) - at >= HEAD.size:
                (size,) = HEAD.unpack_from(view, at)
                if size > FRAME_MAX:
                    raise ValueError(f"a frame of {size} bytes")
                end = at + HEAD.size + size
                if len(data) < end:
                    break
                found += self._decoder.decode(view[at + HEAD.size : end])
                at = end
                self.count += 1
        return at
