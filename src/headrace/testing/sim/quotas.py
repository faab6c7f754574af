"""What the history checker says of named limits and of how many runs a job may have at once: I18.

Judges by committed history alone, commit after commit, and by what the simulated users had asked for; shares no rule with
core. A commit is one instant: what it gives back is free for what it gives out. Where a commit changes a limit and
gives out work that takes from it, nobody can see which came first, so each way is good. Called by
``testing.sim.checker``; pure but for ``check_quotas``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from msgspec import UNSET, Struct, field

from headrace.model.cells import TaskCell
from headrace.model.definition import JobDefinition
from headrace.model.facts import RunEnded, TaskDispatched
from headrace.model.ids import TaskKey
from headrace.model.limits import LIMIT, Limit, LimitKey, Take, gate_name
from headrace.model.states import RUN_FINAL, TASK_LEASED
from headrace.store.port import Store
from headrace.store.rows import Entity, HistoryAt, HistoryRow, Place, RunRow

PAGE = 500
TOO_MANY = 10
"""So many sentences are enough."""


class Given(Struct, frozen=True):
    """What was asked for with a run."""

    job: JobDefinition
    params: dict[str, Any]


class Committed(Struct, frozen=True):
    """What one commit wrote: history rows, and limits as they are from then on (None: deleted)."""

    rows: Sequence[HistoryRow] = ()
    limits: Sequence[tuple[str, Limit | None]] = ()


class Bucket(Struct):
    """What starts have poured in and time has let out, since the rate is what it is."""

    era: int = 0
    at: int = 0
    level: float = 0.0


class Quotas(Struct):
    """What is out, as far as the commits have come."""

    given: Mapping[int, Given]
    broken: list[str] = field(default_factory=list)
    starts: int = 0
    """Attempts that took from limits."""
    in_force: dict[str, Limit | None] = field(default_factory=dict)
    eras: dict[str, int] = field(default_factory=dict)
    """How often each limit's rate has become another one."""
    out: dict[TaskKey, tuple[Take, ...]] = field(default_factory=dict)
    buckets: dict[LimitKey, Bucket] = field(default_factory=dict)
    there: dict[LimitKey, set[int]] = field(default_factory=dict)
    """Runs of a job (by its key) that exist and have not ended."""
    begun: dict[LimitKey, set[int]] = field(default_factory=dict)
    """Those of them of which something has begun."""

    def committed(self, commit: Committed) -> None:
        """The next commit."""
        choices, changed = self._change(commit)
        starts = self._move(commit.rows)
        checked: dict[LimitKey, int | None] = {}
        for row, cell in starts:
            self._start(row, cell, choices, changed, checked)
        for (name, key), slots in checked.items():
            used = sum(units for takes in self.out.values() for n, k, units in takes if (n, k) == (name, key))
            if slots is not None and used > slots:
                self._say(f"{used} units of limit {name} for {key!r} are out, {slots} may be (at {commit.rows[0].at})")
        self._runs(commit.rows)

    def missing(self, what: str, commit: int) -> None:
        """A commit says that it wrote this, and it is not there: the store itself is broken."""
        self._say(f"commit {commit} wrote {what}, which is not there")

    def ended(self) -> None:
        """Everything has ended: nothing may be out."""
        for key, takes in self.out.items():
            if takes:
                self._say(f"task {key} still holds {takes}")
        for gate, runs in self.begun.items():
            if runs:
                self._say(f"runs {sorted(runs)} still count at {gate}")

    def _say(self, text: str) -> None:
        if len(self.broken) < TOO_MANY:
            self.broken.append(text)

    def _change(self, commit: Committed) -> tuple[dict[str, list[Limit | None]], set[str]]:
        """Every limit as it was at some moment of this commit; those whose rate became another one in it."""
        choices = {name: [limit] for name, limit in self.in_force.items()}
        changed: set[str] = set()
        for name, limit in commit.limits:
            before = self.in_force.get(name)
            if before is None or limit is None or (before.rate, before.burst) != (limit.rate, limit.burst):
                self.eras[name] = self.eras.get(name, 0) + 1
                changed.add(name)
            self.in_force[name] = limit
            choices.setdefault(name, [None]).append(limit)
        return choices, changed

    def _move(self, rows: Sequence[HistoryRow]) -> list[tuple[HistoryRow, TaskCell]]:
        """What is out after these rows; the attempts that they gave out."""
        starts = []
        for row in rows:
            cell = row.task_image
            if cell is None or cell.counts is not None:
                continue
            leased = cell.state in TASK_LEASED
            if leased and cell.more is not None and cell.more.takes:
                self.out[cell.key] = cell.more.takes
            else:
                self.out.pop(cell.key, None)
            if any(isinstance(fact, TaskDispatched) for fact in row.facts):
                starts.append((row, cell))
        return starts

    def _start(
        self,
        row: HistoryRow,
        cell: TaskCell,
        choices: Mapping[str, list[Limit | None]],
        changed: set[str],
        checked: dict[LimitKey, int | None],
    ) -> None:
        given = self.given[cell.run]
        asked = given.job.tasks[cell.no].limits
        takes = cell.more.takes if cell.more is not None else ()
        if {name: units for name, _, units in takes} != asked:
            self._say(f"task {cell.key} took {takes}, and was to take {asked}")
        self.starts += bool(takes)
        for name, key, units in takes:
            there = [limit for limit in choices.get(name, ()) if limit is not None]
            running = [limit for limit in there if not limit.paused]
            fitting = [limit for limit in running if value_of(limit.key, given.params, cell.index) == key]
            if not fitting:
                why = "is counted by another key" if running else "is paused" if there else "is not there"
                self._say(f"task {cell.key} was given out at {row.at}, and limit {name} ({key!r}) {why}")
                continue
            most = [limit.slots for limit in fitting]
            checked[name, key] = None if None in most else max(slots for slots in most if slots is not None)
            if name not in changed:
                self._pour(fitting[0], (name, key), units, row.at)

    def _pour(self, limit: Limit, of: LimitKey, units: int, at: int) -> None:
        """No window of time has more starts than the burst and what the rate allows in it: a bucket that leaks."""
        if not limit.rate:
            return
        bucket, era = self.buckets.setdefault(of, Bucket()), self.eras[of[0]]
        if bucket.era != era:
            bucket.era, bucket.at, bucket.level = era, at, 0.0
        count, per_s = limit.rate.removesuffix("s").split("/")
        leaked = int(count) * (at - bucket.at) / (int(per_s) * 1_000_000)
        bucket.level, bucket.at = max(0.0, bucket.level - leaked) + units, at
        if bucket.level > limit.burst + 1e-6:
            self._say(f"limit {of} let {units} begin at {at}, beyond {limit.rate} with a burst of {limit.burst}")

    def _runs(self, rows: Sequence[HistoryRow]) -> None:
        """Runs that come, begin and end."""
        new: set[LimitKey] = set()
        over: list[tuple[LimitKey, int]] = []
        for row in rows:
            given = self.given[row.run]
            gate = gate_of(given)
            if gate is None:
                continue
            there, begun = self.there.setdefault(gate, set()), self.begun.setdefault(gate, set())
            there.add(row.run)
            cell = row.task_image
            if cell is not None and cell.counts is None and cell.state in TASK_LEASED and row.run not in begun:
                begun.add(row.run)
                new.add(gate)
            if row.run_image is not None and row.run_image.state in RUN_FINAL:
                over.append((gate, row.run))
                self._why(row, given, gate)
        for gate, run in over:
            self.there[gate].discard(run)
            self.begun[gate].discard(run)
        for gate in new:
            most = _most(self.given[next(iter(self.begun[gate]))]) if self.begun[gate] else 0
            if len(self.begun[gate]) > most:
                self._say(f"runs {sorted(self.begun[gate])} of {gate} are there at once, {most} may be")

    def _why(self, row: HistoryRow, given: Given, gate: LimitKey) -> None:
        """What ends for others' sake had others there."""
        reasons = [fact.reason or "" for fact in row.facts if isinstance(fact, RunEnded)]
        rule, others = given.job.concurrency, self.there[gate] - {row.run}
        for reason in reasons:
            if reason.startswith("skipped:") and (rule is UNSET or len(others) < rule.max):
                self._say(f"run {row.run} was skipped at {row.at}, and only {sorted(others)} were there")


