"""Bring spooled logs of finished attempts from one linked agent into the store, then let the agent drop them.

Small logs travel in the outcome's seal and never come here. What was not fetched when control or the link ended is
found again: the agent names the logs it still has when a link begins. A log that is gone is marked as cut, with the
reason. Log trouble never changes a run's state. One per link session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Protocol

import msgspec

from headrace.control.changes.logs import KeepSegments
from headrace.control.loops.loop import Backoff, Loop
from headrace.link.port import AgentCalls
from headrace.link.records import AttemptName, LogRecord, Outcome, Seal
from headrace.model.cells import TaskCell
from headrace.model.changes import SYSTEM, Origin
from headrace.model.errors import Busy, LinkError, NotFound
from headrace.model.ports import Clock, Fault
from headrace.store.port import Blobs, Reader
from headrace.store.rows import LogSegment

PAGE = 4_096
"""Records asked for at once; the agent bounds an answer at about 1 MiB."""

INLINE_MAX = 65_536
"""Larger segments are kept as blobs."""

NO_REST = "the agent no longer has the rest"

_ENCODER = msgspec.msgpack.Encoder()


class KeepsLogs(Protocol):
    """The part of the ledger that writes segments; returns when they are committed."""

    async def change(self, named: KeepSegments, origin: Origin) -> object:
        """Commit it."""


class LogKeeper(Loop):
    """The log loop of one link: one log after the other, in order of their ends."""

    def __init__(
        self, calls: AgentCalls, ledger: KeepsLogs, reader: Reader, blobs: Blobs, *, clock: Clock, fault: Fault
    ) -> None:
        super().__init__()
        self._calls = calls
        self._ledger = ledger
        self._reader = reader
        self._blobs = blobs
        self._clock = clock
        self._fault = fault
        self._queue: deque[AttemptName] = deque()
        self._backoff = Backoff()

    def ended(self, outcomes: Iterable[Outcome]) -> None:
        """These were applied; those whose log is in the agent's spool are fetched."""
        for o in outcomes:
            seal = o.seal
            if seal is not None and seal.last and not seal.inline:
                self._queue.append(AttemptName(o.run, o.no, o.index, o.epoch))
        if self._queue:
            self.wake()

    def found(self, names: Iterable[AttemptName]) -> None:
        """The agent still has these when the link begins."""
        self._queue.extend(names)
        if self._queue:
            self.wake()

    async def run_once(self) -> None:
        """Fetch all that wait."""
        while self._queue:
            name = self._queue[0]
            try:
                await self._keep(name)
            except (LinkError, Busy):
                await self._backoff.wait()
                continue
            self._backoff.reset()
            self._queue.popleft()

    async def _keep(self, name: AttemptName) -> None:
        cell = await self._cell(name)
        if cell is not None:
            await self._fetch(name, cell)
        self._fault("logs.before_drop")
        await self._calls.drop_logs([name])

    async def _cell(self, name: AttemptName) -> TaskCell | None:
        """The image of this attempt: the task's own while it is the newest. None when the store knows none such."""
        key = (name.run, name.no, name.index)
        cell = await self._reader.task(key)
        if cell is None or cell.epoch == name.epoch:
            return cell
        return next((row.cell for row in await self._reader.attempts(key) if row.cell.epoch == name.epoch), None)

    async def _fetch(self, name: AttemptName, cell: TaskCell) -> None:
        attempt = cell.attempt
        kept = await self._reader.segments((name.run, name.no, name.index), attempt)
        after = max((segment.last for segment in kept), default=0)
        while True:
            try:
                page = await self._calls.logs(name, after, PAGE, 0)
            except NotFound:
                last = seal_of(cell).last
                if not after or after < last:
                    # as the last of the log: nothing that is behind it will come
                    await self._cut(name, attempt, max(after, last - 1))
                return
            if page.records:
                await self._store(name, attempt, page.records)
                after = page.records[-1].seq
            if page.sealed or not page.records:
                break
        seal = seal_of(cell)
        if seal.cut and after <= seal.last:
            await self._cut(name, attempt, seal.last, seal.cut)

    async def _cut(self, name: AttemptName, attempt: int, after: int, why: str = NO_REST) -> None:
        """There is not all of it: say so where the log ends."""
        text = f"the log is cut here: {why}\n".encode()
        record = LogRecord(after + 1, self._clock.now(), "system", text, level="warning")
        await self._store(name, attempt, [record])

    async def _store(self, name: AttemptName, attempt: int, records: list[LogRecord]) -> None:
        data: bytes | None = _ENCODER.encode(records)
        digest = ""
        if data is not None and len(data) > INLINE_MAX:
            digest, _ = await self._blobs.put(data)
            data = None
        self._fault("logs.before_store")
        segment = LogSegment(name.run, name.no, name.index, attempt, records[0].seq, records[-1].seq, data, digest)
        await self._ledger.change(KeepSegments((segment,)), SYSTEM)


def seal_of(cell: TaskCell) -> Seal:
    """How this attempt's log ended; an empty one when it was never sealed."""
    return msgspec.msgpack.decode(cell.seal, type=Seal) if cell.seal else Seal()
