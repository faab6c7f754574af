"""Runs Python tasks in warm runners: one package and one call at a time each, frames of up to 64 calls.

A runner that dies takes only the call it was making with it; what waited behind goes to another. Timeouts, grace and
slots are the agent's. Nothing of the user's is imported here. Called by ``agent.attempts``.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import socket
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from headrace.agent.executors.port import Ending, Place, Report
from headrace.agent.executors.seat import Held, Seat
from headrace.agent.executors.template import TemplateClient
from headrace.agent.packages import FilePackages
from headrace.agent.processes import kill_tree, send_group
from headrace.link.records import Assignment, AttemptName
from headrace.model.changes import OutcomeKind
from headrace.model.errors import HeadraceError
from headrace.model.ports import Clock
from headrace.runner.memory import make_memory
from headrace.runner.protocol import FRAME_CALLS, Fork

AHEAD = 2 * FRAME_CALLS
"""Calls a runner may hold: one frame is worked on while the next lies ready."""

CgroupOf = Callable[[int], str]


def no_cgroup(_: int) -> str:
    """Runners stay in the agent's own group."""
    return ""


class PythonExecutor:
    """``Executor`` for kind ``python``. ``env`` is the whole environment of runners; ``cgroup_of`` gives the
    ``cgroup.procs`` file that runner ``id`` shall enter, or an empty text.
    """

    def __init__(
        self,
        packages: FilePackages,
        scratch: str,
        env: Mapping[str, str],
        *,
        slots: int,
        clock: Clock,
        cgroup_of: CgroupOf = no_cgroup,
        owned: set[int] | None = None,
    ) -> None:
        self._packages = packages
        self._scratch = scratch
        shutil.rmtree(scratch, ignore_errors=True)
        self._slots = slots
        self._clock = clock
        self._cgroup_of = cgroup_of
        self._loop = asyncio.get_running_loop()
        self._template = TemplateClient(
            env, on_forked=self._forked, on_gone=self._gone, owned=set() if owned is None else owned
        )
        self._seats: dict[int, Seat] = {}
        self._queues: dict[str, deque[Held]] = {}
        self._held: dict[AttemptName, Held] = {}
        self._number = 0
        self._pump_due = False
        self._closed = False

    def warm(self) -> None:
        """Start the template now, so that the first attempt need not wait for it. Raises OSError."""
        self._template.start()

    @property
    def runners(self) -> list[int]:
        """Process ids of the runners there are."""
        return [seat.pid for seat in self._seats.values() if seat.pid]

    def start(self, a: Assignment, report: Report, place: Place) -> None:
        """See ``Executor``."""
        self.start_many([(a, report, place)])

    def start_many(self, batch: Sequence[tuple[Assignment, Report, Place]]) -> None:
        """See ``Executor``. On an idle agent they are handed on at once; else with what else this turn brings."""
        idle = not self._held
        package, queue = "", self._queues.get("")
        for a, report, place in batch:
            self._number += 1
            if queue is None or a.package != package:
                package = a.package
                if package and not self._packages.has(package):
                    reason, queue = f"this agent does not have the package {package[:12]}", None
                    report.ended(Ending(OutcomeKind.refused, 0, self._clock.now(), reason=reason))
                    continue
                queue = self._queues.setdefault(package, deque())
            name = a.name
            held = self._held[name] = Held(self._number, a, report, place, name)
            queue.append(held)
        if idle and not self._pump_due:
            self._pump()
        else:
            self._pump_soon()

    def ask(self, name: AttemptName, reason: str) -> None:
        """See ``Executor``: CancelledError or ``headrace.Canceled`` in the task."""
        held = self._held.get(name)
        if held is None or self._drop(held):
            return
        if held.seat is not None and held.id in held.seat.calls:
            held.asked = True
            held.seat.ask(held.id)
            self._template.signal(held.seat.id, signal.SIGTERM)

    def kill(self, name: AttemptName) -> None:
        """See ``Executor``: the runner dies with all it started; calls behind this one move to another runner."""
        held = self._held.get(name)
        if held is None or self._drop(held):
            return
        seat = held.seat
        if seat is None or held.id not in seat.calls:
            return
        held.doomed = True
        if seat.current == held.id:
            self._kill(seat)
        else:
            self.ask(name, "killed before it began")

    async def close(self) -> None:
        """See ``Executor``."""
        self._closed = True
        self._held.clear()
        self._queues.clear()
        for seat in list(self._seats.values()):
            seat.calls.clear()
            self._kill(seat)
        await self._loop.run_in_executor(None, lambda: None)
        self._template.close()
        for seat in self._seats.values():
            seat.close()
        self._seats.clear()

    def _drop(self, held: Held) -> bool:
        """End a call that no runner has yet."""
        queue = self._queues.get(held.a.package)
        if held.seat is not None or queue is None or held not in queue:
            return False
        queue.remove(held)
        self._never(held)
        return True

    def _never(self, held: Held) -> None:
        """It was asked to end and had not begun."""
        self._held.pop(held.name, None)
        held.report.ended(Ending(OutcomeKind.canceled, 0, self._clock.now(), reason="canceled before it began"))

    def _kill(self, seat: Seat) -> None:
        if seat.killed:
            return
        seat.killed = True
        if seat.pid and seat.code is None:
            kill_tree(seat.pid)
        self._template.signal(seat.id, signal.SIGKILL, group=True)

    # Giving calls to runners

    def _pump_soon(self) -> None:
        if not self._pump_due:
            self._pump_due = True
            self._loop.call_soon(self._pump)

    def _pump(self) -> None:
        self._pump_due = False
        if self._closed:
            return
        for package, queue in list(self._queues.items()):
            if not queue:
                del self._queues[package]
                continue
            seats = [s for s in self._seats.values() if s.package == package and not s.killed]
            self._seat_more(package, len(queue), seats)
            self._deal(queue, seats)

    def _seat_more(self, package: str, waiting: int, seats: list[Seat]) -> None:
        """Fork runners until each waiting call could have one, within the slots; idle ones of other packages go first."""
        wanted = waiting - sum(1 for s in seats if not s.calls)
        while wanted > 0:
            if len(self._seats) >= self._slots and not self._evict(package):
                return
            try:
                seats.append(self._new_seat(package))
            except (OSError, HeadraceError) as e:
                self._refuse(package, f"no runner could be started: {e}")
                return
            wanted -= 1

    def _evict(self, package: str) -> bool:
        for seat in self._seats.values():
            if seat.package != package and not seat.calls:
                self._forget(seat)
                return True
        return False

    def _forget(self, seat: Seat) -> None:
        """An idle runner that is no longer wanted."""
        del self._seats[seat.id]
        if seat.package:
            self._packages.unpin(seat.package)
        self._kill(seat)
        seat.close()

    def _new_seat(self, package: str) -> Seat:
        roots = self._packages.roots(package) if package else ()
        self._number += 1
        id = self._number
        scratch = os.path.join(self._scratch, f"{os.getpid()}-{id}")
        os.makedirs(scratch, mode=0o700, exist_ok=True)
        ours, theirs = socket.socketpair()
        memory = make_memory()
        with theirs:
            try:
                self._template.fork(Fork(id, roots, scratch, self._cgroup_of(id)), theirs, memory)
            except OSError:
                ours.close()
                os.close(memory)
                raise
        seat = self._seats[id] = Seat(id, package, ours, memory, scratch=scratch, owner=self, clock=self._clock)
        if package:
            self._packages.pin(package)
        return seat

    def _refuse(self, package: str, reason: str) -> None:
        for held in self._queues.pop(package, ()):
            self._held.pop(held.name, None)
            held.report.ended(Ending(OutcomeKind.refused, 0, self._clock.now(), reason=reason))

    def _deal(self, queue: deque[Held], seats: list[Seat]) -> None:
        """Idle runners first and evenly; behind a running call only what was marked for it."""
        for seat in sorted(seats, key=lambda s: len(s.calls)):
            if not queue:
                return
            share = max(1, min(FRAME_CALLS, -(-len(queue) // len(seats))))
            batch: list[Held] = []
            while queue and len(batch) < share and len(seat.calls) + len(batch) < AHEAD:
                if (seat.calls or batch) and not queue[0].a.prefetch:
                    break
                batch.append(queue.popleft())
            if batch:
                seat.give(batch)

    # What runners say

    def _forked(self, id: int, pid: int) -> None:
        seat = self._seats.get(id)
        if seat is not None:
            seat.pid = pid
            if seat.killed:
                self._template.signal(id, signal.SIGKILL, group=True)

    def changed(self) -> None:
        """See ``Owner``."""
        self._pump_soon()

    def over(self, held: Held) -> None:
        """See ``Owner``."""
        self._held.pop(held.name, None)

    def silent(self, held: Held) -> None:
        """See ``Owner``. From now on its timeout counts."""
        held.report.started(self._clock.now())

    def doomed(self, seat: Seat) -> None:
        """See ``Owner``."""
        self._kill(seat)

    def _gone(self, id: int, code: int) -> None:
        seat = self._seats.pop(id, None)
        if seat is None:
            return
        making = seat.gone(code)
        if seat.pid:
            send_group(seat.pid, signal.SIGKILL)
        if seat.package:
            self._packages.unpin(seat.package)
        left = list(seat.calls.values())
        seat.calls.clear()
        seat.close()
        hopeless = not making and not seat.heard
        if making or hopeless:
            for held in left[:1]:
                self._died(held, code)
            left = left[1:]
        for held in reversed(left):
            held.seat = None
            if held.doomed:
                self._died(held, code)
            elif held.asked:
                self._never(held)
            else:
                self._queues.setdefault(held.a.package, deque()).appendleft(held)
        self._pump_soon()

    def _died(self, held: Held, code: int) -> None:
        """The call that was being made when its runner ended."""
        self._held.pop(held.name, None)
        number = -code if code < 0 else None
        status = f"signal:{number}" if number else str(code)
        now = self._clock.now()
        ending = Ending(
            OutcomeKind.failed, now, now, status, None if number else code, number, reason="runner died"
        )  # fmt: skip
        held.report.ended(ending)
