"""Who is let in at the gates of jobs, against scripted runs: all freed gates together, and nobody in another's way."""

from __future__ import annotations

from collections.abc import Sequence

from scripted import run

from headrace.control.changes.result import Result
from headrace.control.loops.admit import GATES_MAX, PAGE, AdmitLoop
from headrace.model.cells import RunCell, RunMore
from headrace.model.changes import Admit, Change, Origin
from headrace.model.errors import Conflict
from headrace.model.limits import LimitKey
from headrace.model.states import RunState


class Gates:
    """Store and ledger of runs that wait: a place for ``most`` at each gate."""

    def __init__(self, waiting: dict[LimitKey, list[int]], most: int = 1) -> None:
        self.waiting = waiting
        self.most = most
        self.inside: dict[LimitKey, list[int]] = {}
        self.broken: set[int] = set()
        """Admitting these raises, whatever happens."""
        self.paused: set[int] = set()
        """These stand in the list but do not wait."""
        self.asks: list[list[Admit]] = []

    async def first_waiting(self, gates: Sequence[LimitKey], limit: int) -> dict[LimitKey, list[int]]:
        return {gate: runs[:limit] for gate in gates if (runs := self.waiting.get(gate))}

    async def gates_waiting(self) -> list[LimitKey]:
        return [gate for gate, runs in self.waiting.items() if runs]

    async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
        admits = [change for change in changes if isinstance(change, Admit)]
        self.asks.append(admits)
        assert len(self.asks) < 1000, "this does not come to an end"
        return [self._admit(change) for change in admits]

    def _admit(self, change: Admit) -> object:
        gate = change.gate, change.key
        if change.run in self.broken:
            return Conflict("not now")
        inside = self.inside.setdefault(gate, [])
        come = change.run not in self.paused and len(inside) < self.most
        if come:
            inside.append(change.run)
            self.waiting[gate].remove(change.run)
        more = RunMore(gate=gate[0], key=gate[1], waiting=not come)
        state = RunState.paused if change.run in self.paused else RunState.queued
        return Result(change.run, RunCell(change.run, 1, state=state, more=more), come)


def admitted(gates: Gates, freed: Sequence[LimitKey]) -> None:
    async def work() -> None:
        loop = AdmitLoop(gates, gates)  # type: ignore[arg-type]  # reason: the part of a reader that it uses
        loop.freed(freed)
        await loop.run_once()

    run(work())


def keys(count: int) -> list[LimitKey]:
    return [("job:j", str(n)) for n in range(count)]


def test_all_gates_that_were_freed_are_asked_about_together() -> None:
    gates = Gates({gate: [100 * no + 1, 100 * no + 2] for no, gate in enumerate(keys(GATES_MAX), 1)})
    admitted(gates, keys(GATES_MAX))
    # One change for each, and one more that finds the gate full.
    assert [len(ask) for ask in gates.asks] == [GATES_MAX, GATES_MAX]
    assert gates.inside == {gate: [100 * no + 1] for no, gate in enumerate(keys(GATES_MAX), 1)}


def test_all_places_of_a_gate_are_filled_in_order() -> None:
    gate = ("job:j", "")
    gates = Gates({gate: list(range(1, 201))}, most=150)
    admitted(gates, [gate])
    assert gates.inside[gate] == list(range(1, 151))
    assert max(len(ask) for ask in gates.asks) == PAGE


def test_one_that_cannot_be_let_in_is_not_in_the_way_of_those_behind() -> None:
    for how in ("broken", "paused"):
        gate = ("job:j", "")
        gates = Gates({gate: [1, 2, 3, 4]})
        getattr(gates, how).update({1, 2})
        admitted(gates, [gate])
        assert gates.inside[gate] == [3], how


def test_where_nobody_can_be_let_in_it_comes_to_an_end() -> None:
    for how in ("broken", "paused"):
        gate = ("job:j", "")
        gates = Gates({gate: list(range(100))})
        getattr(gates, how).update(range(100))
        admitted(gates, [gate])
        assert gates.inside.get(gate, []) == []
        assert len(gates.asks[-1]) == PAGE


def test_limits_that_are_no_gates_are_no_matter_here() -> None:
    gates = Gates({("crm", ""): [1]})
    admitted(gates, [("crm", "")])
    assert gates.asks == []
