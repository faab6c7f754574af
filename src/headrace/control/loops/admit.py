"""Give runs their turn that wait because as many of their job as may be at once are there already.

Woken when one of those ends, when a run begins to wait, and by every look at everything; reads who waits, in order, and
asks ``Admit`` changes. Core decides; one that comes too early is harmless. One per node.
"""

from __future__ import annotations

from collections.abc import Iterable

from headrace.control.loops.dispatch import Asks
from headrace.control.loops.loop import Loop
from headrace.core.limits import holds_gate
from headrace.model.cells import RunCell
from headrace.model.changes import SYSTEM, Admit
from headrace.model.errors import Busy
from headrace.model.limits import GATE_PREFIX, LimitKey
from headrace.store.port import Reader

PAGE = 32
"""Runs that are asked for at once; the next page is read when one of these was let in."""


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
            gate = next(iter(self._gates))
            del self._gates[gate]
            while await self._let_in(gate):
                pass

    async def _let_in(self, gate: LimitKey) -> bool:
        """Ask for the first that wait; whether one of them was let in and more may wait."""
        rows = await self._reader.gate_waiting(gate, PAGE)
        if not rows:
            return False
        answers = await self._ledger.ask_many([Admit(run, *gate) for run, _ in rows], SYSTEM)
        cells = [cell for answer in answers if isinstance(cell := getattr(answer, "cell", None), RunCell)]
        return any(holds_gate(cell) for cell in cells)
