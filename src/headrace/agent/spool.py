"""Logs of attempts: numbered, bounded, small ones in memory, larger ones on the agent's disk.

A log is kept whole up to its limit; beyond it the head and the tail stay, and the seal says exactly how much of which
stream is gone. Trouble with the disk marks a cut and never reaches the attempt. Called by ``agent.work`` (writes) and
the agent's API (reads).
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from msgspec import Struct

from headrace.agent.disk import AppendFile, Disk
from headrace.link.port import LogPage
from headrace.link.records import AttemptName, LogRecord, Seal, StreamSeal
from headrace.link.wire import name_text, parse_name
from headrace.model.errors import Invalid, NotFound

PIECE_MAX = 32 * 1024
"""Bytes of data in one record."""

INLINE_MAX = 4 * 1024
"""Bytes of an encoded log that travels inside the outcome."""

PAGE_MAX = 1024 * 1024
"""Bytes of log in one answer; one record is always given."""

_FOLDER = "spool"
_ENCODER = msgspec.msgpack.Encoder()
_RECORD = msgspec.msgpack.Decoder(LogRecord)
_RECORDS = msgspec.msgpack.Decoder(list[LogRecord])


class _Written(Struct):
    """What one stream has written and what of it is kept."""

    last: int = 0
    written: int = 0
    kept: int = 0


class _Segment:
    """One file of a log: frames of (size, record), and what is needed to seek in it and to drop it."""

    def __init__(self, name: str, file: AppendFile) -> None:
        self.name = name
        self.file = file
        self.first = 0
        self.last = 0
        self.bytes: dict[str, int] = {}
        self.marks: list[tuple[int, int]] = []
        """(seq, offset) about every 64 KiB."""

    def add(self, seq: int, stream: str, size: int, frames: bytes) -> None:
        if not self.first:
            self.first = seq
        if not self.marks or self.file.size - self.marks[-1][1] > 65536:
            self.marks.append((seq, self.file.size))
        self.file.append(frames)
        self.last = seq
        self.bytes[stream] = self.bytes.get(stream, 0) + size

    def offset_before(self, seq: int) -> int:
        at = 0
        for known, offset in self.marks:
            if known > seq:
                break
            at = offset
        return at


class AttemptLog:
    """The log of one attempt. ``limit`` is in bytes of data; half of it is kept from the head, half as the tail."""

    def __init__(self, spool: Spool, name: AttemptName, limit: int) -> None:
        self.name = name
        self.sealed: Seal | None = None
        self._spool = spool
        self._half = max(limit // 2, PIECE_MAX)
        self._seq = 0
        self._streams: dict[str, _Written] = {}
        self._small: list[bytes] | None = []
        self._small_size = 0
        self._segments: list[_Segment] = []
        self._part = 0
        self._cut = ""
        self._waiters: list[asyncio.Future[None]] = []

    def add(self, stream: str, data: bytes, at: int, level: str, logger: str, fields: dict[str, Any] | None) -> None:
        """One piece, of any size. Never raises for trouble with the disk."""
        if self.sealed is not None:
            return
        counts = self._streams.get(stream)
        if counts is None:
            counts = self._streams[stream] = _Written()
        for start in range(0, max(len(data), 1), PIECE_MAX):
            piece = data if len(data) <= PIECE_MAX else data[start : start + PIECE_MAX]
            self._seq += 1
            counts.last = self._seq
            counts.written += len(piece)
            record = LogRecord(self._seq, at, stream, piece, level, logger, fields)
            self._keep(record, counts)
        self._wake()

    def seal(self) -> Seal:
        """No more records. Small logs travel in the seal and leave no file."""
        if self.sealed is None:
            streams = tuple(StreamSeal(s, c.last, c.written, c.kept) for s, c in self._streams.items())
            inline = _array(self._small) if self._small else b""
            self.sealed = Seal(self._seq, streams, inline, self._reason())
            self._wake()
        return self.sealed

    def page(self, after: int, limit: int) -> LogPage:
        """Records with ``seq > after``."""
        records: list[LogRecord] = []
        size = 0
        for record in self._records(after):
            size += len(record.data)
            if records and (size > PAGE_MAX or len(records) >= limit):
                return LogPage(records, sealed=False)
            records.append(record)
        return LogPage(records, sealed=self.sealed is not None)

    async def changed(self, seconds: float) -> None:
        """Return when a record comes or the log is sealed, or after ``seconds``."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            async with asyncio.timeout(seconds):
                await waiter
        except TimeoutError:
            self._waiters.remove(waiter)

    def drop(self) -> None:
        """Delete what is on disk."""
        for segment in self._segments:
            segment.file.close()
            self._spool.disk.remove(segment.name)
        self._segments.clear()

    def _keep(self, record: LogRecord, counts: _Written) -> None:
        encoded = _ENCODER.encode(record)
        size = len(record.data)
        if self._small is not None:
            if self._small_size + len(encoded) <= INLINE_MAX - 3:
                self._small.append(encoded)
                self._small_size += len(encoded)
                counts.kept += size
                return
            small, self._small = self._small, None
            for old in small:
                kept = _RECORD.decode(old)
                self._streams[kept.stream].kept -= len(kept.data)
                self._write(kept, old, self._streams[kept.stream])
        self._write(record, encoded, counts)

    def _write(self, record: LogRecord, encoded: bytes, counts: _Written) -> None:
        if self._cut.startswith("disk"):
            return
        frame = len(encoded).to_bytes(4, "little") + encoded
        try:
            segment = self._segment(len(frame))
            segment.add(record.seq, record.stream, len(record.data), frame)
        except OSError as e:
            self._cut = f"disk: {e.strerror or e}"
            return
        counts.kept += len(record.data)

    def _segment(self, size: int) -> _Segment:
        """The segment to write to: the head until it is full, then two tail segments that take turns."""
        if self._segments:
            current = self._segments[-1]
            room = self._half if len(self._segments) == 1 and not self._part > 1 else self._half // 2
            if current.file.size + size <= room:
                return current
        if len(self._segments) == 3:
            self._forget(self._segments.pop(1))
        self._part += 1
        name = f"{_FOLDER}/{name_text(self.name)}.{self._part}"
        self._spool.disk.remove(name)
        segment = _Segment(name, self._spool.disk.append_to(name))
        self._segments.append(segment)
        return segment

    def _forget(self, segment: _Segment) -> None:
        for stream, size in segment.bytes.items():
            self._streams[stream].kept -= size
        self._cut = "limit"
        segment.file.close()
        self._spool.disk.remove(segment.name)

    def _reason(self) -> str:
        if not self._cut:
            return ""
        lost = {s: c.written - c.kept for s, c in self._streams.items() if c.written != c.kept}
        counts = ", ".join(f"{n} bytes of {s}" for s, n in lost.items())
        if self._cut == "limit":
            kept = 2 * self._half
            return f"more than {kept} bytes were written: {counts} are missing between the head and the tail"
        return f"{self._cut}: {counts} are missing"

    def _records(self, after: int) -> Any:
        if self._small is not None:
            for encoded in self._small:
                record = _RECORD.decode(encoded)
                if record.seq > after:
                    yield record
            return
        for segment in list(self._segments):
            if segment.last <= after:
                continue
            yield from _read(segment.file, segment.offset_before(after + 1), after)

    def _wake(self) -> None:
        if self._waiters:
            waiters, self._waiters = self._waiters, []
            for waiter in waiters:
                if not waiter.done():
                    waiter.set_result(None)


