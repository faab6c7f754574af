"""The links of this node: one session per doorbell, from hello to its end.

hello → the agent's row is written (link epoch raised, boot known) → welcome → reconcile (what is believed against what
the agent holds) → the loops of this link run → the doorbell closes → they end. On one machine a closed doorbell
fences nothing: the agent keeps its work, and the next hello finds everything again. Called by the door on the Unix
socket (``control.server``) and, with a virtual doorbell, by the simulator.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from headrace.control.assign import Assigner
from headrace.control.changes.agents import AGENT, AgentHello, AgentLinked
from headrace.control.ledger import Ledger
from headrace.control.loops.dispatch import Starter, refusal
from headrace.control.loops.logs import LogKeeper
from headrace.control.loops.outcomes import Collector
from headrace.control.loops.stop import Stopper
from headrace.control.placement import Linked, Placement
from headrace.core.waking import FENCE_US
from headrace.core.work import Dispatch, StopAttempt
from headrace.link.port import AgentCalls, Doorbell
from headrace.link.records import AttemptName, Held, Hello, StopOrder
from headrace.link.session import ControlLink, reconcile
from headrace.model.changes import SYSTEM, Change, Lose
from headrace.model.errors import Busy, Conflict, HeadraceError, LinkError, Refused
from headrace.model.ids import TaskKey
from headrace.model.ports import Clock, Fault
from headrace.store.port import Store
from headrace.store.rows import LeasedRow

HELLO_S = 10.0
PAGE = 500
LOST = "the agent's earlier life ended"
ASKED_BEFORE = "canceled"
NEVER_ARRIVED = "it never reached the agent"

log = logging.getLogger("headrace.control")


class LinkedCalls(AgentCalls, Protocol):
    """Calls that hold connections."""

    async def close(self) -> None: ...


class Services(Struct, frozen=True):
    """What a session needs of its node."""

    ledger: Ledger
    store: Store
    placement: Placement
    assigner: Assigner
    connect: Callable[[Hello], LinkedCalls]
    klass_of: Callable[[int, int], int]
    """(graph, no) -> class, 0 when the graph is not at hand."""
    failed: Callable[[BaseException], None]
    """A loop met trouble that only a new life mends."""
    clock: Clock
    fault: Fault


class Session:
    """One link: its loops, from welcome to the end of the doorbell."""

    def __init__(self, services: Services, linked: Linked, calls: LinkedCalls, after: int) -> None:
        s = services
        self.linked = linked
        self.calls = calls
        self.starter = Starter(
            linked, calls, s.ledger, assigner=s.assigner, placement=s.placement, clock=s.clock, fault=s.fault
        )
        self.stopper = Stopper(linked, calls, s.fault)
        self.keeper = LogKeeper(calls, s.ledger, s.store.reader, s.store.blobs, clock=s.clock, fault=s.fault)
        self.collector = Collector(
            linked,
            calls,
            s.ledger,
            after=after,
            placement=s.placement,
            blobs=s.store.blobs,
            logs=self.keeper.ended,
            files=s.assigner.left_files,
            doubt=s.assigner.doubt,
            clock=s.clock,
            fault=s.fault,
        )
        self._s = services
        self._fenced: set[AttemptName] | None = set()
        """Attempts that were fenced while it was read what the agent owns; None afterwards."""

    def stop(self, commands: Sequence[StopAttempt]) -> None:
        """Attempts that are to end, or are nobody's any more."""
        if self._fenced is not None:
            self._fenced.update(AttemptName(*c.key, c.epoch) for c in commands if c.fence)
        self.stopper.take(commands)

    def start(self, commands: Sequence[Dispatch]) -> None:
        """Attempts that were claimed for this agent."""
        self.starter.take(commands)
        self.collector.wake()

    async def reconcile(self) -> None:
        """Compare what the store believes with what the agent holds, and mend the difference.

        What it does not know was never started in this life: given back, or lost with an earlier life. What nobody
        wants any more is fenced.
        """
        believed = await self._leased()
        held = await self.calls.held()
        differs = reconcile(held, believed, self.starter.queued())
        now = self._s.clock.now()
        changes: list[Change] = []
        for name in differs.missing:
            self._s.placement.done((name.run, name.no, name.index, name.epoch))
            row = believed[name]
            if name in self.starter.queued():
                continue
            if row.boot == self.linked.boot:
                changes.append(refusal(name, now, NEVER_ARRIVED))
            else:
                changes.append(Lose(name.run, name.no, name.index, name.epoch, LOST))
        if changes:
            await self._s.ledger.ask_many(changes, SYSTEM)
        if differs.foreign:
            orders = [(name, 0) for name in differs.foreign]
            await self.stopper.send(StopOrder(self.linked.link_epoch, orders, "not wanted any more", fence=True))
        self.stopper.take(self._asked_before(believed, held, now))
        self.keeper.found(held.logs)

    def _asked_before(self, believed: dict[AttemptName, LeasedRow], held: Held, now: int) -> list[StopAttempt]:
        """What was to be stopped when the last link ended: nobody knows whether the agent was told."""
        orders = []
        for name in held.attempts:
            row = believed.get(name)
            if row is not None and row.due_at:
                grace = max(0, row.due_at - FENCE_US - now) // 1000
                key = (row.run, row.no, row.index)
                orders.append(StopAttempt(key, row.agent, row.boot, row.epoch, grace, ASKED_BEFORE))
        return orders

    async def _leased(self) -> dict[AttemptName, LeasedRow]:
        """Everything this agent owns by the store, in all its lives; placement learns it."""
        believed: dict[AttemptName, LeasedRow] = {}
        after: TaskKey | None = None
        while rows := await self._s.store.reader.leased(self.linked.agent, after, PAGE):
            for row in rows:
                believed[AttemptName(row.run, row.no, row.index, row.epoch)] = row
                name = (row.run, row.no, row.index, row.epoch)
                self._s.placement.took(self.linked.agent, name, self._s.klass_of(row.graph, row.no))
            after = (rows[-1].run, rows[-1].no, rows[-1].index)
        fenced, self._fenced = self._fenced or set(), None
        for over in fenced:
            # The page that has it may be older than the fence: nothing would ever be heard of it.
            believed.pop(over, None)
            self._s.placement.done(over)
        return believed

    async def serve(self, bell: Doorbell, link: ControlLink) -> None:
        """Run the loops until the doorbell closes; LinkError ends a session quietly."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pulses(bell, link))
                for loop in (self.starter, self.stopper, self.collector, self.keeper):
                    tasks.create_task(loop.run())
                self.collector.wake()
        except* LinkError as errors:
            log.info("link of %s ended: %s", self.linked.name, errors.exceptions[0])
        except* Busy as errors:
            log.info("link of %s begins anew when the store is there: %s", self.linked.name, errors.exceptions[0])
        except* (Refused, Conflict) as errors:
            # Another life of it, or another agent of the same name, has taken over: this one has no say any more.
            log.warning("link of %s is over: %s", self.linked.name, errors.exceptions[0])

    async def _pulses(self, bell: Doorbell, link: ControlLink) -> None:
        while True:
            record = await bell.recv()
            answer = link.heard(record)
            if answer is not None:
                await bell.send(answer)
            if link.pulse is None:
                continue
            if link.pulse.bell:
                self.collector.wake()
            if link.pulse.draining != self.linked.draining:
                self.linked.draining = link.pulse.draining
                self._s.placement.room()


class Links:
    """All sessions of this node, by agent."""

    def __init__(self, services: Services) -> None:
        self._s = services
        self._sessions: dict[int, Session] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}

    def session(self, agent: int) -> Session | None:
        """The agent's session while its doorbell stands."""
        return self._sessions.get(agent)

    def calls(self, agent: int) -> AgentCalls | None:
        """Calls to this agent while it is linked."""
        session = self._sessions.get(agent)
        return None if session is None else session.calls

    def start(self, agent: int, commands: Sequence[Dispatch]) -> None:
        """Hand claimed attempts to their agent's loop; without a link they are found again by the next hello."""
        session = self._sessions.get(agent)
        if session is not None:
            session.start(commands)

    def stop(self, agent: int, commands: Sequence[StopAttempt]) -> None:
        """Ask attempts to end; without a link the deadline of the ladder decides."""
        session = self._sessions.get(agent)
        if session is not None:
            session.stop(commands)

    def renew(self) -> None:
        """End every session: their agents ring again at once, and everything is compared anew."""
        for task in self._tasks.values():
            task.cancel()

    async def serve(self, bell: Doorbell) -> None:
        """One doorbell, from its opening to its end. Never raises for trouble of the other end."""
        link = ControlLink()
        link.opened()
        try:
            async with asyncio.timeout(HELLO_S):
                link.heard(await bell.recv())
            if link.hello is None:
                raise LinkError("no hello")
            await self._linked(bell, link, link.hello)
        except (LinkError, Refused, Busy, TimeoutError) as e:
            log.info("doorbell closed: %s", e or "no hello in time")
        except asyncio.CancelledError:
            raise
        except (HeadraceError, ExceptionGroup) as e:
            self._s.failed(e)
        finally:
            await bell.close()

    async def _linked(self, bell: Doorbell, link: ControlLink, hello: Hello) -> None:
        welcome = await self._greet(hello)
        agent = welcome.number
        await self._end(agent)
        linked = Linked(
            agent=agent,
            name=hello.agent,
            boot=welcome.boot,
            boot_id=hello.boot,
            link_epoch=welcome.link_epoch,
            slots=hello.slots,
            labels=hello.labels,
            draining=hello.draining,
            gone=True,
        )
        calls = self._s.connect(hello)
        session = Session(self._s, linked, calls, welcome.after)
        self._s.placement.link(linked)
        self._s.assigner.doubt(welcome.boot)
        self._sessions[agent] = session
        task = asyncio.current_task()
        assert task is not None
        self._tasks[agent] = task
        try:
            await bell.send(link.welcome(agent, welcome.link_epoch, welcome.after))
            await session.reconcile()
            linked.gone = False
            log.info("agent %s linked (boot %s, %d slots)", hello.agent, hello.boot, hello.slots)
            self._s.placement.room()
            await session.serve(bell, link)
        finally:
            if self._sessions.get(agent) is session:
                del self._sessions[agent], self._tasks[agent]
            self._s.placement.unlink(agent, linked.link_epoch)
            await calls.close()

    async def _greet(self, hello: Hello) -> AgentLinked:
        """Write the agent's row: a higher link epoch, and a new life when the boot id is new."""
        known = await self._s.store.reader.entity((AGENT, hello.agent))
        number = 0 if known is not None else await self._s.store.reserve_ids("agent", 1)
        change = AgentHello(
            hello.agent,
            hello.boot,
            number,
            node=self._s.ledger.node,
            slots=hello.slots,
            labels=hello.labels,
            version=hello.version,
            address=hello.address,
        )
        answered = (await self._s.ledger.change(change, SYSTEM)).value
        if not isinstance(answered, AgentLinked):
            raise LinkError(f"hello of {hello.agent} was not answered")
        return answered

    async def _end(self, agent: int) -> None:
        """A newer doorbell of the same agent takes over: end the session before it."""
        before = self._tasks.get(agent)
        if before is None:
            return
        before.cancel()
        await asyncio.wait([before])
