"""The agent's journal: what it accepted and what it finished, so that the next life can tell control about both.

Appended, never synced: ``kill -9`` keeps it, and a power cut ends the boot id with everything under it. A torn tail is
cut off. Must not be read except at start. Called by ``agent.attempts`` only.
"""

from __future__ import annotations

import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from struct import Struct as Packer
from typing import Any

import msgspec
from msgspec import Raw, Struct
from msgspec.structs import replace

from headrace.agent.disk import AppendFile, Disk
from headrace.link.records import Assignment, Outcome
from headrace.model.changes import OutcomeKind

_FRAME = Packer("<II")
_NAME = "journal"
_NEXT = "journal.next"
_ROTATE = 8 * 1024 * 1024
_REST = 256 * 1024
"""Bytes of a journal that an agent at rest leaves lying."""

Trace = tuple[int, int, int, int, int, int]
"""(run, no, index, epoch, graph, attempt): what is needed to report an attempt lost."""

Taken = tuple[int, int, int, int]
"""(run, no, index, epoch)."""


class Leftover(Struct, frozen=True):
    """What an earlier life left: outcomes nobody has acknowledged, and attempts that never ended."""

    finished: tuple[Outcome, ...] = ()
    unfinished: tuple[Trace, ...] = ()


class Journal:
    """One journal file. ``rotate_at`` is the size in bytes at which it is written anew with what still matters."""

    def __init__(self, disk: Disk, *, rotate_at: int = _ROTATE) -> None:
        self._disk = disk
        self._rotate_at = rotate_at
        self._encoder = msgspec.msgpack.Encoder()
        self._file: AppendFile | None = None
        self._open: dict[Taken, Trace] = {}
        self._taken: dict[Taken, int] = {}
        self._done: deque[tuple[int, Taken, bytes]] = deque()
        self.trouble = ""
        """Why the last write failed; empty when it did not. Outcomes are then offered by this life only."""
        self._fresh_size = 0

    def recover(self) -> Leftover:
        """Read what the earlier life left. Call once, before ``begin``."""
        open_: dict[Taken, Trace] = {}
        done: dict[int, Outcome] = {}
        data = self._disk.read(_NAME) or b""
        for kind, payload in _frames(data):
            if kind == "a":
                for trace in msgspec.convert(payload, list[Trace]):
                    open_[trace[:4]] = trace
            elif kind == "o":
                for outcome in msgspec.convert(payload, list[Outcome]):
                    done[outcome.m] = outcome
                    open_.pop((outcome.run, outcome.no, outcome.index, outcome.epoch), None)
            elif kind == "k":
                done = {m: o for m, o in done.items() if m > payload}
            elif kind == "f":
                open_.pop(msgspec.convert(payload, Taken), None)
        return Leftover(tuple(done[m] for m in sorted(done)), tuple(open_.values()))

    def begin(self, finished: Sequence[Outcome]) -> list[bytes]:
        """Start this life's journal with these outcomes, in one step. Gives their encodings."""
        encoded = [self._encoder.encode(o) for o in finished]
        self._open = {}
        self._taken = {_taken(o): o.m for o in finished}
        self._done = deque((o.m, _taken(o), e) for o, e in zip(finished, encoded, strict=True))
        self._rewrite()
        return encoded

    def accepted(self, batch: Sequence[Assignment]) -> None:
        """These are the agent's from here on."""
        traces = [(a.run, a.no, a.index, a.epoch, a.graph, a.attempt) for a in batch]
        self._open.update((trace[:4], trace) for trace in traces)
        self._append("a", traces)

    def finished(self, outcomes: Sequence[Outcome]) -> list[bytes]:
        """These ended. Gives their encodings, in order; one that cannot be written is told as failed, never lost."""
        encode, open_, taken, done = self._encoder.encode, self._open, self._taken, self._done
        encoded: list[bytes] = []
        for o in outcomes:
            name = (o.run, o.no, o.index, o.epoch)
            try:
                e = encode(o)
            except (ValueError, TypeError, OverflowError) as error:
                e = self._failed(o, error)
            encoded.append(e)
            open_.pop(name, None)
            taken[name] = o.m
            done.append((o.m, name, e))
        self._try_append("o", [Raw(e) for e in encoded])
        return encoded

    def _failed(self, o: Outcome, error: Exception) -> bytes:
        # User code chose some of these texts and numbers: whatever it found, the others of this turn must go on.
        told = f"its outcome could not be written: {ascii(str(error))[:200]}"
        failed = replace(
            o, kind=OutcomeKind.failed, exit_status="error", exit_code=None, result=None, result_digest="",
            result_size=0, result_lines=False, result_count=-1, retry_after=None, error=None, error_types=(),
            reason=told, artifacts=(), progress=b"",
        )  # fmt: skip
        return self._encoder.encode(failed)

    def acknowledged(self, m: int) -> None:
        """Outcomes up to ``m`` are control's; they need not be offered again."""
        done, taken = self._done, self._taken
        # A queue, no dictionary: to find the first key of one that shrinks at its head takes time in its past size.
        while done and done[0][0] <= m:
            known, name, _ = done.popleft()
            if taken.get(name) == known:
                del taken[name]
        if not done and not self._open and self._file is not None and self._file.size > _REST:
            self._try(self._rewrite)  # nothing of it matters any more
        else:
            self._try_append("k", m)

    def has_done(self, taken: Taken) -> bool:
        """Whether this attempt is over and its outcome not acknowledged."""
        return taken in self._taken

    def done_names(self) -> list[Taken]:
        """All of those."""
        return list(self._taken)

    def fenced(self, taken: Taken) -> None:
        """The attempt is nobody's business any more: it ends without an outcome."""
        if self._open.pop(taken, None) is not None:
            self._try_append("f", taken)

    def close(self) -> None:
        """Free the handle."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _try_append(self, kind: str, payload: Any) -> None:
        self._try(partial(self._append, kind, payload))

    def _try(self, write: Callable[[], None]) -> None:
        try:
            write()
            self.trouble = ""
        except OSError as e:
            self.trouble = str(e)

    def _append(self, kind: str, payload: Any) -> None:
        if self._file is None:
            raise OSError("the journal is closed")
        self._file.append(_frame(self._encoder.encode((kind, payload))))
        if self._file.size > self._rotate_at + 4 * self._fresh_size:
            self._rewrite()

    def _rewrite(self) -> None:
        self._disk.remove(_NEXT)
        fresh = self._disk.append_to(_NEXT)
        try:
            if self._open:
                fresh.append(_frame(self._encoder.encode(("a", list(self._open.values())))))
            if self._done:
                fresh.append(_frame(self._encoder.encode(("o", [Raw(e) for _, _, e in self._done]))))
            self._disk.replace(_NAME, _NEXT)
        except OSError:
            fresh.close()
            raise
        self.close()
        self._file = fresh
        self._fresh_size = fresh.size


def _taken(o: Outcome) -> Taken:
    return (o.run, o.no, o.index, o.epoch)


def _frame(payload: bytes) -> bytes:
    return _FRAME.pack(len(payload), zlib.crc32(payload)) + payload


def _frames(data: bytes) -> Iterator[tuple[str, Any]]:
    """Whole frames from the start; ends at the first torn or damaged one."""
    at = 0
    while at + _FRAME.size <= len(data):
        size, crc = _FRAME.unpack_from(data, at)
        payload = data[at + _FRAME.size : at + _FRAME.size + size]
        if len(payload) != size or zlib.crc32(payload) != crc:
            return
        kind, value = msgspec.msgpack.decode(payload, type=tuple[str, Any])
        yield kind, value
        at += _FRAME.size + size
