"""Hand claimed work to one linked agent: one POST at a time, each with everything that has gathered meanwhile.

Takes ``Dispatch`` commands after their commit. What an agent needs and lacks (packages, input files) is put there
first. It never decides whether an attempt may start: that was decided in the commit. When the link is cut, what was
not delivered is found again by reconciling (``control.links``), so nothing is kept here. One per link session.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Protocol

import msgspec

from headrace.control.loops.loop import Backoff, Loop
from headrace.control.placement import Linked, Placement
from headrace.control.supply import Unable, lasting
from headrace.core.work import Dispatch
from headrace.link.port import AgentCalls
from headrace.link.records import Assignment, AttemptName, Start
from headrace.link.sharing import SHARED_MIN, together
from headrace.link.wire import BODY_MAX
from headrace.model.changes import SYSTEM, Change, Origin, OutcomeKind, Settle
from headrace.model.errors import Busy, HeadraceError, LinkError, Refused
from headrace.model.ports import Clock, Fault

BATCH_MAX = 512
BYTES_MAX = 3 * 1024 * 1024
"""Bytes and characters in one POST, at most 12 MiB then; the agent takes bodies of 16 MiB."""

ALONE_MAX = BODY_MAX - 4096
"""Bytes of one assignment, encoded."""


class Asks(Protocol):
    """The part of the ledger that loops need."""

    async def ask_many(self, changes: Sequence[Change], origin: Origin) -> Sequence[object]:
        """Decide and commit these together; per change a result or the error that refused it."""


class Assigner(Protocol):
    """Makes what the agent gets out of what was claimed (``control.assign``)."""

    async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]: ...

    async def supply(self, calls: AgentCalls, linked: Linked, batch: Sequence[Assignment]) -> list[Unable]:
        """Put packages and input files where the agent lacks them; gives what cannot be supplied."""


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
        unable = await self._supply(batch)
        if unable:
            await self._fail([(batch[u.at].name, u.why) for u in unable if u.lasting])
            await self._refuse([(batch[u.at].name, u.why) for u in unable if not u.lasting])
            left = {u.at for u in unable}
            batch = [a for at, a in enumerate(batch) if at not in left]
        if batch:
            await self._start(batch)

    async def _supply(self, batch: list[Assignment]) -> list[Unable]:
        if len(batch) == 1 and (why := _too_large(batch[0])):
            return [Unable(0, why)]
        while True:
            try:
                return await self._assigner.supply(self._calls, self._linked, batch)
            except (Busy, LinkError):
                await self._backoff.wait()
            except Refused:
                raise
            except HeadraceError as e:
                return [Unable(at, str(e), lasting(e)) for at in range(len(batch))]

    async def _start(self, batch: list[Assignment]) -> None:
        """Hand these over. Where the agent cannot read them, each goes alone: only what is the cause suffers for it."""
        try:
            refused = await self._post(together(self._linked.link_epoch, batch))
        except Refused:
            raise
        except HeadraceError as e:
            if len(batch) == 1:
                await self._fail([(batch[0].name, f"the agent cannot take it: {e}")])
            else:
                for a in batch:
                    await self._start([a])
            return
        if refused:
            await self._refuse(refused)

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
        if not unable:
            return
        now = self._clock.now()
        await self._give_back(
            [
                Settle(n.run, n.no, n.index, n.epoch, OutcomeKind.failed, now, now, stop_retry=True, reason=why)
                for n, why in unable
            ]
        )

    async def _refuse(self, refused: Sequence[tuple[AttemptName, str]]) -> None:
        """The agent did not take these: they cost no attempt and are ready again."""
        if not refused:
            return
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
    """Cut a batch where it would grow beyond what one POST may carry: large parameters do so once for their run."""
    parts: list[list[Assignment]] = [[]]
    size = 0
    carried: set[int] = set()
    for a in batch:
        weight = _weight(a)
        large = len(a.params) >= SHARED_MIN
        if parts[-1] and size + weight - (len(a.params) if large and a.run in carried else 0) > BYTES_MAX:
            parts.append([])
            carried.clear()
            size = 0
        if large:
            if a.run in carried:
                weight -= len(a.params)
            carried.add(a.run)
        parts[-1].append(a)
        size += weight
    return parts


def _weight(a: Assignment) -> int:
    """About its bytes when encoded; a character counts as one."""
    weight = 512 + len(a.args) + len(a.params) + len(a.script)
    for text in a.argv:
        weight += len(text) + 5
    for text in a.outputs:
        weight += len(text) + 5
    for name, text in a.env.items():
        weight += len(name) + len(text) + 10
    for file in a.inputs:
        weight += len(file.path) + 90
    return weight


def _too_large(a: Assignment) -> str:
    """Why this alone does not fit into a POST; empty when it does."""
    if _weight(a) <= BYTES_MAX or (size := len(msgspec.msgpack.encode(a))) <= ALONE_MAX:
        return ""
    parts = {
        "its command": sum(map(len, a.argv)),
        "its script": len(a.script),
        "its environment": sum(len(name) + len(text) for name, text in a.env.items()),
        "its arguments": len(a.args),
        "the parameters": len(a.params),
        "its input files": len(a.inputs),
    }
    most = f"an agent takes at most {ALONE_MAX} bytes"
    largest = max(parts, key=lambda name: parts[name])
    return f"all that this attempt is given has {size} bytes, and {most}: {largest} should go into a file"
