"""The loops one by one, against a scripted reader: what they ask, in which order, and when they rest."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

import msgspec
import pytest
from scripted import ANY, LABELED, WAIT, Asked, Clock, Rows, ready, room, run

from headrace.control.changes.result import Result
from headrace.control.clock import SystemClock
from headrace.control.loops.claim import BARREN_MAX, ClaimLoop, place
from headrace.control.loops.due import DueLoop
from headrace.control.placement import Placement
from headrace.core.classes import klass_of
from headrace.core.graph import Placement as Class
from headrace.core.work import Offer, Waits
from headrace.model.changes import Change, Claim, Origin
from headrace.model.limits import Limit, LimitKey
from headrace.store.rows import DueRow, Entity, ReadyRow


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
