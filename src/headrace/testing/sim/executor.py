"""Simulated work: attempts that take virtual time and end as their argv says. Nothing here is a real process.

``argv`` is ``("sim", how, milliseconds, …)``: how is ok | fail | flaky | stubborn | chatty | fanout. Every attempt that begins is noted
in the ``Ground``: the truth that the history checker compares the ledger with.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from headrace.agent.executors.port import Ending, Place, Report
from headrace.link.records import Assignment, AttemptName
from headrace.model.changes import OutcomeKind
from headrace.testing.sim.loop import Process, VirtualLoop

START = 1_700_000_000_000_000
"""Virtual time 0, in microseconds since 1970."""


class Ground:
    """What really happened on the machines: which attempts began, which are alive."""

    def __init__(self) -> None:
        self.began: dict[tuple[int, int, int, int], int] = {}
        self.since: dict[tuple[int, int, int, int], int] = {}
        self.alive: dict[tuple[int, int, int, int], Process] = {}
        self.printed: dict[tuple[int, int, int, int], list[bytes]] = {}
        self.twice: list[tuple[int, int, int, int]] = []

    def begin(self, name: tuple[int, int, int, int], owner: Process, now: int) -> None:
        """An attempt's process starts."""
        self.since[name] = now
        self.began[name] = self.began.get(name, 0) + 1
        if self.began[name] > 1:
            self.twice.append(name)
        self.alive[name] = owner

    def died(self, owner: Process) -> None:
        """The agent died: its guard kills what it had, before the next boot."""
        self.alive = {name: o for name, o in self.alive.items() if o is not owner}


class SimExecutor:
    """``Executor`` on virtual time."""

    def __init__(self, loop: VirtualLoop, process: Process, ground: Ground) -> None:
        self._loop = loop
        self._process = process
        self._ground = ground
        self._running: dict[AttemptName, tuple[Assignment, Report, int]] = {}

    def _now(self) -> int:
        return START + int(self._loop.time() * 1_000_000)

    def start_many(self, batch: Sequence[tuple[Assignment, Report, Place]]) -> None:
        for a, report, place in batch:
            self.start(a, report, place)

    def start(self, a: Assignment, report: Report, place: Place) -> None:
        now = self._now()
        self._ground.begin((a.run, a.no, a.index, a.epoch), self._process, now)
        self._running[a.name] = (a, report, now)
        report.started(now)
        how, took = a.argv[1], int(a.argv[2]) / 1000
        if how == "chatty":
            for n in range(8):
                self._loop.call_later(took * n / 8, self._say, a, b"line %d\n" % n)
        if how != "stubborn":
            self._loop.call_later(took, self._finish, a.name, how)

    def _say(self, a: Assignment, text: bytes) -> None:
        held = self._running.get(a.name)
        if held is not None:
            self._ground.printed.setdefault((a.run, a.no, a.index, a.epoch), []).append(text)
            held[1].log("stdout", text, at=self._now())

    def _finish(self, name: AttemptName, how: str) -> None:
        held = self._running.get(name)
        if held is None:
            return
        a, _, began = held
        bad = how == "fail" or (how == "flaky" and a.attempt < int(a.argv[3]))
        result = None
        if how == "fanout":
            result = msgspec.json.encode(list(range(int(a.argv[3]))))
        kind = OutcomeKind.failed if bad else OutcomeKind.succeeded
        code = 1 if bad else 0
        self._end(name, Ending(kind, began, self._now(), str(code), code, result=result))

    def _end(self, name: AttemptName, end: Ending) -> None:
        a, report, _ = self._running.pop(name)
        self._ground.alive.pop((a.run, a.no, a.index, a.epoch), None)
        report.ended(end)

    def ask(self, name: AttemptName, reason: str) -> None:
        held = self._running.get(name)
        if held is not None and held[0].argv[1] != "stubborn":
            self._loop.call_later(0.01, self._killed, name, 15)

    def kill(self, name: AttemptName) -> None:
        self._loop.call_later(0.001, self._killed, name, 9)

    def _killed(self, name: AttemptName, signal: int) -> None:
        held = self._running.get(name)
        if held is not None:
            end = Ending(OutcomeKind.failed, held[2], self._now(), f"signal:{signal}", signal=signal)
            self._end(name, end)

    async def close(self) -> None:
        for name in list(self._running):
            a, _, _ = self._running.pop(name)
            self._ground.alive.pop((a.run, a.no, a.index, a.epoch), None)


class SimPlace:
    """A place without files."""

    work = outputs = inputs = result = exit_status = ""

    def make(self) -> None:
        """Nothing to make."""

    def bring(self) -> None:
        """Nothing takes long."""

    def leave(self) -> None:
        """Nothing is being brought."""

    def harvest(self, globs: Sequence[str] = ()) -> tuple[()]:
        """Nothing is left."""
        return ()


class SimPlaces:
    """Places of the simulated agent."""

    def of(self, a: Assignment) -> Place:
        return SimPlace()

    def clear(self, place: Place) -> None:
        """Nothing to clear."""
