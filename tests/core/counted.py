"""A mill with named limits and job gates: what is in use is counted over its cells, as a store would. For the tests here."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tests.core.mill import Change, Mill, Step, Working

from headrace.core.limits import holds_gate, waits_at_gate
from headrace.core.work import Freed, Gate, Parked
from headrace.model.limits import Limit, LimitKey
from headrace.model.states import TASK_LEASED


class Gates(dict[LimitKey, Gate]):
    """Every gate is loaded, also one where nobody is."""

    def get(self, key: LimitKey, default: Any = None) -> Any:
        return self.setdefault(key, Gate())


class Counted(Mill):
    """``limits`` by name; ``ticks`` of rates; ``parked`` and ``freed``: what the steps told about them."""

    def __init__(self, *given: Any, limits: dict[str, Limit] | None = None, **more: Any) -> None:
        super().__init__(*given, **more)
        self.limits = limits or {}
        self.keys: dict[str, str] = {}
        """What the process believes that limits count by."""
        self.ticks: dict[LimitKey, int] = {}
        self.parked: list[Parked] = []
        self.freed: list[Freed] = []

    def used(self) -> Counter[LimitKey]:
        found: Counter[LimitKey] = Counter()
        for cell in self.tasks.values():
            if cell.more is not None and cell.state in TASK_LEASED:
                for name, key, units in cell.more.takes:
                    found[name, key] += units
        return found

    def gates(self) -> Gates:
        gates = Gates()
        for run in sorted(self.runs.values(), key=lambda run: (run.more.rank if run.more else 0, run.run)):
            if run.more is not None and run.more.gate:
                gate = gates.get((run.more.gate, run.more.key))
                if holds_gate(run):
                    gate.holders[run.run] = None
                if waits_at_gate(run):
                    gate.waiting[run.run] = None
        return gates

    def _working(self) -> Working:
        working = super()._working()
        used = self.used()
        working.limits, working.ticks, working.gates = dict(self.limits), dict(self.ticks), self.gates()
        asked = {(name, key) for cell in self.tasks.values() if cell.more for name, key, _ in cell.more.takes}
        working.keys = dict(self.keys)
        working.uses = {of: used[of] for of in asked if of[0] in self.limits}
        return working

    def _write(self, change: Change, decided: Step) -> None:
        super()._write(change, decided)
        self.ticks.update(dict(decided.ticks))
        self.parked += [c for c in decided.commands if isinstance(c, Parked)]
        self.freed += [c for c in decided.commands if isinstance(c, Freed)]
