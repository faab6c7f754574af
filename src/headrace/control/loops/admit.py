"""Give runs their turn that wait because as many of their job as may be at once are there already.

Woken when one of those ends, when a run begins to wait, and by every look at everything; reads who waits, in order, and
asks ``Admit`` changes. Core decides; one that comes too early is harmless. One per node.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice

from headrace.control.loops.dispatch import Asks
from headrace.control.loops.loop import Loop
from headrace.core.limits import holds_gate, waits_at_gate
from headrace.model.cells import RunCell
from headrace.model.changes import SYSTEM, Admit
from headrace.model.errors import Busy
from headrace.model.limits import GATE_PREFIX, LimitKey
from headrace.store.port import Reader

GATES_MAX = 128
"""Gates that are looked at together."""

PAGE = 32
"""Runs that are asked for at once at one gate, at most: mostly one has left, and one may come in."""


class AdmitLoop(Loop):
    """Sleeps until something was given back at a gate, and lets the first in that wait there."""

    def __init__(self, reader: Reader, ledger: Asks) -> None:
        super().__init__()
        self._reader = reader
        self._ledger = ledger
        self._gates: dict[LimitKey, None] = {}
        self._all = False

    def freed(self, limits: Iterable[LimitKey]) -> None:
        """Somebody left these gates, or came to them; other limits are no matter here."""
        mine = [limit for limit in limits if limit[0].startswith(GATE_PREFIX)]
        if mine:
            self._gates.update(dict.fromkeys(mine))
            self.wake()

    def relearn(self) -> None:
        """Look at every gate at which somebody waits."""
        self._all = True
        self.wake()

    async def run_once(self) -> None:
        """Let in whoever may."""
        try:
            await self._look()
        except Busy:
            # Nobody knows what of it was done.
            self._all = True
            raise

    async def _look(self) -> None:
        if self._all:
            self._all = False
            self._gates.update(dict.fromkeys(await self._reader.gates_waiting()))
        while self._gates:
            # Taken out first: what is freed while this is being asked is told anew.
            gates = list(islice(self._gates, GATES_MAX))
            for gate in gates:
                del self._gates[gate]
            most = 1
            while gates:
                gates = await self._let_in(gates, most)
                most *= 2

    async def _let_in(self, gates: list[LimitKey], most: int) -> list[LimitKey]:
        """Ask for the first that wait at each of these, in one commit; the gates at which there may be room for more."""
        waiting = await self._reader.first_waiting(gates, min(most, PAGE))
        asked = [Admit(run, *gate) for gate, runs in waiting.items() for run in runs]
        answers = await self._ledger.ask_many(asked, SYSTEM)
        cells: dict[LimitKey, list[RunCell | None]] = {gate: [] for gate in waiting}
        for change, answer in zip(asked, answers, strict=True):
            cell = getattr(answer, "cell", None)
            cells[change.gate, change.key].append(cell if isinstance(cell, RunCell) else None)
        return [gate for gate, seen in cells.items() if _may_have_room(seen, again=most < PAGE)]


def _may_have_room(cells: list[RunCell | None], *, again: bool) -> bool:
    """Whether more than these, asked in order, may come in: not when the last one still waits.

    One that was refused, or has ended meanwhile, says nothing of the room: unless another was let in, more are asked only
    ``again``, so that this comes to an end.
    """
    last = cells[-1]
    if last is not None and waits_at_gate(last):
        return False
    return again or any(cell is not None and holds_gate(cell) for cell in cells)
