"""What a group of changes needs from the store, by key: cells, inputs, values, pages; each key is asked for once.

Decides nothing. What the group itself has decided lies over what is loaded and is never overwritten. Called by
``control.group`` only.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headrace.control.changes.limits import read_limit
from headrace.control.changes.named import Rows
from headrace.control.graphs import Graphs, Known
from headrace.control.lists import ListKey, Lists
from headrace.core.gates import gate_of
from headrace.core.limits import tick_under
from headrace.core.nodes import Graph
from headrace.core.work import Cached, Gate, Keys, Working
from headrace.model.cells import RunCell, RunInput, TaskCell, Value
from headrace.model.changes import Admit, Change, Claim, Lose, Settle, Started, Submit, Wake
from headrace.model.errors import Invalid, NotFound
from headrace.model.ids import RUN_ITSELF, WHOLE, TaskKey
from headrace.model.limits import GATE, GATE_PREFIX, LIMIT, LimitKey
from headrace.model.states import TaskState
from headrace.store.port import Writer
from headrace.store.rows import Entity, EntityKey

GROUP_PAGE = 2_000
LARGE = 4096
"""Parameters whose text has so many bytes stay decoded from one group of changes to the next."""


class Loader:
    """The working set of one group, and what of it was asked for."""

    def __init__(self, writer: Writer, graphs: Graphs, lists: Lists, working: Working) -> None:
        self.working = working
        self.graphs: dict[int, Known] = {}
        self.new_tasks: set[TaskKey] = set()
        self.new_runs: set[int] = set()
        self.held: set[int] = set()
        self._writer = writer
        self._kept = graphs
        self._lists = lists
        self._asked: set[TaskKey] = set()
        self._asked_runs: set[int] = set()
        self._limits: dict[EntityKey, Entity | None] = {}

    async def limits(self, changes: Sequence[Change], rows: Rows, *, wait: bool) -> None:
        """Lock and load the limits and gates that these changes ask, before any run: then nobody waits in a circle."""
        asked = await self._asked_limits(changes)
        wanted = {key for _, keys, _ in asked for key in keys} - self._limits.keys()
        if wanted:
            found, held = await self._writer.lock_limits(sorted(wanted - rows.entities.keys()), wait=wait)
            rows.entities.update(found)
            for key in wanted - held:
                self._limits[key] = entity = rows.entities.get(key)
                if entity is not None and entity.kind == LIMIT:
                    self.know(entity)
            self.held |= {change.run for change, keys, _ in asked if not held.isdisjoint(keys)}
        gates = {gate for change, _, gate in asked if gate is not None and change.run not in self.held}
        missing = sorted(gates - self.working.gates.keys())
        if missing:
            for key, (holders, waiting) in (await self._writer.load_gates(missing)).items():
                self.working.gates[key] = Gate(dict.fromkeys(holders), dict.fromkeys(waiting))

    async def _asked_limits(
        self, changes: Sequence[Change]
    ) -> list[tuple[Change, tuple[EntityKey, ...], LimitKey | None]]:
        """What each change asks: the rows to lock, and the gate that its run comes to."""
        gated = await self._gated({change.input.graph for change in changes if type(change) is Submit})
        found: list[tuple[Change, tuple[EntityKey, ...], LimitKey | None]] = []
        for change in changes:
            kind = type(change)
            if kind is Claim and change.limits:  # type: ignore[union-attr]  # reason: the line says which it is
                found.append((change, tuple([(LIMIT, name) for name in change.limits]), None))  # type: ignore[union-attr]  # reason: likewise
            elif kind is Admit:
                found.append((change, _row_of(change.gate), (change.gate, change.key)))  # type: ignore[union-attr]  # reason: likewise
            elif gated and kind is Submit and (graph := gated.get(change.input.graph)) is not None:  # type: ignore[union-attr]  # reason: likewise
                gate = _gate_of(graph, change.input)  # type: ignore[union-attr]  # reason: likewise
                if gate is not None:
                    found.append((change, _row_of(gate[0]), gate))
        return found

    async def _gated(self, graphs: set[int]) -> dict[int, Graph]:
        """Those of these definitions that say how many runs there may be at once."""
        found = {}
        for number in graphs:
            with suppress(NotFound):
                known = self.graphs.get(number)
                if known is None:
                    known = self.graphs[number] = await self._kept.load(number)
                if known.graph.gate is not None:
                    found[number] = known.graph
        return found

    def know(self, entity: Entity) -> None:
        """A limit as it is in force from here on."""
        if entity.deleted_at:
            self.working.limits.pop(entity.name, None)
            self.working.keys.pop(entity.name, None)
        else:
            before, limit = self.working.limits.get(entity.name), read_limit(entity.image)
            self.working.limits[entity.name] = limit
            self.working.keys[entity.name] = limit.key
            if before is not None and before.since != limit.since:
                for of, tick in self.working.ticks.items():
                    if of[0] == entity.name:
                        self.working.ticks[of] = tick_under(limit, tick, 0)

    async def uses(self, changes: Sequence[Change]) -> None:
        """What is in use of the limits that these claims take from."""
        if not self._limits:
            return
        uses, wanted = self.working.uses, set()
        for change in changes:
            if type(change) is Claim and change.limits:
                cell = self.working.tasks.get((change.run, change.no, change.index))
                takes = () if cell is None or cell.more is None else cell.more.takes
                wanted |= {(n, k) for n, k, _ in takes if (n, k) not in uses and (LIMIT, n) in self._limits}
        if wanted:
            for key, (used, tick, at) in (await self._writer.load_uses(sorted(wanted))).items():
                limit = self.working.limits.get(key[0])
                uses[key] = used
                self.working.ticks[key] = tick if limit is None else tick_under(limit, tick, at)

    def named(self, changes: Sequence[Change], *, wait: bool) -> tuple[list[int], list[TaskKey]]:
        """Runs and tasks that these changes name and that are not here: what is sure to be asked for.

        None where limits may have to be waited for: that is done before any run is locked.
        """
        if wait and any(isinstance(change, Submit | Claim | Admit) for change in changes):
            return [], []
        runs: set[int] = set()
        tasks: dict[TaskKey, None] = {}
        here, asked = self.working.tasks, self._asked
        for change in changes:
            if isinstance(change, Submit):
                continue
            runs.add(change.run)
            if isinstance(change, Settle | Started | Claim | Lose | Wake) and change.no != RUN_ITSELF:
                key = (change.run, change.no, change.index)
                if key not in here and key not in asked:
                    tasks[key] = None
        return sorted(runs - self._asked_runs), list(tasks)

    async def runs(self, changes: Sequence[Change], *, wait: bool) -> None:
        """Lock and load the runs that these changes name; ``held`` are those that another node has.

        A new run has a number that nobody was ever given: there is nothing to load, and its key would say if there was.
        """
        wanted = {change.run for change in changes if type(change) is not Submit} - self._asked_runs
        if wanted:
            found, held = await self._writer.lock_runs(sorted(wanted), wait=wait)
            self.working.runs.update(found)
            self.held |= held
            self._asked_runs |= wanted - held

    async def known(self, change: Change) -> Known | None:
        """The graph of a change's run; None when there is no such run."""
        if isinstance(change, Submit):
            graph = change.input.graph
        else:
            run = self.working.runs.get(change.run)
            if run is None:
                return None
            graph = run.graph
        known = self.graphs.get(graph)
        if known is None:
            known = self.graphs[graph] = await self._kept.load(graph)
        return known

    async def keys(self, wanted: Sequence[tuple[RunCell | None, Keys]]) -> None:
        """Load what these name and is not here."""
        tasks: list[TaskKey] = []
        inputs: list[int] = []
        special = False
        here, asked = self.working.tasks, self._asked
        for run, keys in wanted:
            for key in keys.tasks:
                if key not in here and key not in asked:
                    asked.add(key)
                    tasks.append(key)
            if keys.input and run is not None and run.run not in self.working.inputs:
                inputs.append(run.run)
            special = (
                special
                or keys.members
                or bool(keys.values)
                or bool(keys.gather)
                or keys.items is not None
                or bool(keys.cached)
            )
        if tasks:
            for cell in await self._writer.load_tasks(tasks):
                here[cell.run, cell.no, cell.index] = cell
        if inputs:
            for given in await self._writer.load_inputs(sorted(set(inputs))):
                self.working.inputs[given.run] = given
                if len(given.params) >= LARGE:
                    self.working.params[given.run] = self._params(given)
        if special:
            await self._special(wanted)

    def _params(self, given: RunInput) -> Any:
        """Decoded once, not for every group of changes of a long run."""
        kept = _place_of_params(given.run)
        found = self._lists.get(kept)
        if found is None:
            found = msgspec.json.decode(given.params)
            self._lists.put(kept, found, len(given.params))
        return found

    def over(self, run: int) -> None:
        """The run has ended: nobody reads its parameters again."""
        if self._lists.size:
            self.working.params.pop(run, None)
            self._lists.drop(_place_of_params(run))

    async def _special(self, wanted: Sequence[tuple[RunCell | None, Keys]]) -> None:
        await self._values([key for _, keys in wanted for key in keys.values])
        await self._cached([key for _, keys in wanted for key in keys.cached])
        for run, keys in wanted:
            for group in keys.gather:
                self.working.values[group] = await self._gathered(group)
            if keys.items is not None:
                await self._items(*keys.items)
            if keys.members and run is not None:
                await self._members(run.run, keys.members_after, keys.members_max)

    async def _cached(self, keys: Sequence[TaskKey]) -> None:
        """Whether the work of these tasks was done before."""
        cells = [cell for key in keys if (cell := self.working.tasks.get(key)) is not None and cell.more is not None]
        works = sorted(
            {c.more.cache for c in cells if c.more is not None and c.more.cache} - self.working.cached.keys()
        )
        if works:
            for work, (at, cell, value) in (await self._writer.load_cached(works)).items():
                self.working.cached[work] = Cached(cell.key, at, cell, value)

    async def _values(self, keys: Sequence[TaskKey]) -> None:
        """Results that stand aside; those in cells are at hand already."""
        missing = []
        for key in dict.fromkeys(keys):
            cell = self.working.tasks.get(key)
            if key in self.working.values or (cell is not None and (cell.result is None or cell.result.data)):
                continue
            missing.append(key)
        if missing:
            self.working.values.update(await self._writer.load_values(missing))

    async def _members(self, run: int, after: tuple[int, int], most: int) -> None:
        page = await self._writer.load_members(run, after, most)
        keys = [self._overlaid(cell).key for cell in page]
        last = keys[-1] if len(page) == most else (run, 2**62, 0)
        new = [key for key in self.new_tasks if key[0] == run and (run, *after) < key <= last]
        self.working.members[run] = sorted({*keys, *new})[:most]

    async def _gathered(self, group: TaskKey) -> list[Any]:
        """Results of a group's instances in item order; None where there is none."""
        run, no, _ = group
        cells: dict[int, TaskCell] = {}
        after = WHOLE
        while True:
            page = await self._writer.load_group(run, no, after, GROUP_PAGE)
            cells.update((cell.index, self._overlaid(cell)) for cell in page)
            if len(page) < GROUP_PAGE:
                break
            after = page[-1].index
        for key in self.new_tasks:
            if key[:2] == (run, no) and key[2] >= 0:
                cells[key[2]] = self.working.tasks[key]
        await self._values([cell.key for cell in cells.values() if cell.state == TaskState.succeeded])
        top = max(cells, default=-1)
        return [self._result(cells.get(index)) for index in range(top + 1)]

    def _result(self, cell: TaskCell | None) -> Any:
        if cell is None or cell.state != TaskState.succeeded or cell.result is None:
            return None
        return _decoded(cell.result if cell.result.data is not None else self.working.values.get(cell.key))

    async def _items(self, source: TaskKey, first: int, most: int) -> None:
        cell = self.working.tasks.get(source)
        kept = None if cell is None else (source, cell.version)
        items = None if kept is None else self._lists.get(kept)
        if items is None:
            items = await self._list(source, cell)
        if isinstance(items, list):
            self.working.items[source, first] = items[first : first + most]
            self.working.totals[source] = len(items)
            if kept is not None and first + most >= len(items):
                self._lists.drop(kept)

    async def _list(self, source: TaskKey, cell: TaskCell | None) -> Any:
        """A result as decoded; it is kept for the next page if it was read from the store in this group."""
        at_hand = source in self.working.values
        await self._values([source])
        value = self.working.values.get(source)
        loaded = value is not None and not at_hand
        if value is None and cell is not None:
            value = cell.result
        items = _decoded(value)
        if loaded and isinstance(items, list) and isinstance(value, Value) and cell is not None:
            self._lists.put((source, cell.version), items, value.size)
        return items

    def _overlaid(self, cell: TaskCell) -> TaskCell:
        return self.working.tasks.setdefault((cell.run, cell.no, cell.index), cell)


def _place_of_params(run: int) -> ListKey:
    return (run, -1, WHOLE), 0


def _row_of(gate: str) -> tuple[EntityKey, ...]:
    return ((GATE, gate.removeprefix(GATE_PREFIX)),)


def _gate_of(graph: Graph, given: RunInput) -> LimitKey | None:
    """The gate a new run comes to; None for a key without value, of which its step tells the asker."""
    with suppress(Invalid):
        return gate_of(graph, given)
    return None


def _decoded(found: Any) -> Any:
    if not isinstance(found, Value):
        return found
    data = found.data or b"null"
    if found.lines:
        return [msgspec.json.decode(line) for line in data.splitlines() if line]
    return msgspec.json.decode(data)
