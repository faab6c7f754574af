"""Named limits in core: what is in use, what may begin, when the next may, and what is told of it."""

from __future__ import annotations

import pytest
from tests.core.counted import Counted
from tests.core.mill import Cancel, Claim, Lose, S, TaskState, Wake, Working, job

from headrace.core import limits
from headrace.core.draft import token_of
from headrace.core.eligible import held_back
from headrace.core.explaining import explain
from headrace.core.limits import body_of, limit_of
from headrace.model.errors import Invalid
from headrace.model.ids import WHOLE
from headrace.model.limits import Limit, LimitBody

CRM = {"limits": {"crm": 1}}
KEY = ("crm", "")


def two(**more):
    return Counted(job({"name": "a", **CRM}, {"name": "b", **CRM}), **more)


def reasons(mill, name):
    working = mill._working()
    return explain(mill.graph, mill.run(), mill.at(name), working, mill.offers, now=mill.now)


def test_what_takes_from_a_limit_begins_as_far_as_it_reaches_and_the_end_of_one_lets_the_next_begin():
    mill = two(limits={"crm": Limit(slots=1)})
    mill.submit()
    assert not mill.dispatches, "only the claim loop gives out what takes from limits"
    mill.claim_all()
    assert len(mill.dispatches) == 1
    assert mill.used() == {KEY: 1}
    assert [parked.limit for parked in mill.parked] == [KEY]
    first = mill.take()
    mill.settle(first)
    assert [freed.limits for freed in mill.freed] == [(KEY,)]
    mill.claim_all()
    mill.settle(mill.take())
    assert mill.used() == {}
    assert mill.run().state.name == "succeeded"


def test_two_claims_of_one_group_take_no_more_than_there_is():
    mill = two(limits={"crm": Limit(slots=1)})
    mill.submit()
    mill.ask(Claim(1, 0, WHOLE), Claim(1, 1, WHOLE))
    assert mill.used() == {KEY: 1}


def test_what_a_group_gives_back_its_later_changes_may_take():
    mill = two(limits={"crm": Limit(slots=1)})
    mill.submit()
    mill.claim_all()
    order = mill.take()
    mill.ask(mill.outcome(order), Claim(1, 1 - order.key[1], WHOLE))
    assert mill.used() == {KEY: 1}
    assert len(mill.dispatches) == 1


def test_a_failed_attempt_gives_back_and_takes_again_when_it_is_retried():
    mill = Counted(job({"name": "a", "retries": 1, **CRM}), limits={"crm": Limit(slots=1)})
    mill.submit()
    mill.claim_all()
    mill.settle(mill.take(), "failed")
    assert mill.used() == {}
    mill.wake_next()
    mill.claim_all()
    assert mill.used() == {KEY: 1}
    assert mill.at("a").attempt == 2


def test_a_rate_spaces_starts_and_tells_when_the_next_may_be():
    mill = two(limits={"crm": Limit(count=1, per_us=10 * S, burst=1, rate="1/10s")})
    mill.submit()
    mill.claim_all()
    assert len(mill.dispatches) == 1
    assert mill.parked[-1].at == mill.now + 10 * S
    (reason,) = [r for r in reasons(mill, mill.graph.nodes[1].name) if r.code == "rate"]
    assert reason.message == "limit crm lets 1/10s begin; the next in 10.0 s"
    mill.settle(mill.take())
    mill.claim_all()
    assert not mill.dispatches, "what a rate let begin is not given back"
    mill.now += 10 * S
    mill.claim_all()
    assert len(mill.dispatches) == 1


@pytest.mark.parametrize(
    ("limit", "code", "words"),
    [
        (Limit(slots=1), "limit_full", "limit crm is full: 1 of 1 units are in use, held by run 9"),
        (Limit(slots=8, paused=True, reason="night"), "limit_paused", "limit crm is paused: night"),
        (Limit(slots=8, paused=True), "limit_paused", "limit crm is paused"),
        (Limit(slots=0), "limit_full", "limit crm has 0 units, the task asks for 1"),
        (Limit(count=5, per_us=S, burst=0), "limit_full", "limit crm has 0 units, the task asks for 1"),
        (None, "limit_missing", "there is no limit crm: it waits until one is put"),
    ],
)
def test_each_way_in_which_a_limit_holds_work_back_is_said(limit, code, words):
    working = Working(limits={} if limit is None else {"crm": limit}, uses={KEY: 1}, holders={KEY: ("run 9",)})
    hold = held_back([("crm", "", 1)], working, 0)
    assert hold is not None
    assert (hold.reason.code, hold.reason.message, hold.limit) == (code, words, KEY)