def _read(file: AppendFile, offset: int, after: int) -> Any:
    """Records with ``seq > after`` from ``offset`` on; a torn one ends them."""
    while offset + 4 <= file.size:
        size = int.from_bytes(file.read(offset, 4), "little")
        data = file.read(offset + 4, size)
        if len(data) != size:
            return
        offset += 4 + size
        try:
            record = _RECORD.decode(data)
        except msgspec.MsgspecError:
            return
        if record.seq > after:
            yield record


def _array(encoded: list[bytes]) -> bytes:
    """MessagePack of the list of these encoded records."""
    n = len(encoded)
    head = bytes([0x90 | n]) if n < 16 else b"\xdc" + n.to_bytes(2, "big")
    return head + b"".join(encoded)


class Spool:
    """The logs this agent has: of attempts that run, and of ended ones until control says they are stored."""

    def __init__(self, disk: Disk) -> None:
        self.disk = disk
        self._logs: dict[AttemptName, AttemptLog] = {}
        self._old: dict[AttemptName, list[str]] = {}
        for file in disk.names(_FOLDER):
            try:
                name = parse_name(file.rpartition(".")[0])
            except Invalid:
                continue
            self._old.setdefault(name, []).append(f"{_FOLDER}/{file}")

    def open(self, name: AttemptName, limit: int) -> AttemptLog:
        """Begin the log of an attempt; what an earlier life left of it goes."""
        self._drop_old(name)
        log = self._logs[name] = AttemptLog(self, name, limit)
        return log

    def close(self, log: AttemptLog) -> Seal:
        """Seal it. Small logs are forgotten here: they travel in the seal."""
        seal = log.seal()
        if seal.inline or not seal.last:
            self._logs.pop(log.name, None)
        return seal

    async def read(self, name: AttemptName, after: int, limit: int, wait_ms: int) -> LogPage:
        """Records with ``seq > after``, at most ``limit``; waits for the first. Raises ``NotFound``."""
        log = self._logs.get(name)
        if log is None:
            return self._read_old(name, after, limit)
        page = log.page(after, limit)
        if not page.records and not page.sealed and wait_ms > 0:
            await log.changed(wait_ms / 1000)
            page = log.page(after, limit)
        return page

    def waiting(self) -> list[AttemptName]:
        """Sealed logs, and those of earlier lives, that nobody has dropped yet."""
        return [name for name, log in self._logs.items() if log.sealed is not None] + list(self._old)

    def drop(self, name: AttemptName) -> None:
        """Control has stored it (or nobody wants it)."""
        log = self._logs.pop(name, None)
        if log is not None:
            log.drop()
        self._drop_old(name)

    def _drop_old(self, name: AttemptName) -> None:
        if self._old:
            for file in self._old.pop(name, ()):
                self.disk.remove(file)

    def _read_old(self, name: AttemptName, after: int, limit: int) -> LogPage:
        files = self._old.get(name)
        if files is None:
            raise NotFound(f"this agent has no log of attempt {name_text(name)}")
        records: list[LogRecord] = []
        size = 0
        for file in sorted(files, key=lambda f: int(f.rpartition(".")[2])):
            handle = self.disk.append_to(file)
            try:
                for record in _read(handle, 0, after):
                    size += len(record.data)
                    if records and (size > PAGE_MAX or len(records) >= limit):
                        return LogPage(records, sealed=False)
                    records.append(record)
            finally:
                handle.close()
        return LogPage(records, sealed=True)


def decode_inline(inline: bytes) -> list[LogRecord]:
    """The records inside a seal."""
    return _RECORDS.decode(inline) if inline else []
