"""One simulated world: users, a network, control and an agent, and a fate that kills, cuts, splits and stalls them.

Everything follows from the seed. ``simulate(seed)`` runs it, heals it, waits until nothing is left to do, and checks its
history. A failing seed is repeated by ``python -m headrace.testing.sim --seed N``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from msgspec import json

from headrace.control.changes.jobs import PutJob
from headrace.control.changes.named import NamedChange
from headrace.control.changes.result import AnswerKey, Reply, Result
from headrace.control.restarts import submit_of, takeover
from headrace.link.port import AgentCalls
from headrace.model.cells import InputMore, RunInput
from headrace.model.changes import Abandon, Cancel, Origin, Pause, Restarted, Resume, Stop, Submit, Verb
from headrace.model.definition import JobDefinition
from headrace.model.errors import Busy, LinkError, NotFound, Refused
from headrace.model.ports import Fault
from headrace.model.states import RUN_FINAL
from headrace.testing.sim.acted import OwnJobs
from headrace.testing.sim.executor import START, Ground
from headrace.testing.sim.jobs import definition, leaves, weight
from headrace.testing.sim.limits import change_limits, limited, params_of
from headrace.testing.sim.loop import Killed, Process, VirtualLoop, current
from headrace.testing.sim.network import Network, Weather
from headrace.testing.sim.plan import Outcome, Plan
from headrace.testing.sim.processes import Control, Machine, SimClock, encode_body

USERS = 4
LIVES_MOST = 60
"""Lives of control in one world; a healthy one sees ten. Each takes a copy of the store: this bounds the disk."""

JOBS = 12
"""Definitions that the users of one world choose from."""

LIMITS_CHANGED = 8
"""So often, about, somebody changes limits while the users of a world submit."""

HEALED_S = 400.0
"""Virtual seconds that a healed world gets to finish everything (I15)."""


class World:
    """The pieces of one simulation and what they went through."""

    def __init__(self, seed: int, folder: Path, plan: Plan | None = None, own: OwnJobs | None = None) -> None:
        self.dice = Random(seed)
        self.plan = plan or Plan.of(self.dice)
        self.outcome = Outcome(seed)
        self.loop = VirtualLoop()
        self.clock = SimClock(self.loop)
        self.ground = Ground()
        weather = Weather(loss=self.dice.choice((0.0, 0.01, 0.05)), doubling=self.dice.choice((0.0, 0.05)))
        self.network = Network(self.loop, self.dice, weather)
        self.control = Control("control", folder / "control", loop=self.loop, network=self.network, clock=self.clock)
        self.control.honest_disk = self.plan.honest_disk
        self._folder = folder
        self.machine = self._machine("agent")
        self.zombies: list[Machine] = []
        """Machines that were given up and replaced, and that are still there."""
        self.own = own or OwnJobs()
        self.whims = Random(f"limits of {seed}")
        self.jobs = self.own.definitions(self.dice) or [
            limited(self.whims, definition(self.dice, n)) for n in range(JOBS)
        ]
        self.acknowledged: dict[str, int] = {}
        self.submitted = 0
        self._crowds = 0
        self.cancelled: set[int] = set()
        self.paused: set[int] = set()
        """Runs whose pause was acknowledged and whose resume was not asked for."""
        self.healed = False
        self.doubles: list[str] = []
        self.refused: set[int] = set()
        """Runs of which a restart was refused; the network may bring that request a second time, when it is granted."""

    def _machine(self, address: str) -> Machine:
        return Machine(
            "agent",
            self._folder / address,
            self.plan.slots,
            loop=self.loop,
            network=self.network,
            clock=self.clock,
            ground=self.ground,
            address=address,
        )

    def reach(self, address: str) -> tuple[Process, AgentCalls] | None:
        """Who answers at this address."""
        for machine in (self.machine, *self.zombies):
            if machine.address == address:
                return machine.reach()
        return None

    # Fate

    def fault(self) -> Fault:
        """The fault port of every simulated process: at any named point it may die."""

        def point(name: str, /) -> None:
            process = current()
            if process is None or not process.alive:
                raise Killed(name)
            if not self.healed and self.dice.random() < self.plan.point_rate:
                self.note("point")
                process.kill()
                self.network.died(process)
                self.loop.call_soon(self._bury, process)
                raise Killed(name)

        return point

    def note(self, kind: str) -> None:
        """A fault happened."""
        self.outcome.faults += 1
        self.outcome.kinds[kind] = self.outcome.kinds.get(kind, 0) + 1

    def _bury(self, process: Process) -> None:
        if process is self.control.process:
            self.control.kill()
        for machine in (self.machine, *self.zombies):
            if process is machine.process:
                machine.kill()

    async def supervise(self) -> None:
        """``headrace up``: starts whatever is dead, after a moment."""
        while True:
            if self.control.process is None or not self.control.process.alive:
                self.control.kill()
                await asyncio.sleep(self.dice.uniform(0.05, 2.0))
                if self.control.lives > LIVES_MOST:
                    self.loop.stuck = f"control has begun {LIVES_MOST} times and does not stay up"
                await self._start_control()
            machine = self.machine
            if machine.process is None or not machine.process.alive:
                machine.kill()
                await asyncio.sleep(self.dice.uniform(0.05, 1.0))
                if machine is self.machine:
                    machine.start(self.dice, self.fault(), self.control)
            await asyncio.sleep(0.25)

    async def _start_control(self) -> None:
        await self.control.start(self.dice, self.fault(), self.reach)

    async def fate(self) -> None:
        """Kill, cut, split, stall and set clocks, at random instants."""
        kinds = ("control", "agent", "both", "power", "split", "stall", "clock", "control_long", "zombie")
        for _ in range(self.plan.faults):
            await asyncio.sleep(self.dice.uniform(0.2, 2 * self.plan.span_s / self.plan.faults))
            kind = self.dice.choice(kinds)
            self.note(kind)
            await self._strike(kind)

    async def _strike(self, kind: str) -> None:
        if kind in ("control", "both", "control_long"):
            self.control.kill()
        if kind in ("agent", "both"):
            self.machine.kill()
        if kind == "power":
            self.outcome.lost_writes += self.control.power_cut(self.dice)
            for machine in (self.machine, *self.zombies):
                machine.power_cut(self.dice)
        if kind == "split":
            self.network.split = True
            await asyncio.sleep(self.dice.uniform(0.5, 10))
            self.network.split = False
        if kind == "stall":
            victim = self.dice.choice((self.control.process, self.machine.process))
            if victim is not None:
                victim.stalled_until = self.loop.time() + self.dice.uniform(0.5, 8)
        if kind == "clock":
            self.clock.offset += self.dice.choice((-3_600_000_000, -500_000, 500_000, 3_600_000_000))
        if kind == "zombie":
            await self._replace_machine()

    async def _replace_machine(self) -> None:
        """The agent's machine hangs and is given up: another takes its name and its work. Then the old one comes back,
        with outcomes of attempts that were lost and begun again meanwhile; and dies at last.
        """
        old = self.machine
        self.machine = self._machine(f"agent-{self.outcome.faults}")
        self.zombies.append(old)
        if old.process is not None:
            old.process.stalled_until = self.loop.time() + self.dice.uniform(0.2, 4)
        self.machine.start(self.dice, self.fault(), self.control)
        await asyncio.sleep(self.dice.uniform(2, 8))
        old.kill()
        self.zombies.remove(old)

    # Users

    async def user(self, number: int) -> None:
        """Submits, doubts, repeats, cancels, pauses, abandons; until enough was submitted."""
        dice = Random(self.dice.random())
        n = 0
        while self.submitted < self.plan.tasks:
            n += 1
            job = dice.choice(self.jobs)
            self.submitted += weight(job)
            await asyncio.sleep(dice.uniform(0, USERS * self.plan.span_s / 12))
            key, times = f"user-{number}-{n}", self._times(dice)
            params = self.own.given(job) if self.own.jobs else params_of(dice, job)
            run = await self._submit(key, partial(self._make, key, job, times, params))
            await self._verbs(dice, run)
            if dice.random() < 0.3:
                await self._restart(f"again-{number}-{n}", dice, run)

    def _times(self, dice: Random) -> InputMore | None:
        """Some runs are for later, some may come too late."""
        if dice.random() > 0.15:
            return None
        now = self.clock.now()
        begin = now + int(dice.uniform(0, 4e6)) if dice.random() < 0.6 else 0
        return InputMore(begin, now + int(dice.uniform(1e6, 8e6)) if dice.random() < 0.6 else 0)

    async def _restart(self, key: str, dice: Random, run: int) -> None:
        """Go on from a run, if it has ended by then and not succeeded."""
        await asyncio.sleep(dice.uniform(0, 3))
        try:
            await self._submit(key, partial(self._go_on, key, run))
        except Refused:
            self.refused.add(run)

    async def _submit(self, key: str, make: Callable[[], Awaitable[int]]) -> int:
        while True:
            try:
                run: int = await self._ask(make)
            except (LinkError, Busy):
                await asyncio.sleep(0.1)
                continue
            before = self.acknowledged.setdefault(key, run)
            if before != run:
                self.doubles.append(f"{key} was answered with run {before} and with run {run}")
            if self.dice.random() > 0.15:
                return run

    async def _save(self, jobs: Sequence[JobDefinition]) -> None:
        """These jobs are saved before anything else, as often as that has to be asked."""
        for job in jobs:
            while True:
                try:
                    await self._ask(partial(self._put, job))
                    break
                except (LinkError, Busy):
                    await asyncio.sleep(0.1)

    async def _put(self, job: JobDefinition) -> None:
        node = self.control.node
        if node is None:
            raise LinkError("down")
        put = PutJob(job, await node.ledger.document(job))
        await node.ledger.change(put, Origin("user", "sim"))

    async def _make(self, key: str, job: JobDefinition, times: InputMore | None, params: bytes) -> int:
        node = self.control.node
        if node is None:
            raise LinkError("down")
        graph = await node.ledger.keep(job)
        run = await node.ids.take()
        given = RunInput(run, graph, job.name, None, self.clock.now(), params, more=times)

        def reply(results: list[Result]) -> Reply:
            return Reply(201, f"/runs/{run}", encode_body(run))

        answer = AnswerKey("sim", key, key.encode(), reply)
        result = await node.ledger.ask(Submit(given), Origin("user", "sim"), answer=answer)
        if result.answer is not None:
            return int(json.decode(result.answer.body)["id"])
        return run

    async def _go_on(self, key: str, old: int) -> int:
        """Make the run that goes on from an ended one."""
        node = self.control.node
        if node is None:
            raise LinkError("down")
        row = await node.store.reader.run(old)
        if row is None or row.cell.state not in RUN_FINAL:
            raise Refused("it has not ended")
        known = await node.graphs.load(row.cell.graph)
        found, cells = await takeover(node.store.reader, old, known.graph, known.graph, "failed", same_params=True)
        run = await node.ids.take()
        more = InputMore(restarted_from=old, since="failed", groups=tuple(found.groups.items()))
        given = RunInput(run, row.cell.graph, row.input.job, None, self.clock.now(), row.input.params, more=more)
        submit = await submit_of(node.store.reader, given, found, cells)
        answer = AnswerKey("sim", key, key.encode(), lambda _: Reply(201, f"/runs/{run}", encode_body(run)))
        results = await node.ledger.ask_all([Restarted(old, run), submit], Origin("user", "sim"), answer=answer)
        kept = results[0].answer
        return run if kept is None else int(json.decode(kept.body)["id"])

    async def _verbs(self, dice: Random, run: int) -> None:
        """What a user does with a run of theirs: mostly nothing."""
        what = dice.random()
        if what >= 0.45:
            return
        await asyncio.sleep(dice.uniform(0, 1.5))
        if what < 0.16:
            await self.cancel(run)
        elif what < 0.22:
            await self.ask(Stop(run, "enough"))
        elif what < 0.27:
            await self.ask(Abandon(run, "nobody knows what it does"))
        elif await self.ask(Pause(run, "not now")):
            self.paused.add(run)
            await asyncio.sleep(dice.uniform(0, 3))
            if dice.random() < 0.6:
                await self.resume(run)

    async def cancel(self, run: int) -> None:
        """Ask until somebody answers."""
        if await self.ask(Cancel(run, "changed my mind")):
            self.cancelled.add(run)

    async def resume(self, run: int) -> None:
        """Go on; a run that was paused and has not ended since must still be paused, whatever died meanwhile."""
        self.paused.discard(run)
        await self.ask(Resume(run))

    async def ask(self, verb: Verb) -> bool:
        """Ask until somebody answers; False when it was refused, or nobody answers for long."""
        return await self._insist(partial(self._ask_once, verb))

    async def tell(self, change: NamedChange) -> bool:
        """The same for a change of a named thing."""
        return await self._insist(partial(self._tell_once, change))

    async def _insist(self, work: Callable[[], Awaitable[None]]) -> bool:
        for _ in range(200):
            try:
                await self._ask(work)
            except (LinkError, Busy):
                await asyncio.sleep(0.2)
                continue
            except (Refused, NotFound):
                return False
            return True
        return False

    async def _tell_once(self, change: NamedChange) -> None:
        node = self.control.node
        if node is None:
            raise LinkError("down")
        await node.ledger.change(change, Origin("user", "sim"))

    async def _ask_once(self, verb: Verb) -> None:
        node = self.control.node
        if node is None:
            raise LinkError("down")
        await node.ledger.ask(verb, Origin("user", "sim"))

    async def _change_limits(self) -> None:
        pause = 2 * self.plan.span_s / LIMITS_CHANGED
        await change_limits(self.whims, self.tell, pause_s=pause, over=lambda: self.submitted >= self.plan.tasks)

    async def _ask(self, work: Any) -> Any:
        process = self.control.process
        if process is None or not process.alive or self.control.links is None:
            await asyncio.sleep(0.05)
            raise LinkError("connection refused")
        return await self.network.call(process, work, repeatable=False)

    # The whole

    async def live(self) -> asyncio.Task[None]:
        """Everybody lives and suffers until the faults are over. Gives the supervisor, who goes on."""
        await self._start_control()
        self.machine.start(self.dice, self.fault(), self.control)
        supervisor = self.loop.create_task(self.supervise())
        await self._save(leaves())
        users = [self.loop.create_task(self.user(n)) for n in range(USERS)]
        users.append(self.loop.create_task(self._change_limits()))
        fate = self.loop.create_task(self.fate())
        await asyncio.gather(fate, *users)
        self.healed = True
        self.network.heal()
        return supervisor

    async def go_on(self) -> None:
        """Users of the healed world submit once more what came to too little."""
        self.submitted = self.plan.tasks // 2
        self._crowds += 1
        await asyncio.gather(*[self.user(USERS * self._crowds + n) for n in range(USERS)])


__all__ = ["START", "Outcome", "Plan", "World"]
