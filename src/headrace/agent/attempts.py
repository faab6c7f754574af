"""The attempts this agent holds: accept, queue, start, time out, stop, finish, tell.

Pure bookkeeping on the loop's thread: it runs nothing and opens nothing itself; executors, journal, spool and places
come in as ports, and the simulator runs this file unchanged. Called by ``agent.calls`` and, through ``Work``, by executors.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import structs

from headrace.agent.bringing import Bringing
from headrace.agent.executors.port import Ending, Executor, Place
from headrace.agent.feed import Outbox
from headrace.agent.journal import Journal, Leftover
from headrace.agent.recent import Recent
from headrace.agent.spool import Spool
from headrace.agent.work import GIVEN, OVER, QUEUED, RUNNING, Work
from headrace.link.records import Accepted, Assignment, AttemptName, Held, Outcome, Seal, StopOrder
from headrace.model.changes import OutcomeKind
from headrace.model.ports import Clock, Fault

HOLD_MAX = 20_000
"""Attempts an agent accepts at most before it answers ``full``."""

RESULT_INLINE = 262_144
"""Bytes of a result inside its outcome; a larger one goes aside by digest."""

TIMEOUT = "timeout"
"""The reason of an attempt that was ended because it took too long; its error says how long."""

_REFUSED = OutcomeKind.refused
ENDED = "the agent ended before it began"

_RECENT = 32_768
_EMPTY = Seal()


class Aside(Protocol):
    """Where large results go and input files are."""

    def put(self, data: bytes) -> str:
        """Keep these bytes; gives their digest."""

    def release(self, digests: Iterable[str]) -> None:
        """The outcome that named these is acknowledged."""

    def need(self, digests: Iterable[str]) -> None:
        """An attempt that is here has these as input: they stay."""

    def spare(self, digests: Iterable[str]) -> None:
        """It needs them no longer."""

    def keep_only(self, digests: Iterable[str]) -> None:
        """At start: everything else is nobody's."""


class Places(Protocol):
    """Folders of attempts."""

    def of(self, a: Assignment) -> Place:
        """The place of this attempt; nothing is made yet."""

    def clear(self, place: Place) -> None:
        """The attempt is over: its files go."""