def test_a_limit_per_key_names_the_key_and_one_without_holders_names_nobody():
    of = ("crm", "EU")
    hold = held_back([("crm", "EU", 1)], Working(limits={"crm": Limit(slots=1)}, uses={of: 1}), 0)
    assert hold is not None
    assert hold.reason.message == "limit crm for EU is full: 1 of 1 units are in use"


def test_what_was_not_loaded_gives_nothing_and_without_limits_all_may_begin():
    takes = [("crm", "", 1)]
    assert held_back(takes, Working(limits={"crm": Limit(slots=9)}), 0) is not None
    assert held_back(takes, Working(unlimited=True), 0) is None
    assert held_back(takes, Working(limits={"crm": Limit(slots=9)}, uses={KEY: 0}), 0) is None


def test_how_many_may_begin_is_what_slots_and_rate_both_allow():
    both = Limit(slots=8, count=10, per_us=10 * S, burst=3)
    assert limits.starts(both, 1, 0, 0, 100 * S) == 3
    assert limits.starts(both, 1, 6, 0, 100 * S) == 2
    assert limits.starts(both, 2, 0, 0, 100 * S) == 1
    assert limits.starts(both, 1, 0, 102 * S, 100 * S) == 1
    assert limits.starts(Limit(slots=2), 1, 9, 0, 0) == 0, "a limit that was made smaller"
    assert limits.fits(both, 3)
    assert not limits.fits(both, 4)


def test_a_task_that_waits_for_a_limit_is_explained_and_a_canceled_run_gives_back_at_the_end():
    mill = two(limits={"crm": Limit(slots=1)})
    mill.submit()
    mill.claim_all()
    order = mill.take()
    other = mill.graph.nodes[1 - order.key[1]].name
    assert [r.code for r in reasons(mill, other)] == ["limit_full"]
    mill.one(Cancel(1))
    mill.one(Wake(1, first=token_of(mill.run())))
    assert mill.used() == {KEY: 1}, "it is asked to end, and holds until it has"
    mill.settle(order, "canceled")
    assert mill.used() == {}
    assert mill.at(other).state is TaskState.canceled


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (LimitBody(slots=8), Limit(slots=8)),
        (LimitBody(rate="10/1s", burst=20), Limit(None, 10, S, 20, rate="10/1s")),
        (LimitBody(rate="5/m"), Limit(None, 5, 60 * S, 1, rate="5/m")),
        (
            LimitBody(slots=1, key="${params.region}", description="d"),
            Limit(1, key="${params.region}", description="d"),
        ),
    ],
)
def test_what_people_write_is_read_and_written_again(body, found):
    assert limit_of(body) == found
    assert body_of(found) == body


@pytest.mark.parametrize(
    ("body", "path", "words"),
    [
        (LimitBody(), "", "a limit needs slots or a rate"),
        (LimitBody(slots=1, burst=2), "burst", "a burst is for a rate"),
        (LimitBody(rate="fast"), "rate", "'fast' is no rate"),
        (LimitBody(rate="0/1s"), "rate", "'0/1s' is no rate"),
        (LimitBody(rate="3/0s"), "rate", "'3/0s' is no rate"),
        (LimitBody(rate="3/1y"), "rate", "1y"),
        (LimitBody(slots=1, key="${tasks.a.result}"), "key", "${tasks…} is not known when a limit is asked"),
        (LimitBody(slots=1, key="${"), "key", ""),
    ],
)
def test_every_mistake_in_a_limit_is_told_with_its_place(body, path, words):
    with pytest.raises(Invalid) as caught:
        limit_of(body)
    (problem,) = caught.value.problems
    assert problem.path == path
    assert words in problem.message


def keyed(slots=1, **more):
    return {"crm": Limit(slots=slots, key="${params.region}", **more)}


