"""Reading for a restart what the new run takes over: the cells of the old one, and the values of those that are taken.

Which these are is core's decision (``core.restarting``). Reads only. Called by the API's restart, for the children
of a run that goes on (``control.family``), and by the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from headrace.control.graphs import Graphs
from headrace.core.nodes import Graph
from headrace.core.restarting import FAILED, Takeover, plan, taken
from headrace.model.cells import InputMore, RunInput, TaskCell, Value
from headrace.model.changes import Submit
from headrace.model.ids import WHOLE
from headrace.model.messages import StartChild
from headrace.model.states import RUN_FINAL, RunState
from headrace.store.port import Reader
from headrace.store.rows import RunRow

PAGE = 500


async def takeover(
    reader: Reader, run: int, old: Graph, graph: Graph, since: str, *, same_params: bool
) -> tuple[Takeover, Mapping[int, TaskCell]]:
    """What a new run of ``graph`` takes over from this one, and the old run's tasks, groups by their counts."""
    cells: dict[int, TaskCell] = {}
    after = (-1, -2)
    while page := await reader.tasks(run, groups_only=True, after=after, limit=PAGE):
        cells.update((cell.no, cell) for cell in page)
        after = (page[-1].no, page[-1].index)
    return plan(graph, old, cells, since, same_params=same_params), cells


async def child_to_go_on_from(reader: Reader, graphs: Graphs, message: StartChild) -> RunRow | None:
    """The run that was the work of the same task in the run that its parent goes on from, if it did not succeed."""
    parent, source = await reader.run(message.run), await reader.run(message.source)
    if parent is None or source is None or parent.input.more is None or parent.input.more.since != FAILED:
        return None
    name = (await graphs.load(parent.cell.graph)).graph.nodes[message.no].name
    no = (await graphs.load(source.cell.graph)).graph.by_name.get(name)
    cell = None if no is None else await reader.task((message.source, no, message.index))
    child = None if cell is None else await reader.child(*cell.key, cell.epoch)
    row = None if child is None else await reader.run(child)
    ended = row is not None and row.cell.state in RUN_FINAL and row.cell.state is not RunState.succeeded
    return row if ended else None


async def going_on(reader: Reader, graphs: Graphs, given: RunInput, old: RunRow) -> Submit:
    """The submit of a child that goes on from an old one with the same parameters and repeats nothing that succeeded."""
    before, now = await graphs.load(old.cell.graph), await graphs.load(given.graph)
    found, cells = await takeover(reader, old.cell.run, before.graph, now.graph, FAILED, same_params=True)
    if not found.tasks and not found.groups:
        return Submit(given)
    more = structs.replace(
        given.more or InputMore(), restarted_from=old.cell.run, since=FAILED, groups=tuple(found.groups.items())
    )
    return await submit_of(reader, structs.replace(given, more=more), found, cells)


async def submit_of(reader: Reader, given: RunInput, found: Takeover, cells: Mapping[int, TaskCell]) -> Submit:
    """The change that makes the new run, with the results that it takes over at hand."""
    return Submit(
        given, tuple([await _taken(reader, cells[no], (given.run, new, WHOLE)) for new, no in found.tasks.items()])
    )


async def _taken(reader: Reader, cell: TaskCell, key: tuple[int, int, int]) -> TaskCell:
    result = cell.result
    if result is not None and result.place == "aside":
        value = await reader.value(cell.key)
        if value is not None and value.data is not None:
            result = Value(value.size, "inline", value.data, "", value.lines, value.count)
    return taken(structs.replace(cell, result=result), key)
