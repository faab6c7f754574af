"""Files of tasks that a run has taken over from an earlier one: they stay where they were made, and are found from here.

Reads only. A taken task says in its cell whose work it is (``TaskMore.origin``). Called by whoever lists or hands on the
files of a run.
"""

from __future__ import annotations

from msgspec import structs

from headrace.model.cells import TaskCell
from headrace.model.ids import WHOLE
from headrace.store.port import Reader
from headrace.store.rows import ArtifactRow

PAGE = 500


async def artifacts_of(reader: Reader, run: int, no: int) -> list[ArtifactRow]:
    """The files of one task of a run, those of what it has taken over among them, under this run's own keys."""
    rows = await _of_task(reader, run, no)
    cell = await reader.task((run, no, WHOLE))
    if cell is None or cell.counts is None:
        return rows + (await _of_origin(reader, [cell]) if cell is not None else [])
    after = (no, WHOLE)
    while True:
        page = await reader.tasks(run, no=no, after=after, limit=PAGE)
        rows += await _of_origin(reader, page)
        if len(page) < PAGE:
            return sorted(rows, key=lambda row: (row.index, row.path))
        after = (no, page[-1].index)


async def _of_task(reader: Reader, run: int, no: int) -> list[ArtifactRow]:
    """All of them: the store gives some thousands at a time, and a dependent must not miss one."""
    rows: list[ArtifactRow] = []
    while page := await reader.artifacts(run, no, after=(rows[-1].no, rows[-1].index, rows[-1].path) if rows else None):
        rows += page
    return rows


async def _of_origin(reader: Reader, cells: list[TaskCell]) -> list[ArtifactRow]:
    taken = {c.more.origin: c.key for c in cells if c.more is not None and c.more.origin is not None}
    found: list[ArtifactRow] = []
    for run, no in dict.fromkeys((origin[0], origin[1]) for origin in taken):
        for row in await _of_task(reader, run, no):
            key = taken.get((row.run, row.no, row.index))
            if key is not None:
                found.append(structs.replace(row, run=key[0], no=key[1], index=key[2]))
    return found