def test_a_limit_counts_apart_for_each_value_of_its_key():
    mill = Counted(job({"name": "a", **CRM}), limits=keyed())
    for run, region in ((1, "EU"), (2, "US"), (3, "EU")):
        mill.submit(run, region=region)
    mill.claim_all()
    assert mill.tasks[1, 0, WHOLE].klass != mill.tasks[2, 0, WHOLE].klass
    mill.claim_all()
    assert {order.key[0] for order in mill.dispatches} == {1, 2}
    assert mill.used() == {("crm", "EU"): 1, ("crm", "US"): 1}


def test_instances_count_by_their_items_and_one_without_value_by_the_empty_text():
    mill = Counted(
        job({"name": "g", "each": ["EU", "US", "EU"], **CRM}),
        limits={"crm": Limit(slots=1, key="${item}"), "other": Limit(slots=1, key="${params.none}")},
    )
    mill.submit()
    mill.claim_all()
    mill.claim_all()
    assert sorted(order.key[2] for order in mill.dispatches) == [0, 1]
    lost = Counted(job({"name": "a", **CRM}), limits={"crm": Limit(slots=1, key="${params.none}")})
    lost.submit()
    lost.claim_all()
    assert lost.used() == {KEY: 1}


def test_a_key_that_was_given_to_a_limit_later_moves_what_waits_to_another_class():
    mill = Counted(job({"name": "a", **CRM}), limits={"crm": Limit(slots=1)})
    mill.submit(1, region="EU")
    before = mill.at("a").klass
    mill.limits.update(keyed())
    mill.claim_all()
    assert not mill.dispatches, "it looks again in its new class"
    assert mill.at("a").klass != before
    assert mill.at("a").more.takes == (("crm", "EU", 1),)
    mill.claim_all()
    assert mill.used() == {("crm", "EU"): 1}


def test_an_attempt_gives_back_what_it_took_whatever_the_limit_counts_by_since():
    """Found by simulation: it gave back units of the key that it was to take next, so that others took too many of those."""
    mill = Counted(job({"name": "a", **CRM}), limits={"crm": Limit(slots=1)})
    for run in (1, 2, 3):
        mill.submit(run, region="EU")
    mill.ask(Claim(1, 0, WHOLE))
    mill.limits.update(keyed())
    mill.keys["crm"] = mill.limits["crm"].key
    mill.ask(Claim(2, 0, WHOLE), Claim(3, 0, WHOLE))
    assert mill.used() == {KEY: 1}, "they wait by the new key from now on"
    mill.ask(Lose(1, 0, WHOLE, mill.take().epoch, "gone"), Claim(2, 0, WHOLE), Claim(3, 0, WHOLE))
    assert mill.at("a").more.takes == (("crm", "EU", 1),)
    assert [freed.limits for freed in mill.freed] == [(KEY,)]
    assert mill.used() == {("crm", "EU"): 1}


def test_a_claim_whose_uses_were_not_loaded_takes_nothing_and_looks_again():
    mill = Counted(job({"name": "a", **CRM}), limits={"crm": Limit(slots=1)})
    mill.submit()
    whole = mill._working

    def without_uses():
        working = whole()
        working.uses = {}
        return working

    mill._working = without_uses
    mill.claim_all()
    assert not mill.dispatches
    assert not mill.parked


def test_in_the_callers_own_process_limits_count_for_nothing():
    mill = Counted(job({"name": "a", **CRM}), limits={"crm": Limit(slots=0)})
    mill.submit()
    whole = mill._working

    def unlimited():
        working = whole()
        working.unlimited = True
        return working

    mill._working = unlimited
    mill.claim_all()
    assert len(mill.dispatches) == 1


def test_a_rate_that_was_changed_is_at_most_as_spent_as_it_can_be():
    spent = 1_000 * S
    assert limits.tick_under(Limit(count=1, per_us=S, burst=2, since=10 * S), spent, 5 * S) == 12 * S
    assert limits.tick_under(Limit(count=1, per_us=S, burst=2, since=10 * S), spent, 10 * S) == spent
    assert limits.tick_under(Limit(slots=1, since=10 * S), spent, 5 * S) == spent
