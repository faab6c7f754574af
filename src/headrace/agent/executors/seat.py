"""One runner, seen from the agent: its socket, the calls it holds in order, what it says about them.

Never decides which call goes where. Called by ``executors.python``.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import socket
from typing import Protocol

import msgspec

from headrace.agent.executors.left import is_short
from headrace.agent.executors.port import Ending, Place, Report
from headrace.link.records import Artifact, Assignment, AttemptName
from headrace.link.sharing import SHARED_MIN
from headrace.model.changes import OutcomeKind
from headrace.model.errors import HeadraceError, NotFound
from headrace.model.ports import Clock
from headrace.runner.memory import read_making, read_memory
from headrace.runner.protocol import (
    FROM_RUNNER,
    Ask,
    Call,
    Done,
    Frames,
    Log,
    Ok,
    Said,
    Started,
    Work,
    frame,
    kept_path,
)

CHUNK = 65_536
"""Above 128 KiB every read would ask the kernel for memory and give it back."""
LOOK_S = 0.5
"""How often a working runner is looked at: at most twice as long its word may be missing."""
SUCCEEDED = OutcomeKind.succeeded
KINDS = {"succeeded": SUCCEEDED, "failed": OutcomeKind.failed, "canceled": OutcomeKind.canceled}


class Owner(Protocol):
    """What a seat tells the executor."""

    def changed(self) -> None:
        """There may be room in it now."""

    def over(self, held: Held) -> None:
        """It is not held any more; its end is told, or soon will be."""

    def silent(self, held: Held) -> None:
        """It has been made for a while, and its runner could not say so."""

    def doomed(self, seat: Seat) -> None:
        """A call whose kill was ordered before it began has begun all the same."""


class Held(msgspec.Struct, eq=False):
    """One attempt that this executor has. ``asked``: to end; ``doomed``: its kill was ordered before it began."""

    id: int
    a: Assignment
    report: Report
    place: Place
    name: AttemptName
    seat: Seat | None = None
    made: bool = False
    asked: bool = False
    doomed: bool = False

    def call(self, params: bytes) -> Call:
        """What the runner is told. Raises OSError or HeadraceError when the attempt's folders cannot be made."""
        a = self.a
        work = outputs = inputs = ""
        if a.outputs or a.inputs:
            self.place.make()
            self.made = True
            work, outputs, inputs = self.place.work, self.place.outputs, self.place.inputs
        return Call(
            self.id, a.target, a.args, a.run, a.index, a.epoch, a.attempt, a.task, a.job, params, a.token, a.url,
            a.env, work, outputs, inputs,
        )  # fmt: skip


