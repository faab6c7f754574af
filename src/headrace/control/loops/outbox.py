"""Deliver what a commit left in the outbox: between parents and children, again and again until it was heard.

A message becomes a change of the run that it is for; its row goes in the commit of that change, so that it is applied
once whatever crashes, and on several nodes by one of them. Messages about one task keep their order. It decides
nothing. One per node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol

import msgspec

from headrace.control.changes.named import NamedChange
from headrace.control.changes.told import Told
from headrace.control.family import Family
from headrace.control.loops.loop import Loop
from headrace.model.changes import Change, Origin, Submit
from headrace.model.errors import HeadraceError
from headrace.model.ids import TaskKey
from headrace.model.messages import CHILD, AnyMessage
from headrace.model.ports import Clock, Fault
from headrace.store.images import decode_message
from headrace.store.port import Reader
from headrace.store.rows import Outgoing

PAGE = 200
"""Messages that one pass reads and delivers together."""

FAMILY = Origin("system", "outbox")

log = logging.getLogger("headrace.control")


class Receives(Protocol):
    """The part of the ledger that this loop needs."""

    async def receive(self, changes: Sequence[Change], seqs: Sequence[int], origin: Origin) -> Sequence[object]: ...

    async def change(self, named: NamedChange, origin: Origin) -> object: ...


class OutboxLoop(Loop):
    """Woken by each commit that told something, and at the start."""

    def __init__(self, reader: Reader, ledger: Receives, family: Family, *, clock: Clock, fault: Fault) -> None:
        super().__init__()
        self._reader = reader
        self._ledger = ledger
        self._family = family
        self._clock = clock
        self._fault = fault
        self._odd: set[int] = set()

    async def run_once(self) -> None:
        """Deliver everything that is there, a page at a time; what another node has in hand is left to it."""
        before: list[int] = []
        while rows := await self._reader.outbox(CHILD, self._clock.now(), PAGE):
            seqs = [row.seq for row in rows]
            if seqs == before:
                return
            before = seqs
            await self._deliver(rows)

    async def _deliver(self, rows: Sequence[Outgoing]) -> None:
        """The first message of each task; the others follow when that one has been heard."""
        firsts: dict[TaskKey, tuple[int, AnyMessage]] = {}
        for row in rows:
            message = self._read(row)
            if message is not None:
                firsts.setdefault((message.run, message.no, message.index), (row.seq, message))
        changes: list[Change] = []
        told: list[tuple[int, AnyMessage]] = []
        nobody: list[int] = []
        asked = await asyncio.gather(*(self._family.change(message) for _, message in firsts.values()))
        for (seq, message), change in zip(firsts.values(), asked, strict=True):
            if change is None:
                nobody.append(seq)
            else:
                changes.append(change)
                told.append((seq, message))
        if nobody:
            await self._ledger.change(Told(tuple(nobody)), FAMILY)
        self._fault("outbox.before_ask")
        answers = await self._ledger.receive(changes, [seq for seq, _ in told], FAMILY)
        self._fault("outbox.after_ask")
        await self._not_made(changes, told, answers)

    def _read(self, row: Outgoing) -> AnyMessage | None:
        """The message of a row; one that nobody here understands waits for a node that does, and holds up no other."""
        try:
            message: AnyMessage = decode_message(row.body)
        except msgspec.MsgspecError as error:
            if row.seq not in self._odd:
                self._odd.add(row.seq)
                log.error("message %d about run %s is not understood: %s", row.seq, row.subject, error)
            return None
        return message

    async def _not_made(
        self, changes: Sequence[Change], told: Sequence[tuple[int, AnyMessage]], answers: Sequence[object]
    ) -> None:
        """A child that the ledger refused: its parent's attempt has failed."""
        failed: list[Change] = []
        seqs: list[int] = []
        for change, (seq, message), answer in zip(changes, told, answers, strict=True):
            if isinstance(answer, HeadraceError):
                log.info("a message of run %d was refused: %s", message.run, answer)
                if isinstance(change, Submit):
                    failed.append(self._family.not_made(message, answer))
                    seqs.append(seq)
        await self._ledger.receive(failed, seqs, FAMILY)
