"""One group of units: loaded by key, folded in memory, written in one batch. The decisions are core's.

A unit that is refused or raises has touched nothing and fails alone. Never commits, never answers: the ledger does.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from msgspec import Struct

from headrace.control.changes.agents import AGENT, advanced
from headrace.control.changes.named import Decided, Rows
from headrace.control.changes.result import ANSWERS_KEPT_US, KEY_USED, Result
from headrace.control.delivery import Delivery
from headrace.control.failures import Bad
from headrace.control.graphs import Graphs
from headrace.control.lists import Lists
from headrace.control.loading import Loader
from headrace.control.placement import Name
from headrace.control.recording import Recorder
from headrace.control.taking import Done, Taker
from headrace.control.unit import Answered, Unit
from headrace.core.plain import PAGE, settle_page
from headrace.core.reaching import reach
from headrace.core.stepping import step
from headrace.core.work import Command, Freed, Keys, StopAttempt, Working
from headrace.model.cells import RunCell
from headrace.model.changes import Change, Origin, Settle, Started, Submit
from headrace.model.errors import Conflict, HeadraceError, Refused, Stale
from headrace.model.ids import WHOLE
from headrace.model.limits import LIMIT
from headrace.model.ports import Dice
from headrace.store.port import Ahead, Writer
from headrace.store.rows import Answer, ArtifactRow, Batch, Entity, EntityKey

HELD_TWICE = 2
"""After this many groups in which another node held its rows, a unit waits for the lock."""

log = logging.getLogger(__name__)


class Bounds(Struct, frozen=True):
    """What one commit may hold."""

    rows: int = 2_000
    size: int = 4 * 1024 * 1024
    seconds: float = 0.010
    changes: int = 500


class Group:
    """The units of one commit."""

    def __init__(
        self,
        writer: Writer,
        graphs: Graphs,
        working: Working,
        recorder: Recorder,
        *,
        dice: Dice,
        bounds: Bounds,
        lists: Lists,
        now: int,
    ) -> None:
        self.refused = 0
        self.stale = 0
        self._writer = writer
        self._working = working
        self._loader = Loader(writer, graphs, lists, working)
        self._recorder = recorder
        self._taker = Taker(working, self._loader, recorder)
        self._rows = Rows()
        self._answers: dict[tuple[str, str], Answer] = {}
        self._untold: set[int] = set()
        self._dice = dice
        self._bounds = bounds
        self._now = now

    def full(self) -> bool:
        """Whether the bounds of a commit are reached."""
        recorder, bounds = self._recorder, self._bounds
        return recorder.rows >= bounds.rows or recorder.size >= bounds.size

    async def round(self, units: Sequence[Unit]) -> None:
        """Load for all of these, then decide them in order, until the bounds are reached."""
        changes = [change for unit in units for change in unit.changes[unit.done : unit.until]]
        wait = any(unit.waits >= HELD_TWICE for unit in units)
        if self._writer.far:
            self._writer.ahead(self._ahead(units, changes, wait=wait))
        await self._load_named(units)
        self._rise()
        reached: list[RunCell | None] = []
        if changes:
            await self._loader.limits(changes, self._rows, wait=wait)
            await self._loader.runs(changes, wait=wait)
            reached = await self._reach(changes)
            await self._loader.uses(changes)
            self._rise()
        place = 0
        first = True
        for unit in units:
            left = unit.until - unit.done
            if first or not self.full():
                await self._unit(unit, reached[place : place + left])
                first = False
            place += left

    def _rise(self) -> None:
        """Another node whose clock is ahead may have written what was loaded: time never falls within an entity."""
        if self._writer.floor > self._now:
            self._now = self._recorder.now = self._writer.floor

    @property
    def commands(self) -> list[Command]:
        """To be handed on after the commit."""
        return self._taker.commands

    def follows(self) -> dict[Origin, list[Change]]:
        """What follows from the decisions so far; each is given once."""
        follows, self._taker.follows = self._taker.follows, {}
        return follows

    @property
    def runs(self) -> Mapping[int, RunCell]:
        """The runs that the group is about, as they stand now."""
        return self._working.runs

    @property
    def bad(self) -> list[Bad]:
        """What ended badly."""
        return self._taker.bad

    @property
    def submitted(self) -> int:
        """Runs that this group makes."""
        return self._recorder.submitted

    def batch(self) -> Batch:
        """What to write."""
        return self._recorder.batch(self._working)

    async def _reach(self, changes: Sequence[Change]) -> list[RunCell | None]:
        """Load what the changes reach as things stand; the run cells for which that was asked."""
        runs, graphs = self._working.runs, self._loader.graphs
        wanted: list[tuple[RunCell | None, Keys]] = []
        reached: list[RunCell | None] = []
        for change in changes:
            run = runs.get(change.run)
            reached.append(run)
            if run is not None:
                known = graphs.get(run.graph) or await self._loader.known(change)
                if known is not None:
                    wanted.append((run, reach(known.graph, run, change)))
        await self._loader.keys(wanted)
        return reached

    def _ahead(self, units: Sequence[Unit], changes: Sequence[Change], *, wait: bool) -> Ahead:
        """What ``round`` will ask for, as far as the changes themselves name it."""
        entities, documents, answers = self._names(units)
        runs, tasks = self._loader.named(changes, wait=wait)
        return Ahead(entities, documents, answers, self._seqs(units), runs, tasks, wait)

    def _names(self, units: Sequence[Unit]) -> tuple[list[EntityKey], list[bytes], list[tuple[str, str]]]:
        """Entities, documents and kept answers that these units are about."""
        keys = {key for unit in units if unit.named is not None for key in unit.named.names()}
        keys |= {(AGENT, unit.delivery.name) for unit in units if unit.delivery is not None}
        digests = {digest for unit in units if unit.named is not None for digest in unit.named.digests()}
        answers = {(unit.answer.scope, unit.answer.key) for unit in units if unit.answer is not None}
        return sorted(keys - self._rows.entities.keys()), sorted(digests), sorted(answers)

    @staticmethod
    def _seqs(units: Sequence[Unit]) -> list[int]:
        return sorted(seq for unit in units if unit.seqs is not None for seq in unit.seqs)

    async def _load_named(self, units: Sequence[Unit]) -> None:
        keys, digests, answers = self._names(units)
        if keys:
            self._rows.entities.update(await self._writer.lock_entities(keys))
        if digests:
            self._rows.documents.update(await self._writer.load_documents(digests))
        if seqs := self._seqs(units):
            self._untold |= await self._writer.lock_outbox(seqs)
        if answers:
            self._answers.update(await self._writer.load_answers(answers))

    async def _unit(self, unit: Unit, reached: Sequence[RunCell | None]) -> None:
        if unit.answer is not None and unit.done == 0 and self._answered(unit):
            return
        held = self._loader.held
        if held and any(change.run in held for change in unit.changes[unit.done : unit.until]):
            unit.waits += 1
            if unit.atomic:
                return
            reached = unit.put_off(held, reached)
            if not reached:
                return
        try:
            if unit.named is not None:
                self._named(unit)
            elif unit.atomic and len(unit.changes) > 1:
                await self._all_or_none(unit, reached)
            elif unit.atomic:
                await self._one(unit, reached[0])
            else:
                await self._one_by_one(unit, reached)
        except HeadraceError as error:
            unit.failed = error
        except Exception as error:
            log.exception("a change raised; it alone fails")
            unit.failed = HeadraceError(f"the change could not be decided: {type(error).__name__}: {error}")
            unit.failed.__cause__ = error
        if unit.segments and unit.failed is None and unit.over:
            self._recorder.segments(unit.segments)
        if unit.failed is None and unit.answer is not None and unit.over:
            self._keep_answer(unit)

    def _answered(self, unit: Unit) -> bool:
        asked = unit.answer
        if asked is None:
            return False
        kept = self._answers.get((asked.scope, asked.key))
        if kept is None or kept.at < self._now - ANSWERS_KEPT_US:
            return False
        if kept.request != asked.request:
            unit.failed = Conflict(f"the idempotency key {asked.key!r} {KEY_USED}")
        else:
            unit.results = [Result(answer=kept)]
            unit.done = len(unit.changes)
        return True

    def _keep_answer(self, unit: Unit) -> None:
        asked = unit.answer
        if asked is None or any(isinstance(result, HeadraceError) for result in unit.results):
            return
        reply = asked.reply([result for result in unit.results if isinstance(result, Result)])
        kept = Answer(asked.scope, asked.key, asked.request, reply.status, reply.location, reply.body, self._now)
        self._answers[asked.scope, asked.key] = kept
        self._recorder.answer(kept)

    def _named(self, unit: Unit) -> None:
        if unit.named is None:
            return
        decided: Decided = unit.named.decide(self._rows, self._now)
        for entity in decided.entities:
            self._rows.entities[entity.kind, entity.name] = entity
            if entity.kind == LIMIT:
                self._loader.know(entity)
                self.commands.append(Freed(((entity.name, ""),)))
        for document in decided.documents:
            self._rows.documents[document.digest] = document.graph
        self._recorder.named(decided, unit.origin)
        unit.results = [Result(value=decided.value)]

    async def _all_or_none(self, unit: Unit, reached: Sequence[RunCell | None]) -> None:
        mark = self._taker.mark()
        done: list[Done] = []
        results = []
        try:
            for change, run in zip(unit.changes, reached, strict=True):
                decided = self._decide_at_once(change, run, unit.origin, done)
                if decided is None:
                    decided = await self._decide(change, run, unit.origin, done)
                results.append(decided)
        except BaseException:
            self._taker.forget(mark, done)
            raise
        unit.results.extend(results)
        unit.done = len(unit.changes)

    async def _one(self, unit: Unit, run: RunCell | None) -> None:
        """One change is all or none by itself: what is refused or raises in core has touched nothing."""
        decided = self._decide_at_once(unit.changes[0], run, unit.origin, None)
        if decided is None:
            decided = await self._decide(unit.changes[0], run, unit.origin, None)
        unit.results.append(decided)
        unit.done = 1

    async def _one_by_one(self, unit: Unit, reached: Sequence[RunCell | None]) -> None:
        files: Mapping[Name, Sequence[ArtifactRow]] = {}
        if unit.delivery is not None:
            self._cursor(unit.delivery)
            files = unit.delivery.artifacts
        begun = unit.done
        while unit.done < unit.until:
            change = unit.changes[unit.done]
            if unit.results and self.full() and change is not unit.changes[0]:
                break
            if type(change) is Settle and change.index != WHOLE and self._page(unit, change, files):
                continue
            answered = await self._alone(unit, change, reached[unit.done - begun])
            unit.results.append(answered)
            if isinstance(answered, HeadraceError):
                self._reject(unit, change, answered)
            elif files and isinstance(change, Settle):
                self._recorder.artifacts(files.get((change.run, change.no, change.index, change.epoch), ()))
            if unit.seqs is not None:
                self._heard(unit, change, answered)
            unit.done += 1
        if unit.delivery is not None:
            self._delivered(unit)

    async def _alone(self, unit: Unit, change: Change, run: RunCell | None) -> Answered:
        """One of several changes that stand alone; gives what refused it, or what it raised."""
        if unit.seqs is not None and unit.seq() not in self._untold:
            return Result()
        try:
            return self._decide_at_once(change, run, unit.origin, None) or await self._decide(
                change, run, unit.origin, None
            )
        except HeadraceError as error:
            return error
        except Exception as error:
            log.exception("a change raised; it alone fails")
            failed = HeadraceError(f"the change could not be decided: {type(error).__name__}: {error}")
            failed.__cause__ = error
            return failed

    def _page(self, unit: Unit, first: Settle, files: Mapping[Name, Sequence[ArtifactRow]]) -> bool:
        """Take the next changes together where several instances of one group have plainly succeeded."""
        run = self._working.runs.get(first.run)
        known = None if run is None else self._loader.graphs.get(run.graph)
        if run is None or known is None or unit.seqs is not None:
            return False
        most = min(PAGE, max(1, (self._bounds.rows - self._recorder.rows) // 2))
        changes = unit.changes[unit.done : min(unit.until, unit.done + most)]
        try:
            decided = settle_page(known.graph, self._working, run, changes)
        except Exception:
            log.exception("a page of outcomes raised; each is decided alone")
            return False
        if decided is None:
            return False
        self._taker.page(decided, unit.origin)
        count = len(decided.facts)
        unit.results.extend([Result(run.run, run, True)] * count)
        if files:
            for cell in decided.tasks[:count]:
                self._recorder.artifacts(files.get((cell.run, cell.no, cell.index, cell.epoch), ()))
        unit.done += count
        return True

    def _heard(self, unit: Unit, change: Change, answered: Answered) -> None:
        """A message is told by this commit, unless another node has done so or is about to; a refused child is not."""
        seq = unit.seq()
        if seq in self._untold and not (isinstance(answered, HeadraceError) and isinstance(change, Submit)):
            self._recorder.told(seq)
        self._untold.discard(seq)

    def _reject(self, unit: Unit, change: Change, error: HeadraceError) -> None:
        """An outcome that cannot be applied is recorded, and the feed moves on."""
        self.refused += 1
        self.stale += isinstance(error, Stale)
        if unit.delivery is None or not isinstance(change, Settle | Started):
            return
        run = self._working.runs.get(change.run)
        if run is not None:
            self._recorder.reject(self._working, change, run, str(error), unit.origin)
        if isinstance(change, Started):
            key = (change.run, change.no, change.index)
            delivery = unit.delivery
            self.commands.append(StopAttempt(key, delivery.agent, delivery.boot, change.epoch, 0, "stale", fence=True))

    def _delivered(self, unit: Unit) -> None:
        delivery = unit.delivery
        if delivery is None or not unit.over:
            return
        moved = self._cursor(delivery)
        self._rows.entities[AGENT, delivery.name] = moved
        self._recorder.cursor(moved)

    def _cursor(self, delivery: Delivery) -> Entity:
        """The agent's row with the delivery's cursor. Raises Conflict for a life that is over, before anything is done."""
        entity = self._rows.entities.get((AGENT, delivery.name))
        if entity is None:
            raise Conflict(f"no agent {delivery.name} has said hello")
        return advanced(entity, delivery.boot_id, delivery.after)

    def _decide_at_once(
        self, change: Change, reached: RunCell | None, origin: Origin, undo: list[Done] | None
    ) -> Result | None:
        """The common case, in which all that the change reaches is loaded; None when it is another one."""
        run = self._working.runs.get(change.run)
        if run is not reached:
            return None
        if isinstance(change, Submit):
            graph = change.input.graph
        elif run is not None:
            graph = run.graph
        else:
            return None
        known = self._loader.graphs.get(graph)
        if known is None:
            return None
        decided = step(known.graph, self._working, change, self._now, self._dice.random())
        return self._taker.take(known, change, decided, origin, undo)

    async def _decide(self, change: Change, reached: RunCell | None, origin: Origin, undo: list[Done] | None) -> Result:
        working = self._working
        run = working.runs.get(change.run)
        known = self._loader.graphs.get(change.input.graph if isinstance(change, Submit) else run.graph if run else -1)
        if known is None:
            known = await self._loader.known(change)
            if known is None:
                raise Refused(f"there is no run {change.run}: {type(change).__name__} refused")
        if run is not reached:
            # An earlier change of this group has moved the run: what this one reaches may be more than was loaded.
            await self._loader.keys([(run, reach(known.graph, run, change))])
            self._rise()
        decided = step(known.graph, working, change, self._now, self._dice.random())
        return self._taker.take(known, change, decided, origin, undo)