class Seat:
    """One runner process of one package."""

    def __init__(
        self, id: int, package: str, sock: socket.socket, memory: int, *, scratch: str, owner: Owner, clock: Clock
    ) -> None:
        self.id = id
        self.package = package
        self.scratch = scratch
        self.pid = 0
        self.calls: dict[int, Held] = {}
        self.killed = False
        self.closed = False
        self.code: int | None = None
        self._eof = False
        self._owner = owner
        self._clock = clock
        self._sock = sock
        self._params = b""
        """Those of the last call that was sent: large ones are not sent again."""
        self._memory = memory
        self._out = bytearray()
        self._frames = Frames(FROM_RUNNER)
        self._seen = 0
        self._look_due: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    @property
    def heard(self) -> bool:
        """Whether it ever said anything: one that never did may never be able to."""
        return self._frames.count > 0

    @property
    def current(self) -> int:
        """The call that is being made, or is next; 0 when there is none."""
        return next(iter(self.calls), 0)

    def give(self, batch: list[Held]) -> None:
        """One frame of calls; those whose folders cannot be made end here."""
        calls: list[Call] = []
        for held in batch:
            params = held.a.params
            known = len(params) >= SHARED_MIN and params == self._params
            try:
                calls.append(held.call(b"" if known else params))
            except (OSError, HeadraceError) as e:
                self._owner.over(held)
                # An input that is not here any more is sent again; it is not the task that failed.
                passing = is_short(e) or isinstance(e, NotFound)
                kind, status = (OutcomeKind.refused, None) if passing else (OutcomeKind.failed, "error")
                held.report.ended(Ending(kind, 0, self._clock.now(), status, reason=f"no working folder: {e}"))
                continue
            held.seat = self
            self._params = params
            self.calls[held.id] = held
        if calls:
            self._send(frame([Work(calls)]))
            if self._look_due is None:
                self._look_due = self._loop.call_later(LOOK_S, self._look)

    def ask(self, id: int) -> None:
        """Tell the runner which call is to end; the signal is the caller's."""
        self._send(frame([Ask(id)]))

    def gone(self, code: int) -> bool:
        """The process was reaped: read what is left. True when it was making a call, which is then the first."""
        self.code = code
        while not self._eof:
            if not self._read():
                break
        self._eof = True
        making, unsent = read_memory(self._memory, self._frames.count)
        for message in unsent:
            self._heed(message)
        if making in self.calls:
            self.calls = {making: self.calls.pop(making), **self.calls}
        return making in self.calls

    def close(self) -> None:
        """Hang up: an idle runner ends by itself."""
        if not self.closed:
            self.closed = True
            if self._look_due is not None:
                self._look_due.cancel()
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
            os.close(self._memory)
            shutil.rmtree(self.scratch, ignore_errors=True)

    def _look(self) -> None:
        """Code that holds the interpreter keeps its runner from saying that the call began: its memory says it too."""
        self._look_due = self._loop.call_later(LOOK_S, self._look) if self.calls else None
        making = read_making(self._memory)
        held = self.calls.get(making) if making == self._seen else None
        self._seen = making
        if held is not None:
            self._owner.silent(held)
            if held.doomed:
                self._owner.doomed(self)

    def _send(self, data: bytes) -> None:
        if self.closed:
            return
        if not self._out:
            with contextlib.suppress(OSError):
                data = data[self._sock.send(data) :]
        if data:
            self._out += data
            self._loop.add_writer(self._sock.fileno(), self._writable)

    def _writable(self) -> None:
        try:
            del self._out[: self._sock.send(self._out)]
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self._out.clear()
        if not self._out:
            self._loop.remove_writer(self._sock.fileno())

    def _readable(self) -> None:
        if not self._read():
            self._loop.remove_reader(self._sock.fileno())
        self._owner.changed()

    def _read(self) -> bool:
        """One read; False at the end of the stream."""
        try:
            data = self._sock.recv(CHUNK)
        except (BlockingIOError, InterruptedError):
            return self.code is None
        except OSError:
            data = b""
        if not data:
            self._eof = True
            return False
        try:
            messages = self._frames.feed(data)
        except ValueError:
            self._eof = True
            return False
        for message in messages:
            self._heed(message)
        return True

    def _heed(self, message: Started | Said | Log | Ok | Done) -> None:
        held = self.calls.get(message.id)
        if held is None:
            return
        if isinstance(message, Ok):
            del self.calls[held.id]
            self._owner.over(held)
            ending = Ending(SUCCEEDED, message.started_at, message.ended_at, "ok", result=message.result)
            if held.made:
                self._end(held, ending, files=False)
            else:
                held.report.ended(ending)
        elif isinstance(message, Log):
            held.report.log(message.stream, message.data, at=message.at, level=message.level, logger=message.logger)
        elif isinstance(message, Said):
            held.report.said(message.text)
        elif isinstance(message, Started):
            held.report.started(message.at)
            if held.doomed:
                self._owner.doomed(self)
        else:
            self._over(held)
            try:
                ending = self._ending(message)
            except OSError as e:
                # The messages behind this one are other calls'.
                why = f"its result could not be read: {e.strerror or e}"
                ending = Ending(OutcomeKind.failed, message.started_at, message.ended_at, "error", reason=why)
            self._end(held, ending, files=message.files)

    def _over(self, held: Held) -> None:
        del self.calls[held.id]
        self._owner.over(held)

    def _ending(self, d: Done) -> Ending:
        kind = KINDS[d.kind]
        result = d.result
        if d.result_path:
            with open(d.result_path, "rb") as f:
                result = f.read()
            with contextlib.suppress(OSError):
                os.unlink(d.result_path)
        status = d.exit_status or ("ok" if kind is SUCCEEDED else "error")
        return Ending(
            kind, d.started_at, d.ended_at, status, result=result, error=d.error, error_types=d.error_types,
            stop_retry=d.stop_retry, skip=d.skip, retry_after=d.retry_after, result_lines=d.result_lines,
            result_count=d.result_count, progress=d.progress,
        )  # fmt: skip

    def _end(self, held: Held, ending: Ending, *, files: bool) -> None:
        if not (files or held.made):
            held.report.ended(ending)
            return
        kept = kept_path(self.scratch, held.id) if files else ""
        task = self._loop.create_task(_harvest(held, ending, kept))
        task.add_done_callback(lambda t: t.exception())


async def _harvest(held: Held, ending: Ending, kept: str) -> None:
    """Collect the attempt's files in a thread, then tell its end."""

    def collect() -> tuple[Artifact, ...]:
        held.place.make()
        if kept:
            os.rmdir(held.place.outputs)
            os.rename(kept, held.place.outputs)
        return held.place.harvest(held.a.outputs)

    try:
        artifacts = await asyncio.get_running_loop().run_in_executor(None, collect)
    except (OSError, HeadraceError) as e:
        held.report.log(
            "system", f"the files could not be collected: {e}\n".encode(), at=ending.ended_at, level="ERROR"
        )
        held.report.ended(
            Ending(OutcomeKind.failed, ending.started_at, ending.ended_at, "error", reason=f"artifacts: {e}")
        )
        return
    held.report.ended(msgspec.structs.replace(ending, artifacts=artifacts))
