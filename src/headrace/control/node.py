"""What runs in a control process without any socket: ledger, loops and links over one store.

Wiring only, no rule. ``control.app`` gives it a store and doors, the simulator a virtual store and network: everything
that is said here holds in both. Must never name a concrete store, open a socket or read the machine's clock.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any

from headrace.control.assign import Assigner
from headrace.control.changes.limits import read_limit
from headrace.control.clock import SteadyClock
from headrace.control.commands import Commands
from headrace.control.credentials import RunTokens
from headrace.control.events.feed import Feed
from headrace.control.events.tail import Tail
from headrace.control.family import Family
from headrace.control.graphs import Graphs
from headrace.control.ids import Ids
from headrace.control.ledger import Ledger
from headrace.control.links import LinkedCalls, Links, Services
from headrace.control.loops.admit import AdmitLoop
from headrace.control.loops.claim import ClaimLoop
from headrace.control.loops.due import DueLoop
from headrace.control.loops.limbo import LimboCheck
from headrace.control.loops.outbox import OutboxLoop
from headrace.control.loops.tidy import TidyLoop
from headrace.control.placement import Placement
from headrace.control.progress import Progress
from headrace.control.saved import SavedJobs
from headrace.control.values import Values
from headrace.control.waiters import Waiters
from headrace.core.work import Command
from headrace.link.records import Hello
from headrace.model.limits import LIMIT
from headrace.model.ports import Clock, Dice, Fault
from headrace.store.port import Store
from headrace.store.rows import Hint

RUN_TOKEN_US = 7 * 24 * 3600 * 1_000_000
"""How long a run token opens the routes of its run."""

STUCK_S = 10.0
"""A ledger that has not committed for so long while changes wait makes no progress."""

REFUSED_S = 30.0
"""So long a node whose store refused a change is not ready, unless a change was written since. Then it may be tried anew:
who sends nothing to nodes that are not ready would otherwise never learn that there is room again.
"""

log = logging.getLogger("headrace.control")


class Node:
    """One control process's ledger, loops and links. ``start`` begins, ``failure`` tells trouble, ``close`` ends.

    ``worked`` gives the seconds of CPU that this thread has used; without it groups are bounded by the clock.
    ``alone`` says that no other process writes this store.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock,
        dice: Dice,
        fault: Fault,
        worked: Callable[[], float] | None = None,
        alone: bool = False,
    ) -> None:
        self.store = store
        self._alone = alone
        self.clock = clock = SteadyClock(clock)
        self.fault = fault
        self.waiters = Waiters()
        self.placement = Placement()
        self.graphs = Graphs(store.reader)
        self.tail = Tail(Feed(store.reader, self.graphs, store.identity.incarnation), clock, alone=alone)
        self.ids = Ids(store, "run", growing=True)
        self.ledger = Ledger(
            store,
            self.graphs,
            clock=clock,
            dice=dice,
            room=self.placement,
            on_commands=self._take,
            on_doubt=self._doubt,
            on_commit=self.tail.committed,
            fault=fault,
            worked=worked,
        )
        self.claims = ClaimLoop(store.reader, self.ledger, self.placement, clock)
        self.admits = AdmitLoop(store.reader, self.ledger)
        self.due = DueLoop(store.reader, self.ledger, clock)
        self.jobs = SavedJobs(store.reader, alone=alone)
        self.values = Values(store.reader, store.blobs)
        family = Family(
            store.reader, self.ledger, jobs=self.jobs, graphs=self.graphs, ids=self.ids, values=self.values, clock=clock
        )
        self.outbox = OutboxLoop(store.reader, self.ledger, family, clock=clock, fault=fault)
        self.tidy = TidyLoop(store.reader, self.ledger, clock)
        self.links: Links
        self.secret = b""
        """The key of run tokens."""
        self._tokens = RunTokens(self.secret)
        self._commands: Commands | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._failure: asyncio.Future[BaseException] = asyncio.get_running_loop().create_future()

    async def start(self, *, secret: bytes, url: str, connect: Callable[[Hello], LinkedCalls]) -> Links:
        """Begin: read what is owed and what waits, then take links. ``connect`` gives the calls of an agent."""
        for row in await self.store.reader.statement("last_instant", {}):
            self.clock.at_least(row[0])
        self.ledger.place = self.values.place = f"{url}/api/v1"
        self.ledger.node = await self.store.reserve_ids("node", 1)
        first = await self.ids.first()
        clock = self.clock
        self.trust(secret)

        def token(run: int, no: int, index: int, epoch: int) -> str:
            return self._tokens.mint(run, no, index, epoch=epoch, expires_at=clock.now() + RUN_TOKEN_US)

        assigner = Assigner(
            self.store.reader,
            self.store.blobs,
            self.graphs,
            self.placement.durations,
            tokens=token,
            url=url,
            fresh_from=first,
            alone=self._alone,
        )
        services = Services(
            self.ledger,
            self.store,
            self.placement,
            assigner,
            connect,
            self._klass_of,
            self.failed,
            clock,
            self.fault,
        )
        self.links = links = Links(services)
        self._commands = Commands(
            self.placement,
            links,
            claims=self.claims,
            admits=self.admits,
            due=self.due,
            assigner=assigner,
            ended=self.waiters.ended,
            told=self.outbox.wake,
        )
        await self._learn_limits()
        self.own(self.ledger.run())
        await self.claims.start()
        self.own(self.claims.run())
        self.admits.relearn()
        self.own(self.admits.run())
        self.own(self.due.run())
        self.outbox.wake()
        self.own(self.outbox.run())
        self.tidy.wake()
        self.own(self.tidy.run())
        self.store.hear(self._hinted)
        return links

    async def _learn_limits(self) -> None:
        """By what limits count, so that work waits in the right class from the start."""
        after = ""
        while rows := await self.store.reader.entities(LIMIT, after=after):
            self.ledger.limit_keys.update({row.name: read_limit(row.image).key for row in rows})
            after = rows[-1].name

    def trust(self, secret: bytes) -> None:
        """Make run tokens with this key from now on. Called before the first link; all nodes of a store have the same."""
        self.secret = secret
        self._tokens = RunTokens(secret)

    def _take(self, commands: list[Command]) -> None:
        if self._commands is not None:
            self._commands(commands)

    def _hinted(self, hint: Hint) -> None:
        """Another node committed something: what waits for it here looks again."""
        self.tail.wake()
        if hint.classes:
            self.claims.waits(hint.classes)
        for run in hint.runs:
            self.waiters.ended(run)
        if hint.freed:
            self.claims.freed_elsewhere()
            self.admits.relearn()
        if hint.all:
            self._look_again()

    def _doubt(self) -> None:
        """A group may have been committed, and what was to happen after it did not: compare everything, as at a start."""
        if self._commands is not None:
            self.links.renew()
        self._look_again()

    def _look_again(self) -> None:
        """What this process believes may be out of date: everything that waits reads the store anew."""
        self.claims.relearn()
        self.admits.relearn()
        self.due.alarm(0)
        self.outbox.wake()
        self.waiters.everybody()

    def check_limbo(self) -> LimboCheck:
        """Begin to look each minute whether something will happen to every open run; gives the check, which counts."""
        check = LimboCheck(
            self.store.reader,
            self.ledger,
            self.clock,
            offers=self.placement.offers,
            progress=Progress(lambda: self.placement.given_out),
            look_again=self._look_again,
        )
        self.own(check.run())
        return check

    def own(self, work: Coroutine[Any, Any, None]) -> None:
        """Run a loop; its failure is this process's failure."""
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        self._tasks.append(task)

    def failed(self, error: BaseException) -> None:
        """Trouble that only a new life mends: ``failure`` raises it."""
        if not self._failure.done():
            log.error("control stops: %s", error, exc_info=error)
            self._failure.set_result(error)

    async def failure(self) -> BaseException:
        """Wait until something fails; gives what it was."""
        return await asyncio.shield(self._failure)

    def problems(self) -> list[str]:
        """What keeps this node from making progress, in words; empty when all is well."""
        found = []
        if self._failure.done():
            found.append(f"control stops: {self._failure.result()}")
        elif not self._tasks or any(task.done() for task in self._tasks):
            found.append("not all of its loops run")
        if (stuck := self.ledger.stuck_for) > STUCK_S:
            found.append(f"changes wait and nothing has been committed for {stuck:.0f} s")
        if (refused := self.ledger.refused_for) is not None and refused < REFUSED_S:
            found.append(f"the store refused to write a change {refused:.0f} s ago; the server's log says why")
        return found

    async def close(self) -> None:
        """End the loops and close the store; what was not done is found again."""
        self.tail.end()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self.waiters.everybody()
        await self.store.close()

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self.failed(error)

    def _klass_of(self, graph: int, no: int) -> int:
        compiled = self.graphs.compiled(graph)
        return 0 if compiled is None else compiled.nodes[no].klass
