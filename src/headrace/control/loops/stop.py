"""Tell one linked agent what to stop or to fence: the rungs of the ladder, coalesced into few calls.

Takes ``StopAttempt`` commands after their commit, apart from the dispatch loop so that a stop never waits behind a
batch of starts. It keeps no deadlines: what is not over in time comes back as a ``Wake`` and is fenced by core's
decision. One per link session.
"""

from __future__ import annotations

from collections.abc import Sequence

from headrace.control.loops.loop import Backoff, Loop
from headrace.control.placement import Linked
from headrace.core.work import StopAttempt
from headrace.link.port import AgentCalls
from headrace.link.records import AttemptName, StopOrder
from headrace.model.errors import Busy, LinkError
from headrace.model.ports import Fault


class Stopper(Loop):
    """The stop loop of one link."""

    def __init__(self, linked: Linked, calls: AgentCalls, fault: Fault) -> None:
        super().__init__()
        self._linked = linked
        self._calls = calls
        self._fault = fault
        self._orders: dict[tuple[str, bool, bool], list[tuple[AttemptName, int]]] = {}
        self._backoff = Backoff()

    def take(self, commands: Sequence[StopAttempt]) -> None:
        """These attempts were asked to end, or are nobody's any more, since a committed change."""
        for c in commands:
            kind = (c.reason, c.fence, c.take_back)
            self._orders.setdefault(kind, []).append((AttemptName(*c.key, c.epoch), c.grace_ms))
        self.wake()

    async def run_once(self) -> None:
        """Send what has gathered, one order per reason."""
        while self._orders:
            reason, fence, take_back = kind = next(iter(self._orders))
            names = self._orders.pop(kind)
            await self.send(StopOrder(self._linked.link_epoch, names, reason, fence=fence, take_back=take_back))

    async def send(self, order: StopOrder) -> None:
        """Deliver one order, again and again while the link stands."""
        while True:
            self._fault("stop.before_post")
            try:
                await self._calls.stop(order)
            except (LinkError, Busy):
                await self._backoff.wait()
                continue
            self._fault("stop.after_post")
            self._backoff.reset()
            return
