"""One attempt while the agent holds it: what it was given, where it stands, and the ``Report`` of its executor.

Decides nothing about other attempts. Called by executors (as ``Report``) and by ``agent.attempts``.
"""

from __future__ import annotations

import asyncio
import math
from enum import IntEnum
from typing import Any, Protocol

import msgspec
from msgspec import Struct

from headrace.agent.executors.port import Ending, Executor, Place
from headrace.agent.mask import Mask
from headrace.agent.spool import AttemptLog, Spool
from headrace.link.records import Assignment, AttemptName, StartedNote
from headrace.model.changes import OutcomeKind

SAID_MAX = 16_384
"""Bytes of what the work says of itself at a time; longer ones are read over."""


class Phase(IntEnum):
    """How far an attempt has come on this agent."""

    queued = 0
    given = 1
    """An executor has it."""
    running = 2
    over = 3


class Owner(Protocol):
    """Who holds the attempts, as one of them sees it."""

    spool: Spool

    def began(self, work: Work) -> None:
        """Its process, or its call, runs."""

    def said(self, work: Work) -> None:
        """It has said something of itself."""

    def ended(self, work: Work, end: Ending) -> None:
        """It is over; what it printed is in the spool."""


QUEUED, GIVEN, RUNNING, OVER = Phase.queued, Phase.given, Phase.running, Phase.over
"""To look a member up in its enum takes as long as to make a small record."""


class Work(Struct, eq=False):
    """One attempt. Implements ``Report``. A record, because one with so many fields is made in a third of the time."""

    owner: Owner
    a: Assignment
    executor: Executor
    name: AttemptName
    phase: Phase = QUEUED
    asked: OutcomeKind | None = None
    reason: str | None = None
    fenced: bool = False
    kill_at: float = math.inf
    """Loop time at which the ladder kills; a repeated stop may only bring it nearer."""
    started_at: int = 0
    timer: asyncio.TimerHandle | None = None
    log_: AttemptLog | None = None
    mask: Mask | None = None
    place: Place | None = None
    said_: dict[str, Any] | None = None
    """What the work has said of itself: its phase, how far it is."""

    @property
    def over(self) -> bool:
        """Nothing more will happen to it."""
        return self.phase is OVER

    def note(self) -> StartedNote:
        """What the feed says about it while it runs."""
        a = self.a
        return StartedNote(a.run, a.no, a.index, a.epoch, a.graph, self.started_at, self.told())

    def told(self) -> bytes:
        """What the work has said, as JSON text; empty when it has said nothing."""
        return b"" if self.said_ is None else msgspec.json.encode(self.said_)

    def said(self, text: bytes) -> None:
        """See ``Report``."""
        if self.phase is OVER or len(text) > SAID_MAX:
            return
        try:
            said = msgspec.json.decode(text, type=dict[str, Any])
        except msgspec.MsgspecError:
            return
        if "done" in said:
            said = {"done": said["done"], "total": said.get("total"), "note": said.get("message")}
        self.said_ = {**(self.said_ or {}), **said}
        if self.phase is RUNNING:
            self.owner.said(self)

    def started(self, at: int) -> None:
        """See ``Report``."""
        if self.phase is not GIVEN:
            return
        self.phase = RUNNING
        self.started_at = at
        self.owner.began(self)

    def log(
        self,
        stream: str,
        data: bytes,
        *,
        at: int,
        level: str = "",
        logger: str = "",
        fields: dict[str, Any] | None = None,
    ) -> None:
        """See ``Report``."""
        if self.phase is OVER:
            return
        if self.log_ is None:
            self.log_ = self.owner.spool.open(self.name, self.a.log_max)
            self.mask = Mask(self.a.token.encode()) if self.a.token else None
        if self.mask is not None and data and not (data := self.mask.take(stream, data)):
            return
        self.log_.add(stream, data, at, level, logger, fields)

    def ended(self, end: Ending) -> None:
        """See ``Report``."""
        if self.phase is not OVER:
            if self.mask is not None and self.log_ is not None:
                for stream, data in self.mask.rest().items():
                    self.log_.add(stream, data, end.ended_at, "", "", None)
            self.owner.ended(self, end)
