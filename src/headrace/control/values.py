"""Values as answers show them: results and errors decoded, wherever their text is kept.

Reads only, bounded. A run's result is worked out from its definition when it is asked for; nothing stores it twice.
Called by the views of runs and tasks, and by ``control.family``.
"""

from __future__ import annotations

from typing import Any

import msgspec

from headrace.control.graphs import Known
from headrace.core.results import result_keys, run_result
from headrace.core.work import Working
from headrace.model.cells import TaskCell, Value
from headrace.model.errors import TooLarge
from headrace.model.ids import WHOLE
from headrace.model.states import TASK_FINAL, RunState, TaskState
from headrace.store.port import Blobs, Reader
from headrace.store.rows import RunRow

SHOWN_MAX = 16 * 1024 * 1024
"""Bytes of all results that one answer shows; what does not fit is left out, and the answer says so."""
ALONE_MAX = 64 * 1024 * 1024
"""The same for one task that was asked for by itself: as much as a task may give."""

_LINES = msgspec.json.Decoder(Any)

GATHER_MAX = 100_000
"""Instances whose results are put together in one answer."""


class Room:
    """How much of an answer is left for values."""

    __slots__ = ("_left", "_most")

    def __init__(self, most: int = SHOWN_MAX) -> None:
        self._most = self._left = most

    def take(self, size: int) -> None:
        """Use some of it. Raises TooLarge when it is not there."""
        if size > self._left:
            raise TooLarge(f"a value of {size} bytes does not fit: at most {self._most} bytes of values are shown here")
        self._left -= size


class Values:
    """Reads values of one store."""

    def __init__(self, reader: Reader, blobs: Blobs) -> None:
        self._reader = reader
        self._blobs = blobs

    async def decoded(self, value: Value | None, room: Room | None = None) -> Any:
        """The value as data; None when there is none. Raises TooLarge when the room (SHOWN_MAX) has no place for it."""
        if value is None:
            return None
        (room or Room()).take(value.size)
        data = value.data
        if data is None:
            data = await self._blobs.get(value.digest)
        try:
            return _LINES.decode_lines(data) if value.lines else msgspec.json.decode(data)
        except RecursionError:
            raise TooLarge("a value is nested too deep to be shown") from None

    async def result(self, cell: TaskCell, room: Room) -> Any:
        """The result of one task: its own, or the list of its instances' results. Raises TooLarge."""
        if cell.counts is not None and cell.result is None:
            return await self._gathered(cell, room) if cell.state in TASK_FINAL else None
        return await self._of_cell(cell, room)

    async def error(self, cell: TaskCell) -> Any:
        """The error of the newest attempt, as data."""
        if cell.error is None:
            return None
        if cell.error.data is None and not cell.error.digest:
            return await self.decoded(await self._reader.error(cell.key))
        return await self.decoded(cell.error)

    async def run_result(self, row: RunRow, known: Known) -> Any:
        """The run's result: what ``result:`` says, else that of the only task nobody depends on; None before the end.

        Raises TooLarge.
        """
        room = Room()
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
                working.values[key] = await self.result(cell, room)
        return run_result(graph, working, row.cell)

    async def _of_cell(self, cell: TaskCell, room: Room) -> Any:
        value = cell.result
        if value is not None and value.data is None and not value.digest:
            value = await self._reader.value(cell.key)
        return await self.decoded(value, room)

    async def _gathered(self, group: TaskCell, room: Room) -> list[Any]:
        total = group.counts.total if group.counts else 0
        if total > GATHER_MAX:
            raise TooLarge(f"the results of {total} instances do not fit: at most {GATHER_MAX} are shown together")
        results: list[Any] = [None] * total
        after = (group.no, WHOLE)
        while True:
            cells = await self._reader.tasks(group.run, no=group.no, after=after, limit=500)
            for cell in cells:
                if 0 <= cell.index < total and cell.state is TaskState.succeeded:
                    results[cell.index] = await self._of_cell(cell, room)
            if len(cells) < 500:
                return results
            after = (group.no, cells[-1].index)
