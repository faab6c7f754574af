"""The one way to change state: waiting changes are taken as a group, loaded, decided, written, committed once.

Load, decide and write run on the loop's own thread, only COMMIT apart. Nobody is told of success before the commit.
Never decides a rule itself (that is core) and never calls an agent. Made by ``control.app``; called by API and loops.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Protocol

from msgspec import structs

from headrace.control.aside import aside
from headrace.control.changes.jobs import KeepDocument, classes_of, document_of
from headrace.control.changes.named import NamedChange
from headrace.control.changes.result import AnswerKey, Result
from headrace.control.delivery import Delivery
from headrace.control.failures import Failures
from headrace.control.graphs import Graphs
from headrace.control.group import Bounds, Group
from headrace.control.ids import Ids
from headrace.control.lists import Lists
from headrace.control.metrics import Counters
from headrace.control.recording import Recorder
from headrace.control.unit import Answered, Heard, Unit
from headrace.control.waiting import ROWS_A_CHANGE, SMALL, Waiting, weighty
from headrace.core.graph import compile as compile_job
from headrace.core.nodes import Graph
from headrace.core.work import Command, Offer, Working
from headrace.model.cells import ASIDE_MAX, INLINE_MAX, RunCell, Value
from headrace.model.changes import SYSTEM, Change, Origin, Settle
from headrace.model.definition import JobDefinition
from headrace.model.errors import Busy, HeadraceError, StoreAway, StoreError, UnknownOutcome
from headrace.model.ports import Clock, Dice, Fault, no_fault
from headrace.store.port import Store, Writer
from headrace.store.rows import Batch, LogSegment

COMMITS_BLOCK = 65_536
GRAPHS_BLOCK = 64
FOLLOWING = 1 / 3
"""The part of a group's time after which follow-ups wait for the next one: what is decided is still to be written."""

TRIES_MAX = 20
"""So often work of our own (feeds, follow-ups) is tried again while the store is busy."""

AWAY_MAX_S = 0.5
"""The longest pause between two tries to reach a store that is away."""

log = logging.getLogger(__name__)


class Room(Protocol):
    """What the ledger needs of ``control.placement``: who can take work now. Asked at the start of each group."""

    @property
    def waiting(self) -> frozenset[int]: ...

    def offers(self) -> list[Offer]: ...


