"""Reading for a restart what the new run takes over: the cells of the old one, and the values of those that are taken.

Which these are is core's decision (``core.restarting``). Reads only. Called by the API's restart and by the simulator.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import structs

from headrace.core.nodes import Graph
from headrace.core.restarting import Takeover, plan, taken
from headrace.model.cells import RunInput, TaskCell, Value
from headrace.model.changes import Submit
from headrace.model.ids import WHOLE
from headrace.store.port import Reader

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