def _most(given: Given) -> int:
    rule = given.job.concurrency
    return 0 if rule is UNSET else rule.max


def gate_of(given: Given) -> LimitKey | None:
    """Among which runs this one counts."""
    rule = given.job.concurrency
    if rule is UNSET:
        return None
    return gate_name(given.job.name), value_of("" if rule.key is UNSET else rule.key, given.params, -1)


def value_of(key: str, params: Mapping[str, Any], index: int) -> str:
    """The value of a key that simulated people write: there are three."""
    if key == "${index}":
        return "" if index < 0 else str(index)
    if key == "${params.who}":
        return str(params.get("who", ""))
    if key:
        raise ValueError(f"nobody in a simulated world writes {key}")
    return ""


async def check_quotas(
    store: Store, rows: Mapping[HistoryAt, HistoryRow], runs: Sequence[RunRow], jobs: Mapping[str, JobDefinition]
) -> tuple[list[str], int]:
    """Hold the whole history of a world that has come to rest against its limits, then what the store says is in use.

    Gives what is broken, and how many attempts took from limits.
    """
    given = {run.cell.run: Given(jobs[run.input.job or ""], msgspec.json.decode(run.input.params)) for run in runs}
    found = Quotas(given)
    limits: dict[str, dict[int, Entity]] = {}
    place, more = Place(), True
    while more:
        page = await store.reader.log(place, PAGE)
        more = page.more and bool(page.entries)
        for entry in page.entries:
            place = entry.place
            changes = []
            for name, version in [(name, no) for kind, name, no in entry.touched.entities if kind == LIMIT]:
                if name not in limits:
                    versions = await store.reader.entity_versions((LIMIT, name), limit=PAGE)
                    limits[name] = {entity.version: entity for entity in versions}
                if version in limits[name]:
                    changes.append((name, _limit(limits[name][version])))
                else:
                    found.missing(f"version {version} of limit {name}", entry.commit)
            for key in entry.touched.history:
                if key not in rows:
                    found.missing(f"history {key}", entry.commit)
            found.committed(Committed([rows[key] for key in entry.touched.history if key in rows], changes))
    found.ended()
    kept = await _kept(store, list(limits), {gate_of(one) for one in given.values()} - {None})
    return [*found.broken, *kept], found.starts


def _limit(entity: Entity) -> Limit | None:
    return None if entity.deleted_at else msgspec.msgpack.decode(entity.image, type=Limit)


async def _kept(store: Store, limits: Sequence[str], gates: set[LimitKey | None]) -> list[str]:
    """What the store says is in use or waits, when nothing is."""
    names = sorted({*limits, *(gate[0] for gate in gates if gate is not None)})
    held = {name: await store.reader.holders(name) for name in names}
    broken = [f"{name} is still held by {holders}" for name, holders in held.items() if holders]
    if waiting := await store.reader.gates_waiting():
        broken.append(f"runs still wait at {waiting}")
    return broken
