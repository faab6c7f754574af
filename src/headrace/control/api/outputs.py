"""The end of what attempts wrote, for ``?with=output``: the last 64 KiB of each stream. Reads only."""

from __future__ import annotations

from msgspec import structs

from headrace.control.api.logbook import PAGE_MAX, Logbook, Place, Position
from headrace.control.api.services import Services
from headrace.control.graphs import Known
from headrace.model.cells import TaskCell
from headrace.model.views import AttemptView, TaskView
from headrace.store.rows import RunRow

TAIL = 65_536
PAGES_MAX = 2_000


async def with_output(services: Services, row: RunRow, known: Known, cell: TaskCell, view: TaskView) -> TaskView:
    """The view with ``stdout`` and ``stderr`` of each attempt, and of the newest one on the task itself."""
    if cell.counts is not None or not view.attempts:
        return view
    attempts: list[AttemptView] = []
    for attempt in view.attempts:
        out, err = await _tails(services, row, known, cell, attempt.attempt)
        attempts.append(structs.replace(attempt, stdout=out, stderr=err))
    return structs.replace(view, attempts=attempts, stdout=attempts[-1].stdout, stderr=attempts[-1].stderr)


async def _tails(services: Services, row: RunRow, known: Known, cell: TaskCell, attempt: int) -> tuple[str, str]:
    book = Logbook(
        row, known, services.reader, services.blobs, services.agents, services.absent, no=cell.no, index=cell.index
    )
    position = Position(places=[Place(cell.no, cell.index, attempt, 0)])
    kept = {"stdout": bytearray(), "stderr": bytearray()}
    for _ in range(PAGES_MAX):
        page = await book.page(position, PAGE_MAX)
        for line in page.lines:
            if line.attempt == attempt and line.record.stream in kept:
                tail = kept[line.record.stream]
                tail += line.record.data
                del tail[:-TAIL]
        beyond = bool(page.lines) and page.lines[-1].attempt > attempt
        if page.over or beyond or not page.lines:
            break
        position = page.position
    return kept["stdout"].decode("utf-8", "replace"), kept["stderr"].decode("utf-8", "replace")
