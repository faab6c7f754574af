"""The result of a run and of a group: nothing is stored for them, they are read from the tasks' results.

Pure. Called by whoever shows a run: load what ``result_keys`` names, then ask ``run_result``.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec import UNSET

from headrace.core.draft import Draft, decoded
from headrace.core.expression import MissingValue, render
from headrace.core.nodes import Graph
from headrace.core.scope import RunScope
from headrace.core.work import Keys, Working
from headrace.model.cells import RunCell, TaskCell
from headrace.model.ids import WHOLE
from headrace.model.states import TaskState


def result_keys(graph: Graph, run: int) -> Keys:
    """What must be loaded to know the result of a run."""
    if graph.result is not UNSET:
        reads = graph.result_reads
        return Keys(
            tuple((run, no, WHOLE) for no in reads.cells),
            tuple((run, no, WHOLE) for no in reads.values),
            input=True,
            gather=tuple((run, no, WHOLE) for no in reads.gathers),
        )
    if graph.result_no is None:
        return Keys()
    key = ((run, graph.result_no, WHOLE),)
    if graph.nodes[graph.result_no].each is None:
        return Keys(key, key)
    return Keys(key, gather=key)


def run_result(graph: Graph, working: Working, run: RunCell) -> Any:
    """``result:``, else the result of the only task nobody depends on, else None. A path without value gives None."""
    draft = Draft(graph, working, run, 0, 0.0)
    if graph.result is UNSET:
        return None if graph.result_no is None else draft.value(graph.result_no)
    try:
        return render(graph.result, RunScope(draft))
    except MissingValue:
        return None


def group_result(instances: Iterable[tuple[TaskCell, Any]], total: int) -> list[Any]:
    """The results of a group in item order, None where an instance has none. Pairs of cell and its value."""
    found: list[Any] = [None] * total
    for cell, value in instances:
        if cell.state == TaskState.succeeded and 0 <= cell.index < total:
            found[cell.index] = decoded(value)
    return found
