"""The loops one by one, against a scripted reader: what they ask, in which order, and when they rest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any

import msgspec
import pytest

from headrace.control.changes.result import Result
from headrace.control.clock import SystemClock
from headrace.control.loops.claim import BARREN_MAX, ClaimLoop, place
from headrace.control.loops.dispatch import Starter
from headrace.control.loops.due import DueLoop
from headrace.control.placement import Linked, Placement
from headrace.control.supply import Unable
from headrace.core.classes import klass_of
from headrace.core.graph import Placement as Class
from headrace.core.render import Rendered
from headrace.core.work import Dispatch, Offer, Waits
from headrace.link.records import Accepted, Assignment, AttemptName, InputFile, Start
from headrace.link.wire import BODY_MAX
from headrace.model.changes import Change, Claim, Origin, OutcomeKind, Settle, Wake
from headrace.model.errors import Busy, Invalid, LinkError, Refused, StoreAway, StoreError
from headrace.model.limits import Limit, LimitKey
from headrace.model.ports import no_fault
from headrace.store.rows import DueRow, Entity, ReadyRow

ANY, LABELED, WAIT = 1, 2, 3


def run(work: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(work, 20))


class Clock:
    """Time that the test moves."""

    def __init__(self) -> None:
        self.at = 1_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1e6


class Rows:
    """A reader over lists; claimed rows disappear as they do in the store."""

    def __init__(self, rows: list[ReadyRow], due: list[DueRow] | None = None) -> None:
        self.rows = rows
        self.dues = due or []
        self.reads: list[int] = []
        self.learned = 0
        self.limits: dict[str, Limit] = {}
        self.pages: list[int] = []
        self.classes = {ANY: Class("command"), LABELED: Class("command", (("gpu", "yes"),)), WAIT: Class("wait")}

    async def ready(self, klass: int, limit: int) -> list[ReadyRow]:
        self.reads.append(klass)
        self.pages.append(limit)
        return sorted((r for r in self.rows if r.klass == klass), key=lambda r: r.rank)[:limit]

    async def entity(self, key: tuple[str, str]) -> Entity:
        return Entity(*key, 1, 0, 0, msgspec.msgpack.encode(self.limits[key[1]]))

    async def uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
        return dict.fromkeys(keys, (0, 0, 0))

    async def ready_classes(self) -> list[tuple[int, bytes]]:
        self.learned += 1
        return [(k, msgspec.msgpack.encode(c)) for k, c in self.classes.items() if any(r.klass == k for r in self.rows)]

    async def due(self, until: int, limit: int) -> list[DueRow]:
        return sorted((d for d in self.dues if d.due_at <= until), key=lambda d: d.due_at)[:limit]


class Asked:
    """A ledger that writes down what it was asked, and lets a test play what a commit does."""

    def __init__(self, rows: Rows, placement: Placement | None = None) -> None:
        self.rows = rows
        self.placement = placement
        self.asked: list[Change] = []

    async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
        self.asked.extend(changes)
        for c in changes:
            if isinstance(c, Claim) and self.placement is not None:
                self.rows.rows = [r for r in self.rows.rows if r.run != c.run]
                self.placement.took(1, (c.run, c.no, c.index, 1), ANY)
            if isinstance(c, Wake):
                self.rows.dues = [d for d in self.rows.dues if d.run != c.run]
        return [Result(moved=True)] * len(changes)


def room(slots: int) -> Placement:
    placement = Placement()
    placement.link(Linked(agent=1, name="a", boot=1, boot_id="b", link_epoch=1, slots=slots))
    return placement


def ready(run: int, rank: int, klass: int = ANY) -> ReadyRow:
    return ReadyRow(run, 0, -1, klass, rank)


def test_the_best_ranked_are_claimed_and_no_more_than_there_is_room_for() -> None:
    async def work() -> None:
        placement = room(2)
        rows = Rows([ready(1, 30), ready(2, 10), ready(3, 20)])
        ledger = Asked(rows, placement)
        claims = ClaimLoop(rows, ledger, placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        await claims.run_once()
        assert [c.run for c in ledger.asked] == [2, 3]
        await claims.run_once()
        assert len(ledger.asked) == 2

    run(work())


@pytest.mark.parametrize(("on_lost", "claimed"), [("retry", 3), ("fail", 2), ("ask", 2)])
def test_only_what_may_be_started_again_elsewhere_is_claimed_ahead_of_slots(on_lost: str, claimed: int) -> None:
    offer = Offer(1, 1, 2, name="a", ahead={ANY: 1})
    found = 0
    while place(Class("command", on_lost=on_lost), ANY, [offer]) is not None:
        offer.free -= 1
        found += 1
    assert found == claimed


def test_work_nobody_can_place_is_not_even_read() -> None:
    async def work() -> None:
        placement = room(2)
        rows = Rows([ready(n, n, LABELED) for n in range(1, 50)])
        ledger = Asked(rows, placement)
        claims = ClaimLoop(rows, ledger, placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        for _ in range(3):
            await claims.run_once()
        assert ledger.asked == []
        assert rows.reads == []

    run(work())


def test_a_class_with_nothing_left_waits_no_longer() -> None:
    async def work() -> None:
        placement = room(8)
        rows = Rows([ready(1, 1)])
        claims = ClaimLoop(rows, Asked(rows, placement), placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        assert placement.waiting == {ANY}
        await claims.run_once()
        await claims.run_once()
        assert placement.waiting == frozenset()

    run(work())


def test_what_was_told_while_a_page_was_read_is_not_forgotten() -> None:
    async def work() -> None:
        placement = room(8)
        rows = Rows([])
        claims = ClaimLoop(rows, Asked(rows, placement), placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        rows.rows = [ready(1, 1)]
        await claims.start()
        rows.rows = []
        read = rows.ready

        async def meanwhile(klass: int, limit: int) -> list[ReadyRow]:
            found = await read(klass, limit)
            rows.rows = [ready(2, 2)]
            claims.waits({ANY})
            return found

        rows.ready = meanwhile  # type: ignore[method-assign] # a commit that falls between
        await claims.run_once()
        assert placement.waiting == {ANY}

    run(work())


def test_everything_owed_is_woken_at_the_start_and_the_timer_waits_for_the_next() -> None:
    async def work() -> None:
        clock = Clock()
        rows = Rows([], [DueRow(5, 1), DueRow(clock.at, 2), DueRow(clock.at + 1, 3)])
        ledger = Asked(rows)
        due = DueLoop(rows, ledger, clock)  # type: ignore[arg-type] # a part of a reader
        await due.run_once()
        assert [c.run for c in ledger.asked] == [1, 2]
        clock.at += 1
        await due.run_once()
        assert [c.run for c in ledger.asked] == [1, 2, 3]

    run(work())


def test_rows_that_stay_due_do_not_become_a_busy_loop() -> None:
    async def work() -> None:
        clock = Clock()
        rows = Rows([], [DueRow(5, 1)])
        ledger = Asked(rows)
        stubborn = list(rows.dues)

        async def ask_many(changes: Sequence[Change], origin: Origin) -> list[object]:
            ledger.asked.extend(changes)
            rows.dues = stubborn
            return []

        ledger.ask_many = ask_many  # type: ignore[method-assign] # a wake that changes nothing
        due = DueLoop(rows, ledger, clock)  # type: ignore[arg-type] # a part of a reader
        await due.run_once()
        await due.run_once()
        assert len(ledger.asked) == 1

    run(work())


class Plain:
    """An assigner without tokens or files."""

    async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
        return [Assignment(*d.key, d.epoch, d.attempt, d.graph, "command", "t") for d in batch]

    async def supply(self, calls: object, linked: object, batch: object) -> list[Unable]:
        return []


class Agent:
    """The receiving end of POST /attempts."""

    def __init__(self, *answers: Accepted | Exception) -> None:
        self.orders: list[Start] = []
        self.gate = asyncio.Event()
        self.called = asyncio.Event()
        self.gate.set()
        self._answers = list(answers)

    async def start(self, order: Start) -> Accepted:
        self.orders.append(order)
        self.called.set()
        await self.gate.wait()
        answer = self._answers.pop(0) if self._answers else Accepted()
        if isinstance(answer, Exception):
            raise answer
        return answer


def dispatches(*runs: int) -> list[Dispatch]:
    return [Dispatch((r, 0, -1), 1, 1, 1, 1, 9, Rendered("command", "t", "")) for r in runs]


def starter(agent: Agent, ledger: Asked, placement: Placement, assigner: Plain | None = None) -> Starter:
    linked = placement.of(1)
    assert linked is not None
    return Starter(
        linked,
        agent,  # type: ignore[arg-type] # a part of the calls
        ledger,
        assigner=assigner or Plain(),
        placement=placement,
        clock=Clock(),
        fault=no_fault,
    )


def test_what_gathers_during_a_post_goes_with_the_next_one() -> None:
    async def work() -> None:
        agent, placement = Agent(), room(2)
        loop = starter(agent, Asked(Rows([])), placement)
        agent.gate.clear()
        loop.take(dispatches(1))
        pass_ = asyncio.ensure_future(loop.run_once())
        await agent.called.wait()
        loop.take(dispatches(2))
        loop.take(dispatches(3))
        agent.gate.set()
        await pass_
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[1], [2, 3]]

    run(work())


def test_a_lost_post_is_sent_again_word_for_word() -> None:
    async def work() -> None:
        agent, placement = Agent(LinkError("gone"), Accepted()), room(2)
        loop = starter(agent, Asked(Rows([])), placement)
        loop.take(dispatches(1))
        await loop.run_once()
        assert len(agent.orders) == 2
        assert agent.orders[0] == agent.orders[1]

    run(work())


def test_a_refused_attempt_is_given_back_and_frees_its_place() -> None:
    async def work() -> None:
        placement = room(2)
        placement.took(1, (1, 0, -1, 9), ANY)
        agent = Agent(Accepted([(AttemptName(1, 0, -1, 9), "full")]))
        ledger = Asked(Rows([]))
        loop = starter(agent, ledger, placement)
        loop.take(dispatches(1))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.run, change.epoch, change.kind, change.reason) == (1, 9, OutcomeKind.refused, "full")
        assert placement.offers()[0].free == 2

    run(work())


class Supplying(Plain):
    """An assigner whose supplies go as the test says: each answer is given, or raised, once."""

    def __init__(self, *answers: list[Unable] | Exception) -> None:
        self._answers = list(answers)

    async def supply(self, calls: object, linked: object, batch: object) -> list[Unable]:
        answer = self._answers.pop(0) if self._answers else []
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.mark.parametrize("away", [StoreAway("the store is away"), Busy("not now"), LinkError("cut")])
def test_what_cannot_be_supplied_now_is_not_dropped(away: Exception) -> None:
    async def work() -> None:
        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(2), Supplying(away, away))
        loop.take(dispatches(1, 2))
        passing = asyncio.ensure_future(loop.run())
        await agent.called.wait()
        passing.cancel()
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[1, 2]]
        assert ledger.asked == []

    run(work())


def test_an_error_of_the_supplies_fails_these_attempts_and_not_the_loop() -> None:
    async def work() -> None:
        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(4), Supplying(StoreError("blob 12 is damaged")))
        loop.take(dispatches(1))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.kind, change.stop_retry, change.reason) == (OutcomeKind.failed, True, "blob 12 is damaged")
        loop.take(dispatches(2))
        await loop.run_once()
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[2]]

    run(work())


def test_what_the_agent_has_no_room_for_now_costs_no_attempt() -> None:
    async def work() -> None:
        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(
            agent, ledger, room(4), Supplying([Unable(0, "disk full", lasting=False), Unable(1, "too large")])
        )
        loop.take(dispatches(1, 2, 3))
        await loop.run_once()
        told = {c.run: (c.kind, c.reason) for c in ledger.asked if isinstance(c, Settle)}
        assert told == {1: (OutcomeKind.refused, "disk full"), 2: (OutcomeKind.failed, "too large")}
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[3]]

    run(work())


def test_one_attempt_that_the_agent_cannot_read_does_not_harm_the_others() -> None:
    async def work() -> None:
        agent, ledger = (
            Agent(Invalid("no such field"), Accepted(), Invalid("no such field"), Accepted()),
            Asked(Rows([])),
        )
        loop = starter(agent, ledger, room(4))
        loop.take(dispatches(1, 2, 3))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.run, change.kind, change.stop_retry) == (2, OutcomeKind.failed, True)
        assert [[a.run for a in o.attempts] for o in agent.orders] == [[1, 2, 3], [1], [2], [3]]

    run(work())


def sized(run: int, **parts: Any) -> Assignment:
    return Assignment(run, 0, -1, 1, 1, 1, "command", "t", **parts)


@pytest.mark.parametrize(
    "large",
    [
        {"argv": ("x" * 1_000_000,)},
        {"env": {"A": "x" * 1_000_000}},
        {"outputs": ("x" * 1_000_000,)},
        {"inputs": tuple(InputFile("x" * 1000, "0" * 64, 1) for _ in range(1000))},
        {"script": "\N{GRINNING FACE}" * 1_000_000},
    ],
)
def test_no_post_is_larger_than_an_agent_takes(large: dict[str, Any]) -> None:
    async def work() -> None:
        class Large(Plain):
            async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
                return [sized(d.key[0], **large) for d in batch]

        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(4), Large())
        loop.take(dispatches(*range(20)))
        await loop.run_once()
        assert [a.run for o in agent.orders for a in o.attempts] == list(range(20))
        assert max(len(msgspec.msgpack.encode(o)) for o in agent.orders) <= BODY_MAX

    run(work())


def test_an_attempt_that_is_too_large_for_any_post_fails_and_says_what_of_it_is() -> None:
    async def work() -> None:
        class Large(Plain):
            async def assign(self, batch: Sequence[Dispatch]) -> list[Assignment]:
                return [sized(d.key[0], env={"A": "x" * 17_000_000} if d.key[0] == 2 else {}) for d in batch]

        agent, ledger = Agent(), Asked(Rows([]))
        loop = starter(agent, ledger, room(4), Large())
        loop.take(dispatches(1, 2, 3))
        await loop.run_once()
        (change,) = ledger.asked
        assert isinstance(change, Settle)
        assert (change.run, change.kind) == (2, OutcomeKind.failed)
        assert "at most 16773120 bytes: its environment" in (change.reason or "")
        assert [a.run for o in agent.orders for a in o.attempts] == [1, 3]

    run(work())


def test_an_older_link_epoch_ends_the_loop() -> None:
    async def work() -> None:
        loop = starter(Agent(Refused("older")), Asked(Rows([])), room(2))
        loop.take(dispatches(1))
        with pytest.raises(Refused):
            await loop.run_once()

    run(work())


def test_who_was_parked_for_a_claim_that_came_to_nothing_is_looked_at_again() -> None:
    """Found by simulation: the claim took nothing, so nobody ever gave anything back, and the other job waited for ever."""
    other = ANY + 1

    class Limited(Rows):
        """Two classes that take of one limit, of which nothing is in use."""

        async def entity(self, key: tuple[str, str]) -> Entity:
            return Entity(*key, 1, 0, 0, msgspec.msgpack.encode(Limit(slots=1)))

        async def uses(self, keys: Sequence[LimitKey]) -> dict[LimitKey, tuple[int, int, int]]:
            return dict.fromkeys(keys, (0, 0, 0))

    class Late(Asked):
        """The first row is canceled between the read and the claim."""

        async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
            self.rows.rows = [r for r in self.rows.rows if r.run != 1]
            return await super().ask_many([c for c in changes if c.run != 1], origin)

    async def work() -> None:
        placement = room(4)
        rows = Limited([ready(1, 1), ready(2, 2, other)])
        rows.classes = {klass: Class("command", limits=(("crm", 1),)) for klass in (ANY, other)}
        ledger = Late(rows, placement)
        claims = ClaimLoop(rows, ledger, placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        await claims.run_once()
        assert ledger.asked == []
        await claims.run_once()
        assert [c.run for c in ledger.asked] == [2]

    run(work())


def test_a_page_whose_rows_were_all_canceled_meanwhile_does_not_end_the_claiming() -> None:
    """Found by simulation (seed 27): nothing was out, so nobody's end would have woken the loop again."""

    async def work() -> None:
        placement = room(1)
        rows = Rows([ready(1, 1), ready(2, 2), ready(3, 3)])

        class Late(Asked):
            """The first rows are canceled between the read and the claim."""

            async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
                late = [c for c in changes if isinstance(c, Claim) and c.run < 3]
                self.rows.rows = [r for r in self.rows.rows if r.run not in {c.run for c in late}]
                await super().ask_many([c for c in changes if c not in late], origin)
                return [Result(moved=c not in late) for c in changes]

        ledger = Late(rows, placement)
        claims = ClaimLoop(rows, ledger, placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        looping = asyncio.ensure_future(claims.run())
        while not ledger.asked:
            await asyncio.sleep(0)
        assert [c.run for c in ledger.asked] == [3]
        looping.cancel()

    run(work())


def test_claims_of_work_that_no_agent_does_go_on_until_nothing_of_it_is_ready() -> None:
    """More than all barren passes together could have read: their first claims died with the process before."""

    async def work() -> None:
        rows = Rows([ready(n, n, WAIT) for n in range(1, 10_001)])

        class Begun(Asked):
            """What is claimed begins; nothing of it goes to an agent."""

            async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
                begun = {c.run for c in changes}
                self.asked.extend(changes)
                self.rows.rows = [r for r in self.rows.rows if r.run not in begun]
                return [Result(moved=True)] * len(changes)

        claims = ClaimLoop(rows, Begun(rows), Placement(), SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        await passes(claims)
        assert rows.rows == []

    run(work())


def test_claims_that_all_come_too_late_end_by_themselves() -> None:
    async def work() -> None:
        rows = Rows([ready(1, 1, WAIT)])

        class Late(Asked):
            """Nothing is ready any more, whatever the reader says."""

            async def ask_many(self, changes: Sequence[Change], origin: Origin) -> list[object]:
                self.asked.extend(changes)
                return [Result() for _ in changes]

        ledger = Late(rows)
        claims = ClaimLoop(rows, ledger, Placement(), SystemClock())  # type: ignore[arg-type] # a part of a reader
        await claims.start()
        await passes(claims)
        assert 1 < len(ledger.asked) <= BARREN_MAX + 1

    run(work())


def customers(rows: Rows, count: int, each: int) -> list[Waits]:
    """So many keys of one limit, of which two may begin at once; each has so many ready tasks."""
    rows.limits["crm"] = Limit(slots=2, key="${params.customer}")
    kinds = [Class("command", limits=(("crm", 1),), keys=(f"c{n}",)) for n in range(count)]
    told = [Waits(klass_of(kind), kind) for kind in kinds]
    rows.classes = {waits.klass: waits.placement for waits in told if waits.placement is not None}
    rows.rows = [ready(n, n, told[n % count].klass) for n in range(count * each)]
    return told


def test_of_each_key_of_a_limit_no_more_is_read_than_may_begin_and_nothing_is_kept_of_what_waits_no_longer() -> None:
    async def work() -> None:
        placement = room(10_000)
        rows = Rows([])
        told = customers(rows, 300, 4)
        claims = ClaimLoop(rows, Asked(rows, placement), placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        claims.told(told)
        await claims.run_once()
        assert set(rows.pages) == {2}
        assert sum(map(len, claims._pages.values())) == 0
        await passes(claims)
        assert (rows.rows, rows.learned) == ([], 0)
        assert placement.waiting == frozenset()
        assert [claims._classes, claims._pages, claims._waiting, claims._open] == [{}, {}, {}, set()]

    run(work())


def test_a_class_that_a_limit_holds_back_keeps_no_rows() -> None:
    async def work() -> None:
        placement = room(100)
        rows = Rows([])
        (told,) = customers(rows, 1, 10)
        claims = ClaimLoop(rows, Asked(rows, placement), placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        claims.told([told])
        claims._pages[told.klass] = deque(rows.rows[:5])
        claims.parked(told.klass, ("crm", "c0"), 0)
        assert claims._pages == {}
        assert told.klass not in claims._open

    run(work())


def test_classes_that_other_nodes_tell_are_looked_up_together() -> None:
    async def work() -> None:
        placement = room(100)
        rows = Rows([])
        told = customers(rows, 50, 1)
        rows.rows = rows.rows[:10]
        claims = ClaimLoop(rows, Asked(rows, placement), placement, SystemClock())  # type: ignore[arg-type] # a part of a reader
        claims.waits({waits.klass for waits in told})
        await claims.run_once()
        assert (rows.rows, rows.learned) == ([], 1)
        assert len(placement.waiting) == 10

    run(work())


def test_what_forbids_an_offer_to_explain_forbids_it_to_the_claim_loop() -> None:
    offer = Offer(1, 1, 2, name="a", draining=True)
    assert place(Class("command"), ANY, [offer]) is None


async def passes(claims: ClaimLoop) -> None:
    """Pass after pass, as long as the loop wakes itself."""
    while claims._woken.is_set():
        claims._woken.clear()
        await claims.run_once()