class Ledger:
    """``run`` works the queue off until it is cancelled; ``ask`` and its kin wait for their commit."""

    def __init__(
        self,
        store: Store,
        graphs: Graphs,
        *,
        clock: Clock,
        dice: Dice,
        room: Room,
        on_commands: Callable[[list[Command]], None],
        on_doubt: Callable[[], None] = lambda: None,
        on_commit: Callable[[Batch, Mapping[int, RunCell]], None] = lambda _batch, _runs: None,
        fault: Fault = no_fault,
        bounds: Bounds = Bounds(),  # noqa: B008  frozen
        worked: Callable[[], float] | None = None,
    ) -> None:
        self.graphs = graphs
        self.counters = Counters()
        self._failures = Failures()
        self._store = store
        self._clock = clock
        self._worked = worked
        self._dice = dice
        self._room = room
        self._on_commands = on_commands
        self._on_doubt = on_doubt
        self._on_commit = on_commit
        self._away = 0
        self._refused_at: float | None = None
        self._fault = fault
        self.node = 0
        """The number of this life of a control, which commits name; known before the first."""
        self.place = ""
        """Where runs are found, as ``${run.url}`` says it; known before the first."""
        self._bounds = bounds
        self._lists = Lists()
        self._queue = Waiting(bounds)
        self._woken = asyncio.Event()
        self._commits = Ids(store, "commit", COMMITS_BLOCK)
        self._graph_ids = Ids(store, "graph", GRAPHS_BLOCK)
        self._documents: dict[bytes, int] = {}
        self.limit_keys: dict[str, str] = {}
        """Keys of limits by name, as far as this process has met them: claims look themselves."""
        self._last_now = 0
        self._deciding = False
        self._moved_at = clock.monotonic()

    async def ask(
        self, change: Change, origin: Origin, *, answer: AnswerKey | None = None, segments: Sequence[LogSegment] = ()
    ) -> Result:
        """Decide and commit one change, and with it these pieces of logs. Raises what refused it; UnknownOutcome when nobody can say what became of it."""
        if isinstance(change, Settle):
            (change,) = await self._stowed((change,))
        unit = Unit((change,), origin, self._future(), atomic=True, answer=answer, segments=segments)
        found = (await self._enqueue(unit))[0]
        if isinstance(found, HeadraceError):
            raise found
        return found

    async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[Answered]:
        """Each stands alone: per change its result, or the error that refused it."""
        if not changes:
            return []
        return await self._enqueue(Unit(await self._stowed(changes), origin, self._future()))

    async def ask_all(
        self,
        changes: Sequence[Change],
        origin: Origin,
        *,
        answer: AnswerKey | None = None,
        segments: Sequence[LogSegment] = (),
    ) -> list[Result]:
        """All of these in one commit, or none: raises the first refusal. With a kept answer: one result that has it."""
        if not changes:
            return []
        unit = Unit(changes, origin, self._future(), atomic=True, answer=answer, segments=segments)
        found = await self._enqueue(unit)
        return [result for result in found if isinstance(result, Result)]

    async def change(self, named: NamedChange, origin: Origin, *, answer: AnswerKey | None = None) -> Result:
        """Decide and commit a change about a named thing (``control.changes``); ``Result.value`` is what it gives."""
        found = await self._enqueue(Unit((), origin, self._future(), named=named, answer=answer))
        if isinstance(found[0], HeadraceError):
            raise found[0]
        return found[0]

    async def deliver(self, delivery: Delivery) -> list[Answered]:
        """Apply what a feed told, its cursor in the same commit. What cannot be applied is recorded as rejected.

        Who is cancelled meanwhile is told of it when the group is over that has the delivery.
        """
        changes: Sequence[Change] = [*delivery.started, *await self._stowed(delivery.settles)]
        origin = Origin(f"agent:{delivery.name}", "link")
        future = Heard(loop=asyncio.get_running_loop())
        return await self._enqueue(Unit(changes, origin, future, delivery=delivery))

    async def receive(self, changes: Sequence[Change], seqs: Sequence[int], origin: Origin) -> list[Answered]:
        """Apply messages of the outbox, each with its row (``seqs``), which goes in the same commit.

        A message that somebody else has delivered meanwhile changes nothing. One that is refused is told as well, but
        for a ``Submit``: its row stays, so that whoever asked for that run can be told why there is none.
        """
        if not changes:
            return []
        return await self._enqueue(Unit(await self._stowed(changes), origin, self._future(), seqs=seqs))

    async def keep(self, definition: JobDefinition, origin: Origin = SYSTEM) -> int:
        """The graph number of a definition's document, which is kept from now on."""
        digest, body = document_of(definition)
        known = self._documents.get(digest)
        if known is not None and self.graphs.get(known) is not None:
            return known
        compiled = await aside(len(body), partial(compile_job, definition))
        graph: int = (await self.change(await self._keeping(compiled, digest, body), origin)).value
        self.graphs.put(graph, definition, compiled, size=len(body))
        if len(self._documents) > 4096:
            self._documents.clear()
        self._documents[digest] = graph
        return graph

    async def document(self, definition: JobDefinition) -> KeepDocument:
        """The change that keeps a definition's document; part of ``PutJob``."""
        digest, body = document_of(definition)
        compiled = await aside(len(body), partial(compile_job, definition))
        kept = await self._keeping(compiled, digest, body)
        # Nobody else is given this number: if it comes to nothing, nobody asks for it either.
        self.graphs.put(kept.graph, definition, compiled, size=len(body))
        return kept

    async def _keeping(self, graph: Graph, digest: bytes, body: bytes) -> KeepDocument:
        number = self._documents.get(digest) or await self._graph_ids.take()
        return KeepDocument(number, digest, body, classes_of(graph), graph.name if graph.gate is not None else "")

    @property
    def idle(self) -> bool:
        """Nothing waits and nothing is being decided: for an orderly stop."""
        return not self._queue and not self._deciding

    @property
    def stuck_for(self) -> float:
        """Seconds since the last commit while something waits; 0 when nothing does."""
        return 0.0 if self.idle else self._clock.monotonic() - self._moved_at

    @property
    def refused_for(self) -> float | None:
        """Seconds since the store last refused to write a change; None when it has written one since."""
        return None if self._refused_at is None else self._clock.monotonic() - self._refused_at

    async def run(self) -> None:
        """Group after group, for ever."""
        while True:
            await self._woken.wait()
            self._woken.clear()
            while self._queue:
                await self.run_once()
                if self._queue.long_next:
                    await self._breathe()

    async def run_once(self) -> None:
        """One group: take what waits, decide and commit it, answer."""
        units = self._queue.take()
        if units:
            self._deciding = True
            heard = [unit.future for unit in units if isinstance(unit.future, Heard)]
            for future in heard:
                future.hold()
            try:
                await self._attempt(units)
            finally:
                self._deciding = False
                for future in heard:
                    future.release()

    @staticmethod
    async def _breathe() -> None:
        """Two turns of the loop: who was answered writes it in the first, and its end sends it off. Who asked meanwhile is
        read at that end and stands in the queue after the second.
        """
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    def _future(self) -> asyncio.Future[list[Answered]]:
        return asyncio.get_running_loop().create_future()

    async def _enqueue(self, unit: Unit) -> list[Answered]:
        if not self._queue:
            self._moved_at = self._clock.monotonic()
        self._queue.put(unit)
        self._woken.set()
        if unit.future is None:
            return []
        return await unit.future

    async def _stowed(self, changes: Sequence[Change]) -> Sequence[Change]:
        """Results too large for a row become blobs first: a committed row never names bytes that are not there.

        Others come with their data at hand; core decides whether that stands in the cell or aside.
        """
        if not any(_is_large(change) for change in changes):
            return changes
        return [await self._stow(change) if isinstance(change, Settle) else change for change in changes]

    async def _stow(self, change: Settle) -> Settle:
        result, error = change.result, change.error
        if result is not None and result.data is not None and result.size > ASIDE_MAX:
            self._fault("ledger.before_blob")
            digest, size = await self._store.blobs.put(result.data)
            result = Value(size, "blob", None, digest, result.lines, result.count)
        return structs.replace(change, result=_at_hand(result), error=_at_hand(error))

    async def _attempt(self, units: list[Unit]) -> None:
        try:
            await self._commit(units)
        except UnknownOutcome as error:
            self.counters.unknown += 1
            log.error("nobody can say whether a group was committed: %s", error)
            for unit in units:
                unit.failed = error
                unit.resolve()
            # What was to follow that commit is in its rows, if anywhere: whoever keeps a picture of them reads it anew.
            self._on_doubt()
        except HeadraceError as error:
            await self._failed(units, error)

    async def _failed(self, units: list[Unit], error: HeadraceError) -> None:
        """The group did not happen. Alone each, so that one that the store cannot take does not fail the others."""
        for unit in units:
            unit.reset()
        if isinstance(error, StoreAway):
            await self._wait_for_store(units, error)
            return
        if len(units) > 1:
            for unit in units:
                await self._attempt([unit])
            return
        unit = units[0]
        unit.tries += 1
        if isinstance(error, Busy) and unit.ours and unit.tries < TRIES_MAX:
            await asyncio.sleep(0.05 * unit.tries)
            self._queue.put_back([unit])
            return
        log.error("a group could not be committed: %s", error)
        if isinstance(error, StoreError):
            self._refused_at = self._clock.monotonic()
        unit.failed = error
        unit.resolve()
        if unit.future is None:
            # Nobody would ask for these follow-ups again: they are in the rows, and whoever looks there finds them.
            self._on_doubt()

    async def _wait_for_store(self, units: list[Unit], error: StoreAway) -> None:
        """Nothing was written. All once more at once: that a line was cut is found out by using it. After that askers
        are told to come again, and what is our own waits until the store is back.
        """
        self._away += 1
        self.counters.away += 1
        if self._away > 1:
            for unit in units:
                if not unit.ours:
                    unit.failed = error
                    unit.resolve()
            units = [unit for unit in units if unit.ours]
            log.warning("the store is away: %s", error)
        self._queue.put_back(units)
        if self._away > 1:
            await asyncio.sleep(min(AWAY_MAX_S, 0.02 * 2 ** min(self._away, 10)))

    async def _commit(self, units: list[Unit]) -> None:
        writer, exactly = self._store.writer, weighty(units)
        commit = await self._commits.take(len(units) + (SMALL + 1 if exactly else 1))
        self._fault("ledger.before_load")
        await writer.begin()
        began, begun_at = self._spent(writer, exactly=exactly), self._clock.monotonic()
        try:
            group, recorder = self._group(commit)
            await group.round(units)
            until = began + self._bounds.seconds * FOLLOWING
            follows = await self._follow(group, until=until, exactly=exactly)
            if exactly:
                paused = self._spent(writer, exactly=True)
                await self._breathe()
                began += self._spent(writer, exactly=True) - paused
                if along := self._queue.take_along():
                    units += along
                    await group.round(along)
                    follows += await self._follow(group, until=until, exactly=True)
            self._fault("ledger.after_decide")
            if recorder.empty:
                await writer.rollback()
            else:
                batch = group.batch()
                await writer.write(batch, wait=False)
                if exactly or recorder.rows > ROWS_A_CHANGE * SMALL:
                    self._queue.adapt(units, recorder.rows, self._spent(writer, exactly=exactly) - began)
                self._fault("ledger.before_commit")
                await writer.commit()
        except BaseException:
            await writer.rollback()
            raise
        self._moved_at = self._clock.monotonic()
        self._away = 0
        if not recorder.empty:
            self._refused_at = None
        self._fault("ledger.after_commit")
        if not recorder.empty:
            self._on_commit(batch, group.runs)
        self._count(units, group, self._moved_at - begun_at)
        self._hand_on(units, group, follows)

    def _spent(self, writer: Writer, *, exactly: bool) -> float:
        """Seconds that deciding has taken so far. ``exactly``: of this thread's own CPU where that is known, which costs a
        system call: too much for a group of one change.
        """
        if exactly and self._worked is not None:
            return self._worked()
        return self._clock.monotonic() - writer.waited

    def _group(self, commit: int) -> tuple[Group, Recorder]:
        room = self._room
        working = Working(
            offers=room.offers(),
            waiting=room.waiting,
            incarnation=self._store.identity.incarnation,
            keys=self.limit_keys,
            place=self.place,
        )
        now = self._last_now = max(self._clock.now(), self._last_now)
        recorder = Recorder(now=now, node=self.node, commit=commit)
        group = Group(
            self._store.writer, self.graphs, working, recorder,
            dice=self._dice, bounds=self._bounds, lists=self._lists, now=now,
        )  # fmt: skip
        return group, recorder

    async def _follow(self, group: Group, *, until: float, exactly: bool) -> list[Unit]:
        """Decide follow-ups in this commit while the bounds allow it; the rest is to be queued after it.

        ``until``: so much may have been spent; a long chain of follow-ups must not keep others from their commit.
        """
        left: list[Unit] = []
        while follows := group.follows():
            units = [Unit(changes, origin, None) for origin, changes in follows.items()]
            if group.full() or self._spent(self._store.writer, exactly=exactly) >= until:
                left.extend(units)
                continue
            await group.round(units)
            left.extend(unit for unit in units if not unit.over)
        return left

    def _hand_on(self, units: list[Unit], group: Group, follows: list[Unit]) -> None:
        again = [unit for unit in units if not unit.over]
        self.counters.deferred += len(again)
        again += follows
        for unit in again:
            unit.settled()
        self._queue.put_back(again)
        if group.commands:
            self._on_commands(group.commands)
        if group.bad:
            self._failures.tell(group.bad)
        self._fault("ledger.before_answer")
        for unit in units:
            if unit.over:
                unit.resolve()

    def _count(self, units: list[Unit], group: Group, seconds: float) -> None:
        counters = self.counters
        changes = sum(unit.done - unit.began for unit in units)
        counters.groups += 1
        counters.changes += changes
        counters.refused += group.refused
        counters.stale += group.stale
        counters.submitted += group.submitted
        counters.settled += sum(len(unit.delivery.settles) for unit in units if unit.delivery is not None and unit.over)
        counters.sizes.add(changes)
        counters.seconds.add(seconds)


def _is_large(change: Change) -> bool:
    if not isinstance(change, Settle):
        return False
    result, error = change.result, change.error
    return (result is not None and result.size > INLINE_MAX) or (error is not None and error.size > INLINE_MAX)


def _at_hand(value: Value | None) -> Value | None:
    if value is None or value.data is None:
        return value
    return structs.replace(value, place="inline")
