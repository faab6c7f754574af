"""Hand claimed work to one linked agent: one POST at a time, each with everything that has gathered meanwhile.

Takes ``Dispatch`` commands after their commit. What an agent needs and lacks (packages, input files) is put there
first. It never decides whether an attempt may start: that was decided in the commit. When the link is cut, what was
not delivered is found again by reconciling (``control.links``), so nothing is kept here. One per link session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

from headrace.control.loops.loop import Backoff, Loop
from headrace.control.placement import Linked, Placement
from headrace.core.work import Dispatch
from headrace.link.port import AgentCalls
from headrace.link.records import Assignment, AttemptName, Start
from headrace.model.changes import SYSTEM, Change, Origin, OutcomeKind, Settle
from headrace.model.errors import Busy, LinkError
from headrace.model.ports import Clock, Fault

BATCH_MAX = 512
BYTES_MAX = 4 * 1024 * 1024
"""One POST; the agent takes bodies of 16 MiB."""


class Asks(Protocol):
    """The part of the ledger that loops need."""

    async def ask_many(self, changes: Sequence[Change], origin: Origin) -> Sequence[object]:
        """Decide and commit these together; per change a result or the error that refused it."""


class Assigner(Protocol):
    """Makes what the agent gets out of what was claimed (``control.assign``)."""

    async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]: ...

    async def supply(self, calls: AgentCalls, linked: Linked, batch: Sequence[Assignment]) -> list[tuple[int, str]]:
        """Put packages and input files where the agent lacks them; what cannot be supplied: (place in batch, why)."""


class Starter(Loop):
    """The dispatch loop of one link."""

    def __init__(
        self,
        linked: Linked,
        calls: AgentCalls,
        ledger: Asks,
        *,
        assigner: Assigner,
        placement: Placement,
        clock: Clock,
        fault: Fault,
    ) -> None:
        super().__init__()
        self._linked = linked
        self._calls = calls
        self._ledger = ledger
        self._assigner = assigner
        self._placement = placement
        self._clock = clock
        self._fault = fault
        self._pending: deque[Dispatch] = deque()
        self._backoff = Backoff()

    def take(self, commands: Sequence[Dispatch]) -> None:
        """These were committed for this agent."""
        self._pending.extend(commands)
        self.wake()

    def drop(self, run: int) -> None:
        """Forget what was not sent of this run (it is being fenced)."""
        self._pending = deque(d for d in self._pending if d.key[0] != run)

    def queued(self) -> set[AttemptName]:
        """Attempts that wait here to be sent."""
        return {AttemptName(*d.key, d.epoch) for d in self._pending}

    async def run_once(self) -> None:
        """Send all that waits, batch after batch."""
        while self._pending:
            pending = self._pending
            batch = [pending.popleft() for _ in range(min(len(pending), BATCH_MAX))]
            try:
                assignments = await self._assigner.assign(batch)
            except Busy:
                pending.extendleft(reversed(batch))
                raise
            for part in _parts(assignments):
                await self._send(part)

    async def _send(self, batch: list[Assignment]) -> None:
        missing = await self._assigner.supply(self._calls, self._linked, batch)
        if missing:
            unable = dict(missing)
            await self._fail([(batch[at].name, why) for at, why in missing])
            batch = [a for at, a in enumerate(batch) if at not in unable]
        if not batch:
            return
        order = Start(self._linked.link_epoch, batch)
        accepted = await self._post(order)
        if accepted:
            await self._refuse(accepted)

    async def _post(self, order: Start) -> list[tuple[AttemptName, str]]:
        while True:
            self._fault("dispatch.before_post")
            began = self._clock.monotonic()
            try:
                accepted = await self._calls.start(order)
            except (LinkError, Busy):
                await self._backoff.wait()
                continue
            self._linked.measured(post_us=(self._clock.monotonic() - began) * 1e6)
            self._fault("dispatch.after_post")
            self._backoff.reset()
            return accepted.refused

    async def _fail(self, unable: Sequence[tuple[AttemptName, str]]) -> None:
        """Code or input that nobody has: another attempt would fare no better."""
        now = self._clock.now()
        await self._give_back(
            [
                Settle(n.run, n.no, n.index, n.epoch, OutcomeKind.failed, now, now, stop_retry=True, reason=why)
                for n, why in unable
            ]
        )

    async def _refuse(self, refused: Sequence[tuple[AttemptName, str]]) -> None:
        """The agent did not take these: they cost no attempt and are ready again."""
        now = self._clock.now()
        await self._backoff.wait()
        await self._give_back([refusal(name, now, why) for name, why in refused])

    async def _give_back(self, settles: Sequence[Settle]) -> None:
        for s in settles:
            self._placement.done((s.run, s.no, s.index, s.epoch))
        while True:
            try:
                await self._ledger.ask_many(settles, SYSTEM)
            except Busy:
                await self._backoff.wait()
                continue
            break
        self._placement.room()


def refusal(name: AttemptName, now: int, why: str) -> Settle:
    """The change that gives an attempt back which never started."""
    return Settle(name.run, name.no, name.index, name.epoch, OutcomeKind.refused, now, now, reason=why)


def _parts(batch: list[Assignment]) -> list[list[Assignment]]:
    """Cut a batch where it would grow beyond what one POST may carry."""
    parts: list[list[Assignment]] = [[]]
    size = 0
    for a in batch:
        weight = 256 + len(a.args) + len(a.params) + len(a.script)
        if parts[-1] and size + weight > BYTES_MAX:
            parts.append([])
            size = 0
        parts[-1].append(a)
        size += weight
    return parts
