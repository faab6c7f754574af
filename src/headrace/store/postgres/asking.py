"""The questions of one transaction: what was said to be asked for travels together, the rest one by one.

BEGIN travels with the first. Never commits and never decides; keeps nothing beyond its transaction. Made by ``writer``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic, thread_time
from typing import Any

from psycopg.pq.abc import PGresult

from headrace.model.cells import TaskCell
from headrace.model.ids import TaskKey
from headrace.store.images import decode_task
from headrace.store.port import Ahead
from headrace.store.postgres.arrays import Bytes, Ints, Texts
from headrace.store.postgres.batch import Call
from headrace.store.postgres.connect import Row, translated
from headrace.store.postgres.wire import Wire

WAITING = "lock_runs_waiting"
"""The one question that has a patience of its own, set before it and taken back behind it."""


class Asking:
    """One transaction on the ledger's connection, from its first question to its end."""

    def __init__(self, wire: Wire, *, contended: bool) -> None:
        self.begun = False
        self.waited = 0.0
        self.floor = 0
        self.cells: dict[TaskKey, TaskCell | None] = {}
        """Task cells that were fetched ahead; None where there is no row."""
        self._wire = wire
        self._contended = contended
        self._ahead: Ahead | None = None
        self._fetched: dict[str, tuple[list[Any], list[Row]]] = {}

    def ahead(self, asked: Ahead) -> None:
        """What is named here is fetched with the first question."""
        self._ahead = asked

    async def rows(self, name: str, params: list[Any]) -> list[Row]:
        """The rows of one statement: fetched ahead if just this was said to be asked for, else in a round trip."""
        await self.look_ahead()
        fetched = self._fetched.pop(name, None)
        if fetched is not None and fetched[0] == params:
            return fetched[1]
        (rows,) = await self._together([Call(name, params)], f"cannot {name}")
        return rows

    async def look_ahead(self) -> None:
        """Fetch what was said to be asked for, in the order in which it will be: locks before what they guard."""
        ahead, self._ahead = self._ahead, None
        if ahead is None:
            return
        todo = list(_foreseen(ahead, contended=self._contended))
        for call, rows in zip(todo, await self._together(todo, "cannot load"), strict=True):
            if call.name == "load_tasks":
                self.cells.update(dict.fromkeys(ahead.tasks))
                self.cells.update((cell.key, cell) for cell in self.tasks_of(rows))
            else:
                self._fetched[call.name] = call.params, rows

    def held(self, ids: list[int]) -> Call:
        """The question which of these runs there are; as it was fetched ahead, if it was."""
        fetched = self._fetched.get("held_runs")
        return Call("held_runs", fetched[0] if fetched else [Ints(ids)])

    def forget(self, runs: set[int]) -> None:
        """These runs are not ours: what was fetched ahead of their tasks may be changed by who holds them."""
        for key in [key for key in self.cells if key[0] in runs]:
            del self.cells[key]

    def tasks_of(self, rows: Iterable[Row]) -> list[TaskCell]:
        """Cells from rows of (image, at)."""
        rows = list(rows)
        self.seen(row[1] for row in rows)
        return [decode_task(row[0]) for row in rows]

    def seen(self, instants: Iterable[int]) -> None:
        """Nothing may be written at an earlier instant than what was loaded."""
        self.floor = max(self.floor, max(instants, default=0))

    def send(self, call: Call) -> None:
        """One more statement, whose answer comes with the next ``answers``."""
        if not self.begun:
            self.begun = True
            self._wire.send("begin")
        self._wire.send(call.name, call.params)

    async def answers(self, doing: str) -> list[PGresult]:
        """One round trip. Raises what refused it, in our words."""
        with translated(doing), self._waiting():
            return await self._wire.answers()

    async def _together(self, todo: Sequence[Call], doing: str) -> list[list[Row]]:
        if not todo:
            return []
        places = []
        place = 0 if self.begun else 1
        with translated(doing):
            for call in todo:
                patient = call.name == WAITING
                if patient:
                    self.send(Call("lock_patience", []))
                self.send(call)
                if patient:
                    self.send(Call("lock_patience_over", []))
                places.append(place + patient)
                place += 3 if patient else 1
        results = await self.answers(doing)
        return [self._wire.rows(results[at]) for at in places]

    @contextmanager
    def _waiting(self) -> Iterator[None]:
        """What passes here and is not this thread's own work was waiting."""
        began, worked = monotonic(), thread_time()
        try:
            yield
        finally:
            self.waited += (monotonic() - began) - (thread_time() - worked)


def columns(keys: Iterable[TaskKey]) -> list[Any]:
    """Task keys as three columns."""
    return [Ints(column) for column in zip(*keys, strict=True)]


def pairs(keys: Sequence[tuple[str, str]]) -> list[Any]:
    """Pairs of texts as two columns."""
    return [Texts(first for first, _ in keys), Texts(second for _, second in keys)]


def _foreseen(ahead: Ahead, *, contended: bool) -> Iterator[Call]:
    if ahead.entities:
        yield Call("lock_entities", pairs(ahead.entities))
    if ahead.documents:
        yield Call("load_documents", [Bytes(ahead.documents)])
    if ahead.answers:
        yield Call("load_answers", pairs(ahead.answers))
    if ahead.outbox:
        yield Call("lock_outbox", [Ints(sorted(ahead.outbox))])
    if ahead.runs:
        ids = Ints(sorted(ahead.runs))
        yield Call(WAITING if ahead.wait else "lock_runs", [ids])
        if contended and not ahead.wait:
            yield Call("held_runs", [ids])
    if ahead.tasks:
        yield Call("load_tasks", columns(ahead.tasks))
