"""No limbo: each minute a sample of the open runs is looked at, whether something will happen to each of them.

Something will: a due time, a task that is ready or with an agent, a child that has not ended, a place in a queue, a
person who paused it. A run of which none of that is true twice in a row is counted and named in the log, and everything
that waits is made to read the store anew. It decides nothing. Made by ``control.app``, one per node.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence

from headrace.control.loops.dispatch import Asks
from headrace.control.progress import Progress
from headrace.core.limits import waits_at_gate
from headrace.core.work import Offer
from headrace.model.cells import RunCell, TaskCell
from headrace.model.changes import SYSTEM, Wake
from headrace.model.errors import Busy
from headrace.model.ports import Clock
from headrace.model.states import RUN_FINAL, TASK_LEASED, RunState, TaskState
from headrace.store.port import Reader
from headrace.store.rows import RunFilter

EVERY_S = 60.0
SAMPLE = 200
"""So many open runs are looked at in one pass; the next pass goes on behind them."""
LATE_US = 60_000_000
"""What is due since so long is not going to be done by the timer that should have."""
_OPEN = tuple(int(state) for state in RunState if state not in RUN_FINAL)
_MOVING = sum(
    1 << s for s in (TaskState.ready, TaskState.dispatched, TaskState.running, TaskState.retrying, TaskState.held)
)

log = logging.getLogger("headrace.control")


class LimboCheck:
    """``look_again`` makes the loops read the store anew; ``offers`` tells who has room."""

    def __init__(
        self,
        reader: Reader,
        ledger: Asks,
        clock: Clock,
        *,
        offers: Callable[[], Sequence[Offer]],
        progress: Progress,
        look_again: Callable[[], None],
    ) -> None:
        self.found = 0
        """Runs that were found in limbo since the start."""
        self.looked = 0
        """Looks at a run since the start."""
        self._reader = reader
        self._ledger = ledger
        self._clock = clock
        self._offers = offers
        self._progress = progress
        self._look_again = look_again
        self._after: tuple[int, int] | None = None
        self._suspects: dict[int, int] = {}
        self._stall = 0

    async def run(self) -> None:
        """Pass after pass."""
        while True:
            await asyncio.sleep(EVERY_S)
            try:
                await self.run_once()
            except Busy as error:
                log.info("the look for runs in limbo waits: %s", error)

    async def run_once(self) -> None:
        """One sample, and once more those that looked so in the pass before."""
        where = RunFilter(states=_OPEN, after=self._after, ascending=True, limit=SAMPLE)
        page = await self._reader.runs_page(where)
        self._after = page.last
        again = await self._reader.runs_by_id(list(self._suspects)) if self._suspects else []
        cells = {row.cell.run: row.cell for row in (*page.rows, *again)}
        suspects: dict[int, int] = {}
        limbo = []
        for cell in cells.values():
            self.looked += 1
            if await self._will_happen(cell):
                continue
            suspects[cell.run] = cell.version
            if self._suspects.get(cell.run) == cell.version:
                limbo.append(cell.run)
        self._suspects = suspects
        await self._tell(limbo)
        await self._stalled()

    async def _tell(self, limbo: list[int]) -> None:
        if not limbo:
            return
        self.found += len(limbo)
        log.error("runs in limbo, nothing will happen to them: %s", ", ".join(map(str, limbo[:20])))
        self._look_again()
        await self._ledger.ask_many([Wake(run) for run in limbo], SYSTEM)

    async def _stalled(self) -> None:
        """Tasks are ready and agents have room, and nothing was given out for long: look at all of it anew, once.

        More often would help nobody: mostly it is work that no agent fits, and reading all of it costs.
        """
        counts, now = await self._reader.counts(), self._clock.now()
        free = sum(max(0, offer.free) for offer in self._offers())
        since = self._progress.look(counts["ready"], free, now)
        if since and since != self._stall and now - since >= LATE_US / 2:
            self._stall = since
            self._look_again()

    async def _will_happen(self, run: RunCell) -> bool:
        """Whether the run is ended, due, queued for its turn, held by a person, or has a task that moves."""
        more = run.more
        if run.state in RUN_FINAL or run.state is RunState.paused or waits_at_gate(run):
            return True
        if more is not None and (more.foreign or more.held):
            return True
        if run.due_at:
            return not self._late(run.due_at)
        for cell in await self._reader.tasks(run.run, groups_only=True, states=_MOVING):
            if await self._moves(cell):
                return True
        return await self._waits_for_time(run)

    async def _moves(self, cell: TaskCell) -> bool:
        if cell.due_at:
            return not self._late(cell.due_at)
        if cell.counts is not None:
            counts = cell.counts
            over = counts.succeeded + counts.failed + counts.canceled + counts.skipped + counts.lost
            return counts.live > 0 or over < counts.created
        if cell.state in TASK_LEASED and not cell.agent:
            return await self._child_goes_on(cell)
        return cell.state is not TaskState.retrying

    async def _child_goes_on(self, cell: TaskCell) -> bool:
        """A child that has ended tells its parent by a message: one that is on its way is there at the next look no more."""
        child = await self._reader.child(*cell.key, cell.epoch)
        row = None if child is None else await self._reader.run(child)
        return row is not None and row.cell.state not in RUN_FINAL

    async def _waits_for_time(self, run: RunCell) -> bool:
        """Whether a task that has not begun is due: a delay, a page of a list, a look into the cache."""
        after = (-1, -2)
        while page := await self._reader.tasks(run.run, groups_only=True, after=after, states=1 << TaskState.blocked):
            if any(cell.due_at and not self._late(cell.due_at) for cell in page):
                return True
            after = (page[-1].no, page[-1].index)
        return False

    def _late(self, due_at: int) -> bool:
        return due_at < self._clock.now() - LATE_US
