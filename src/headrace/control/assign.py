"""From what was claimed to what an agent gets: the assignment, its token, its input files; the bytes behind them: ``supply``.

Everything is rendered already (``core.render``); nothing here evaluates anything. Called by the dispatch loop only.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Sequence

from headrace.control.graphs import Graphs
from headrace.control.lineage import artifacts_of
from headrace.control.placement import Durations, Linked
from headrace.control.supply import Supplies, Unable
from headrace.core.graph import Graph
from headrace.core.work import Dispatch
from headrace.link.port import AgentCalls
from headrace.link.records import Assignment, InputFile
from headrace.store.port import Blobs, Reader

TokenMaker = Callable[[int, int, int, int], str]
"""(run, no, index, epoch) -> the capability that this attempt carries."""

ROWS_MAX = 500
"""Runs in one question to the store."""

SLICE = 64
"""So many assignments are made before others have their turn of the loop."""


class Assigner:
    """Builds assignments and keeps the agents supplied.

    Files of earlier tasks are looked up only for runs that may have some. ``alone``: those older than this life of the
    node, and those of which an artifact was seen since (``left_files``). Where other nodes see the ends of tasks as well,
    the store is asked, once for a batch, about those whose tasks need others.
    """

    def __init__(
        self,
        reader: Reader,
        blobs: Blobs,
        graphs: Graphs,
        durations: Durations,
        *,
        tokens: TokenMaker,
        url: str,
        fresh_from: int,
        alone: bool,
    ) -> None:
        self._durations = durations
        self._reader = reader
        self._supplies = Supplies(blobs)
        self._graphs = graphs
        self._tokens = tokens
        self._url = url
        self._fresh_from = fresh_from
        self._alone = alone
        self._with_files: set[int] = set()

    def left_files(self, run: int) -> None:
        """An attempt of this run left artifacts."""
        if self._alone:
            self._with_files.add(run)

    def ended(self, run: int) -> None:
        """The run is over; nothing more will ask for its files."""
        self._with_files.discard(run)

    def doubt(self, boot: int) -> None:
        """What this life of an agent has is asked again: it was linked anew, or did not have what was thought."""
        self._supplies.doubt(boot)

    async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
        """One assignment per command, in order."""
        made: list[Assignment] = []
        quick = self._durations.quick()
        told = None if self._alone else await self._told(batch)
        # All instances of a task are given the same files: they are looked up once.
        given: dict[tuple[int, int], tuple[InputFile, ...]] = {}
        for d in batch:
            if made and not len(made) % SLICE:
                await asyncio.sleep(0)
            run, no, _ = d.key
            files = run in self._with_files or run < self._fresh_from if told is None else run in told
            if files and (run, no) not in given:
                given[run, no] = await self._inputs(d)
            made.append(self._one(d, given[run, no] if files else (), quick))
        return made

    async def _told(self, batch: Sequence[Dispatch]) -> set[int]:
        """Runs of which the store says that a task may have files: other nodes have seen some of their tasks end."""
        found: set[int] = set()
        asked: set[int] = set()
        for d in batch:
            graph = await self._graph(d.graph)
            before = _before(graph, d.key[1])
            if any(graph.nodes[no].cache is not None for no in before):
                found.add(d.key[0])
            elif before:
                asked.add(d.key[0])
        left = sorted(asked - found)
        for start in range(0, len(left), ROWS_MAX):
            runs = left[start : start + ROWS_MAX]
            found |= await self._reader.with_artifacts(runs)
            rows = await self._reader.runs_by_id([run for run in runs if run not in found])
            found.update(row.cell.run for row in rows if row.cell.more is not None and row.cell.more.source)
        return found

    async def _graph(self, graph: int) -> Graph:
        return self._graphs.compiled(graph) or (await self._graphs.load(graph)).graph

    def _one(self, d: Dispatch, inputs: tuple[InputFile, ...], quick: Collection[int]) -> Assignment:
        run, no, index = d.key
        spec = d.spec
        return Assignment(
            run,
            no,
            index,
            d.epoch,
            d.attempt,
            d.graph,
            spec.kind,
            spec.task,
            spec.job,
            spec.label,
            spec.argv,
            spec.script,
            spec.target,
            spec.package,
            spec.args,
            spec.params,
            spec.env,
            spec.outputs,
            inputs,
            spec.timeout_ms,
            spec.grace_ms,
            self._tokens(run, no, index, d.epoch),
            self._url,
            prefetch=spec.on_lost == "retry" and d.klass in quick,
        )

    async def _inputs(self, d: Dispatch) -> tuple[InputFile, ...]:
        graph = await self._graph(d.graph)
        found: list[InputFile] = []
        for no in _before(graph, d.key[1]):
            task = graph.nodes[no].name
            for row in await artifacts_of(self._reader, d.key[0], no):
                place = f"{task}/{row.path}" if row.index < 0 else f"{task}/{row.index}/{row.path}"
                found.append(InputFile(place, row.digest, row.size))
        return tuple(found)

    async def supply(self, calls: AgentCalls, linked: Linked, batch: Sequence[Assignment]) -> list[Unable]:
        """Put what the agent lacks; what cannot be supplied is told. Raises LinkError, Busy, Refused."""
        return await self._supplies.give(calls, linked.boot, batch)


def _before(graph: Graph, no: int) -> list[int]:
    """The tasks whose files this one is given."""
    node = graph.nodes[no]
    return sorted({need.task for need in (*node.needs, *node.gate)})
