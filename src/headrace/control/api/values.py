"""Values as answers show them: results and errors decoded, wherever their text is kept.

Reads only, bounded. A run's result is worked out from its definition when it is asked for; nothing stores it twice.
Called by the views of runs and tasks.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.control.graphs import Known
from headrace.core.results import result_keys, run_result
from headrace.core.work import Working
from headrace.model.cells import TaskCell, Value
from headrace.model.errors import TooLarge
from headrace.model.ids import WHOLE, TaskKey
from headrace.model.states import TASK_FINAL, RunState, TaskState
from headrace.store.port import Blobs, Reader
from headrace.store.rows import RunRow

SHOWN_MAX = 16 * 1024 * 1024
"""Bytes of a value that is shown inside a view; a larger one is told by its size."""

_LINES = msgspec.json.Decoder(Any)

GATHER_MAX = 100_000
"""Instances whose results are put together in one answer."""


class Values:
    """Reads values of one store."""

    def __init__(self, reader: Reader, blobs: Blobs) -> None:
        self._reader = reader
        self._blobs = blobs

    async def decoded(self, value: Value | None) -> Any:
        """The value as data; None when there is none. Raises TooLarge beyond SHOWN_MAX."""
        if value is None:
            return None
        if value.size > SHOWN_MAX:
            raise TooLarge(f"the value has {value.size} bytes; shown are at most {SHOWN_MAX}")
        data = value.data
        if data is None:
            data = await self._blobs.get(value.digest)
        if value.lines:
            return _LINES.decode_lines(data)
        return msgspec.json.decode(data)

    async def result(self, cell: TaskCell, known: Known) -> Any:
        """The result of one task: its own, or the list of its instances' results."""
        if cell.counts is not None and cell.result is None:
            return await self._gathered(cell, known) if cell.state in TASK_FINAL else None
        return await self._of_cell(cell)

    async def error(self, cell: TaskCell) -> Any:
        """The error of the newest attempt, as data."""
        if cell.error is None:
            return None
        if cell.error.data is None and not cell.error.digest:
            return await self.decoded(await self._reader.error(cell.key))
        return await self.decoded(cell.error)

    async def run_result(self, row: RunRow, known: Known) -> Any:
        """The run's result: what ``result:`` says, else that of the only task nobody depends on; None before the end."""
        if row.cell.state is not RunState.succeeded:
            return None
        graph, run = known.graph, row.cell.run
        keys = result_keys(graph, run)
        working = Working(runs={run: row.cell}, inputs={run: row.input})
        for key in {*keys.tasks, *keys.values, *keys.gather}:
            cell = await self._reader.task(key)
            if cell is None:
                continue
            working.tasks[key] = cell
            if key in keys.values or key in keys.gather:
                working.values[key] = await self.result(cell, known)
        return run_result(graph, working, row.cell)

    async def _of_cell(self, cell: TaskCell) -> Any:
        value = cell.result
        if value is not None and value.data is None and not value.digest:
            value = await self._reader.value(cell.key)
        return await self.decoded(value)

    async def _gathered(self, group: TaskCell, known: Known) -> list[Any] | None:
        total = group.counts.total if group.counts else 0
        if total > GATHER_MAX:
            return None
        results: list[Any] = [None] * total
        after = (group.no, WHOLE)
        while True:
            cells = await self._reader.tasks(group.run, no=group.no, after=after, limit=500)
            for cell in cells:
                if 0 <= cell.index < total and cell.state is TaskState.succeeded:
                    results[cell.index] = await self._of_cell(cell)
            if len(cells) < 500:
                return results
            after = (group.no, cells[-1].index)


def key_text(key: TaskKey, known: Known) -> str:
    """A task as logs and texts name it: ``clean`` or ``per-region[3]``."""
    name = known.graph.nodes[key[1]].name
    return name if key[2] == WHOLE else f"{name}[{key[2]}]"
