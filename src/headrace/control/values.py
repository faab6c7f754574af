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
from headrace.model.ids import WHOLE, TaskKey
from headrace.model.states import TASK_FINAL, RunState, TaskState
from headrace.store.port import Blobs, Reader
from headrace.store.rows import RunRow

SHOWN_MAX = 16 * 1024 * 1024
"""Bytes of all results that one answer shows; what does not fit is left out, and the answer says so."""
ALONE_MAX = 64 * 1024 * 1024
"""The same for one task that was asked for by itself: as much as a task may give."""

_JSON = msgspec.json.Decoder(Any)

GATHER_MAX = 100_000
"""Instances whose results are put together in one answer."""


class Room:
    """How much of an answer is left for values."""

    __slots__ = ("_left", "_most")

    def __init__(self, most: int = SHOWN_MAX) -> None:
        self._most = self._left = most

    @property
    def left(self) -> int:
        """Bytes."""
        return self._left

    def take(self, size: int) -> None:
        """Use some of it. Raises TooLarge when it is not there."""
        if size > self._left:
            raise TooLarge(f"a value of {size} bytes does not fit: at most {self._most} bytes of values are shown here")
        self._left -= size


Seen = dict[TaskKey, tuple[Any, int]]
"""Results of groups that an answer has put together already, and how many bytes they were."""


class Values:
    """Reads values of one store. ``place``: what stands before ``/runs/…`` in the address of a run."""

    def __init__(self, reader: Reader, blobs: Blobs, place: str = "") -> None:
        self.place = place
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
        return _decoded(data, value.lines)

    async def result(self, cell: TaskCell, room: Room, seen: Seen | None = None) -> Any:
        """The result of one task: its own, or the list of its instances' results. Raises TooLarge.

        ``seen``: the list is taken from here, and put here, so that one answer reads it once. Nobody alters it.
        """
        if cell.counts is None or cell.result is not None:
            return await self._of_cell(cell, room)
        if cell.state not in TASK_FINAL:
            return None
        if seen is not None and cell.key in seen:
            found, size = seen[cell.key]
            room.take(size)
            return found
        left = room.left
        found = await self._gathered(cell, room)
        if seen is not None:
            seen[cell.key] = found, left - room.left
        return found

    async def error(self, cell: TaskCell) -> Any:
        """The error of the newest attempt, as data."""
        if cell.error is None:
            return None
        if cell.error.data is None and not cell.error.digest:
            return await self.decoded(await self._reader.error(cell.key))
        return await self.decoded(cell.error)

    async def run_result(self, row: RunRow, known: Known, seen: Seen | None = None) -> Any:
        """The run's result: what ``result:`` says, else that of the only task nobody depends on; None before the end.

        Raises TooLarge.
        """
        room = Room()
        if row.cell.state is not RunState.succeeded:
            return None
        graph, run = known.graph, row.cell.run
        keys = result_keys(graph, run)
        working = Working(runs={run: row.cell}, inputs={run: row.input}, place=self.place)
        for key in {*keys.tasks, *keys.values, *keys.gather}:
            cell = await self._reader.task(key)
            if cell is None:
                continue
            working.tasks[key] = cell
            if key in keys.values or key in keys.gather:
                working.values[key] = await self.result(cell, room, seen)
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
                if not 0 <= cell.index < total or cell.state is not TaskState.succeeded or cell.result is None:
                    continue
                value = cell.result
                if value.data is None or value.lines:
                    results[cell.index] = await self._of_cell(cell, room)
                else:
                    # As ``decoded`` does it, without asking anybody: there are many of them, and short ones.
                    room.take(value.size)
                    results[cell.index] = _decoded(value.data)
            if len(cells) < 500:
                return results
            after = (group.no, cells[-1].index)


def _decoded(data: bytes, lines: bool = False) -> Any:
    try:
        return _JSON.decode_lines(data) if lines else _JSON.decode(data)
    except RecursionError:
        raise TooLarge("a value is nested too deep to be shown") from None
