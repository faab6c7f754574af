"""What stands in for the store, the ledger and the clock in tests of single loops: lists, and what was asked."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec

from headrace.control.changes.result import Result
from headrace.control.placement import Linked, Placement
from headrace.core.graph import Placement as Class
from headrace.model.changes import Change, Claim, Origin, Wake
from headrace.model.limits import Limit, LimitKey
from headrace.store.rows import DueRow, Entity, ReadyRow

ANY, LABELED, WAIT = 1, 2, 3


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1e6


class Rows:
    """A reader over lists; claimed rows disappear as they do in the store."""

    def __init__(self, rows: list[ReadyRow], due: list[DueRow] | None = None) -> None:
        self.rows = rows
        self.dues = due or []
        self.reads: list[int] = []
        self.learned = 0
        self.limits: dict[str, Limit] = {}
        self.pages: list[int] = []
        self.classes = {ANY: Class("command"), LABELED: Class("command", (("gpu", "yes"),)), WAIT: Class("wait")}

    async def ready(self, klass: int, limit: int) -> list[ReadyRow]:
        self.reads.append(klass)
        self.pages.append(limit)
        return sorted((r for r in self.rows if r.klass == klass), key=lambda r: r.rank)[:limit]

    async def entity(self, key: tuple[str, str]) -> Entity:
        return Entity(*key, 1, 0, 0, msgspec.msgpack.encode(self.limits[key[1]]))

    async def uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        return dict.fromkeys(keys, (0, 0, 0))

    async def ready_classes(self) -> list[tuple[int, bytes]]:
        self.learned += 1
        return [(k, msgspec.msgpack.encode(c)) for k, c in self.classes.items() if any(r.klass == k for r in self.rows)]

    async def due(self, until: int, limit: int) -> list[DueRow]:
        return sorted((d for d in self.dues if d.due_at <= until), key=lambda d: d.due_at)[:limit]


class Asked:
    """A ledger that writes down what it was asked, and lets a test play what a commit does."""

    def __init__(self, rows: Rows, placement: Placement | None = None) -> None:
        self.rows = rows
        self.placement = placement
        self.asked: list[Change] = []

    async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
        self.asked.extend(changes)
        for c in changes:
            if isinstance(c, Claim) and self.placement is not None:
                self.rows.rows = [r for r in self.rows.rows if r.run != c.run]
                self.placement.took(1, (c.run, c.no, c.index, 1), ANY)
            if isinstance(c, Wake):
                self.rows.dues = [d for d in self.rows.dues if d.run != c.run]
        return [Result(moved=True)] * len(changes)


def room(slots: int) -> Placement:
    placement = Placement()
    placement.link(Linked(agent=1, name="a", boot=1, boot_id="b", link_epoch=1, slots=slots))
    return placement


def ready(run: int, rank: int, klass: int = ANY) -> ReadyRow:
    return ReadyRow(run, 0, -1, klass, rank)