class Attempts:
    """Everything this boot holds. ``depth``: how many attempts marked ``prefetch`` an executor of that kind takes per slot."""

    def __init__(
        self,
        boot: str,
        slots: int,
        executors: Mapping[str, Executor],
        *,
        journal: Journal,
        spool: Spool,
        places: Places,
        aside: Aside,
        clock: Clock,
        fault: Fault,
        depth: Mapping[str, int] | None = None,
        bell: Callable[[], None] = lambda: None,
    ) -> None:
        self.boot = boot
        self.slots = slots
        self.draining = False
        self._ending = False
        self.spool = spool
        self.outbox = Outbox(boot, acknowledged=self._acknowledged, bell=bell, queued=self._count_queued)
        self._executors = executors
        self._depth = depth or {}
        self._journal = journal
        self._places = places
        self._aside = aside
        self._clock = clock
        self._fault = fault
        self._loop = asyncio.get_running_loop()
        self._works: dict[tuple[int, int, int], Work] = {}
        self._queue: deque[Work] = deque()
        self._out = 0
        self._bringing = Bringing(self._brought)
        self._fresh: list[Outcome] = []
        self._flush_due = False
        self._recent = Recent(_RECENT)
        self._forbidden: dict[AttemptName, str] = {}
        self._holds: dict[int, tuple[str, ...]] = {}
        self._closed = False

    def recover(self, leftover: Leftover) -> None:
        """Offer what an earlier life finished, report as lost what it did not. Once, before anything else."""
        now = self._clock.now()
        outcomes = list(leftover.finished)
        for run, no, index, epoch, graph, attempt in leftover.unfinished:
            lost = Outcome(0, run, no, index, epoch, graph, attempt, OutcomeKind.lost, 0, now)
            outcomes.append(_with(lost, reason="agent restarted", seal=Seal(cut="agent restarted")))
        outcomes = [_with(o, m=m) for m, o in enumerate(outcomes, 1)]
        for o in outcomes:
            self._recent.add((o.run, o.no, o.index), o.epoch)
            digests = (*(f.digest for f in o.artifacts), *((o.result_digest,) if o.result_digest else ()))
            if digests:
                self._holds[o.m] = digests
        self._aside.keep_only(d for digests in self._holds.values() for d in digests)
        self.outbox.add(self._journal.begin(outcomes))

    # What control asks

    def accept(self, batch: Sequence[Assignment]) -> Accepted:
        """Take a batch; a second copy of an attempt is the first. Everything not refused is in the journal."""
        refused: list[tuple[AttemptName, str]] = []
        fresh: list[Work] = []
        for a in batch:
            why = self._admit(a, fresh)
            if why:
                refused.append((a.name, why))
        if fresh:
            self._fault("agent.before_journal_accept")
            try:
                self._journal.accepted([w.a for w in fresh])
            except OSError as e:
                return self._give_up(fresh, refused, f"the agent's journal cannot be written: {e.strerror or e}")
            self._fault("agent.after_journal_accept")
            if self._forbidden:
                fresh = [work for work in fresh if not self._is_forbidden(work)]
            self._queue.extend(work for work in fresh if work.phase is QUEUED)
            self._pump()
        return Accepted(refused, max(0, self.slots - self._out - len(self._queue)))

    def stop(self, order: StopOrder) -> None:
        """Ask, then kill; or fence; or take back what has not begun. Harmless when repeated."""
        for name, grace_ms in order.attempts:
            work = self._works.get((name.run, name.no, name.index))
            if work is None or work.name != name:
                if not order.take_back and not self._recent.over((name.run, name.no, name.index), name.epoch):
                    self._forbid(name, order.reason)
            elif order.fence:
                self._fence(work)
            elif work.phase is QUEUED:
                kind = OutcomeKind.refused if order.take_back else OutcomeKind.canceled
                self._never_began(work, kind, "taken back" if order.take_back else order.reason)
            elif not order.take_back:
                self._ask(work, OutcomeKind.canceled, order.reason, grace_ms)

    def held(self) -> Held:
        """What is here and not over, and what is over but not acknowledged."""
        finished = [AttemptName(*taken) for taken in self._journal.done_names()]
        return Held(self.boot, [w.name for w in self._works.values()], finished, self.spool.waiting())

    def drop_log(self, name: AttemptName) -> None:
        """Its log is stored elsewhere. Harmless for one that still runs: that log stays."""
        held = self._works.get((name.run, name.no, name.index))
        if held is None or held.name != name:
            self.spool.drop(name)

    @property
    def running(self) -> int:
        """Attempts an executor has."""
        return self._out

    @property
    def queued(self) -> int:
        """Attempts that wait for a slot."""
        return len(self._queue)

    def renote(self) -> None:
        """A new node listens: tell it again what is running."""
        for work in self._works.values():
            if work.phase is RUNNING:
                self.outbox.began(work)

    # What executors tell, through Work

    def began(self, work: Work) -> None:
        """It runs: its timeout counts from here."""
        if work.a.timeout_ms and work.asked is None:
            work.timer = self._loop.call_later(work.a.timeout_ms / 1000, self._time_out, work)
        self.outbox.began(work)

    def said(self, work: Work) -> None:
        """To be told with the next reading of the feed."""
        self.outbox.began(work)

    def ended(self, work: Work, end: Ending) -> None:
        """It is over. Whatever the disk says: it is told."""
        phase = work.phase
        seal = self._forget(work)
        if phase is not QUEUED:
            self._out -= 1
        if phase is RUNNING:
            self.outbox.ended(work)
        if not work.fenced:
            self._fresh.append(self._outcome(work, end, seal))
        elif end.artifacts:
            self._aside.release(f.digest for f in end.artifacts)
        if not self._flush_due:
            self._schedule_flush()

    def end(self) -> None:
        """End: from now on nothing begins. What never began is given back, so that it costs no attempt."""
        self.draining = self._ending = True
        while self._queue:
            work = self._queue.popleft()
            if work.phase is QUEUED:
                self._never_began(work, OutcomeKind.refused, ENDED)

    async def close(self) -> None:
        """Write what is finished; nothing is told any more."""
        await self._bringing.end()
        self._flush()
        self._closed = True
        self.outbox.close()
        for work in self._works.values():
            if work.timer is not None:
                work.timer.cancel()
        self._journal.close()

    # Inside

    def _admit(self, a: Assignment, fresh: list[Work]) -> str:
        key = (a.run, a.no, a.index)
        held = self._works.get(key)
        if held is not None:
            if a.epoch == held.a.epoch:
                return ""
            if a.epoch < held.a.epoch:
                return f"stale: epoch {held.a.epoch} is here"
        if self._recent.over(key, a.epoch):
            return "" if self._journal.has_done((*key, a.epoch)) else "stale: this attempt was already told as over"
        executor = self._executors.get(a.kind)
        if executor is None:
            return f"this agent does not run tasks of kind {a.kind!r}"
        if self.draining:
            return "draining"
        if len(self._works) >= HOLD_MAX:
            return "full"
        if held is not None:
            self._fence(held)
        work = self._works[key] = Work(self, a, executor, a.name)
        if a.inputs:
            self._aside.need(f.digest for f in a.inputs)
        fresh.append(work)
        return ""

    def _give_up(self, fresh: list[Work], refused: list[tuple[AttemptName, str]], why: str) -> Accepted:
        for work in fresh:
            if work.phase is QUEUED:
                self._forgotten(work, (work.a.run, work.a.no, work.a.index))
        return Accepted([*refused, *((w.name, why) for w in fresh)], 0)

    def _is_forbidden(self, work: Work) -> bool:
        """It was to be stopped before it came: it is over."""
        reason = self._forbidden.pop(work.name, None)
        if reason is not None:
            self._never_began(work, OutcomeKind.canceled, reason)
        return reason is not None

    def _count_queued(self) -> int:
        return len(self._queue)

    def _pump(self) -> None:
        """Hand over from the head of the queue as long as there is room."""
        if not self._queue or self._closed or self._ending:
            return
        self._hand_over()
        self.outbox.unqueued()

    def _hand_over(self) -> None:
        batches: dict[Executor, list[tuple[Assignment, Work, Place]]] = {}
        queue, depths, slots, place_of = self._queue, self._depth, self.slots, self._places.of
        while queue:
            work = queue[0]
            a = work.a
            if self._out >= (slots * depths.get(a.kind, 1) if a.prefetch else slots):
                break
            queue.popleft()
            if work.phase is not QUEUED:
                continue
            work.phase = GIVEN
            self._out += 1
            work.place = place = place_of(a)
            if a.inputs and self._bringing.begin(work):
                continue
            batch = batches.get(work.executor)
            if batch is None:
                batch = batches[work.executor] = []
            batch.append((a, work, place))
        for executor, batch in batches.items():
            self._fault("agent.before_start")
            executor.start_many(batch)

    def _brought(self, work: Work) -> None:
        """Its input files are in place, unless it is to end: nothing of it has begun."""
        assert work.place is not None
        if work.asked is not None or work.fenced:
            self._never_began(work, work.asked or OutcomeKind.canceled, work.reason or "")
        elif self._ending:
            self._never_began(work, OutcomeKind.refused, ENDED)
        else:
            self._fault("agent.before_start")
            work.executor.start_many([(work.a, work, work.place)])

    def _ask(self, work: Work, kind: OutcomeKind, reason: str, grace_ms: int, *, said: str = "") -> None:
        if work.over:
            return
        first = work.asked is None
        if first:
            work.asked, work.reason = kind, reason
        if self._bringing.leave(work):
            return
        if first and grace_ms > 0:
            work.executor.ask(work.name, said or reason)
        if work.over:
            return
        kill_at = min(self._loop.time() + grace_ms / 1000, work.kill_at)
        if work.timer is not None:
            work.timer.cancel()
            work.timer = None
        work.kill_at = kill_at
        if grace_ms > 0:
            work.timer = self._loop.call_at(kill_at, self._kill, work)
        else:
            self._kill(work)

    def _time_out(self, work: Work) -> None:
        said = f"ran longer than {work.a.timeout_ms} ms"
        self._ask(work, OutcomeKind.timeout, TIMEOUT, work.a.grace_ms, said=said)

    def _kill(self, work: Work) -> None:
        work.timer = None
        if not work.over:
            work.executor.kill(work.name)

    def _fence(self, work: Work) -> None:
        """Kill at once and say nothing: it is not control's any more."""
        work.fenced = True
        name = work.name
        self._journal.fenced((name.run, name.no, name.index, name.epoch))
        if work.phase is QUEUED:
            self._forget(work)
            return
        if not work.over and not self._bringing.leave(work):
            work.executor.kill(name)

    def _never_began(self, work: Work, kind: OutcomeKind, reason: str) -> None:
        now = self._clock.now()
        self.ended(work, Ending(kind, 0, now, reason=reason))

    def _forget(self, work: Work) -> Seal:
        work.phase = OVER
        if work.timer is not None:
            work.timer.cancel()
            work.timer = None
        a = work.a
        key = (a.run, a.no, a.index)
        self._forgotten(work, key)
        self._recent.add(key, a.epoch)
        if work.place is not None:
            self._places.clear(work.place)
        if work.log_ is None:
            return _EMPTY
        if work.fenced:
            self.spool.drop(work.name)
            return _EMPTY
        return self.spool.close(work.log_)

    def _forgotten(self, work: Work, key: tuple[int, int, int]) -> None:
        if self._works.get(key) is work:
            del self._works[key]
        if work.a.inputs:
            self._aside.spare(f.digest for f in work.a.inputs)

    def _outcome(self, work: Work, end: Ending, seal: Seal) -> Outcome:
        a = work.a
        kind, reason = end.kind, end.reason
        if work.asked is not None and kind is not _REFUSED:
            kind, reason = work.asked, work.reason
        result, digest, size = end.result, end.result_digest, end.result_size
        if result is not None:
            size = len(result)
            if size > RESULT_INLINE:
                try:
                    digest, result = self._aside.put(result), None
                except OSError as e:
                    return self._unkept(work, end, seal, f"its result could not be kept: {e.strerror or e}")
        m = self.outbox.last + len(self._fresh) + 1
        if digest or end.artifacts:
            self._holds[m] = (*(f.digest for f in end.artifacts), *((digest,) if digest else ()))
        return Outcome(
            m, a.run, a.no, a.index, a.epoch, a.graph, a.attempt, kind, end.started_at, end.ended_at,
            end.exit_status, end.exit_code, end.signal, result, digest, size, end.result_lines, end.result_count,
            end.error, end.error_types, end.stop_retry, end.skip, end.retry_after, reason, end.artifacts, seal,
            end.progress if work.said_ is None else work.told(),
        )  # fmt: skip

    def _unkept(self, work: Work, end: Ending, seal: Seal, why: str) -> Outcome:
        """The outcome without its result: what the next tasks wait for is not there, so a success is none."""
        left = structs.replace(end, result=None, result_lines=False, result_count=-1, reason=end.reason or why)
        if end.kind is OutcomeKind.succeeded:
            left = structs.replace(left, kind=OutcomeKind.failed, exit_status="error", skip=False, reason=why)
        return self._outcome(work, left, seal)

    def _schedule_flush(self) -> None:
        if not self._flush_due and not self._closed:
            self._flush_due = True
            self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        """Number, journal and offer what finished in this turn of the loop; then fill the slots it freed."""
        self._flush_due = False
        if self._closed:
            return
        if self._fresh:
            fresh, self._fresh = self._fresh, []
            self._fault("agent.before_journal_outcome")
            encoded = self._journal.finished(fresh)
            self._fault("agent.after_journal_outcome")
            self.outbox.add(encoded)
        self._pump()

    def _acknowledged(self, m: int) -> None:
        self._fault("agent.before_journal_acknowledged")
        self._journal.acknowledged(m)
        for known in [k for k in self._holds if k <= m]:
            self._aside.release(self._holds.pop(known))

    def _forbid(self, name: AttemptName, reason: str) -> None:
        if len(self._forbidden) >= 4096:
            del self._forbidden[next(iter(self._forbidden))]
        self._forbidden[name] = reason


def _with(o: Outcome, *, m: int | None = None, reason: str | None = None, seal: Seal | None = None) -> Outcome:
    """A copy with these fields; the rest as it is."""
    return Outcome(
        o.m if m is None else m, o.run, o.no, o.index, o.epoch, o.graph, o.attempt, o.kind, o.started_at, o.ended_at,
        o.exit_status, o.exit_code, o.signal, o.result, o.result_digest, o.result_size, o.result_lines, o.result_count,
        o.error, o.error_types, o.stop_retry, o.skip, o.retry_after, o.reason if reason is None else reason,
        o.artifacts, o.seal if seal is None else seal, o.progress,
    )  # fmt: skip
