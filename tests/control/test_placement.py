"""Room: who gets how much, and when work goes beyond an agent's slots."""

from __future__ import annotations

from headrace.control.loops.claim import place
from headrace.control.placement import CLASSES_MAX, PREFETCH_MAX, SAMPLES, SHORTEST_US, Linked, Placement
from headrace.core.eligible import places_free
from headrace.core.graph import Placement as Class

QUICK, SLOW, UNKNOWN = 1, 2, 3


def linked(agent: int, *, slots: int = 2, epoch: int = 1, boot: int = 1) -> Linked:
    return Linked(agent=agent, name=f"a{agent}", boot=boot, boot_id=f"b{boot}", link_epoch=epoch, slots=slots)


def placement(*agents: Linked) -> Placement:
    made = Placement()
    for a in agents:
        made.link(a)
    made.durations.add(QUICK, [1_000] * 8)
    made.durations.add(SLOW, [80_000] * 8)
    return made


def test_an_agent_offers_its_free_slots() -> None:
    p = placement(linked(1, slots=3))
    p.took(1, (7, 0, -1, 1), UNKNOWN)
    assert [o.free for o in p.offers()] == [2]
    assert p.done((7, 0, -1, 1)) == UNKNOWN
    assert [o.free for o in p.offers()] == [3]


def test_only_classes_with_a_short_measured_median_are_prefetched() -> None:
    (offer,) = placement(linked(1)).offers()
    assert offer.ahead.get(QUICK, 0) > 0
    assert [offer.ahead.get(klass, 0) for klass in (SLOW, UNKNOWN)] == [0, 0]


def test_prefetch_is_two_round_trips_of_all_slots_and_never_beyond_the_cap() -> None:
    a = linked(1, slots=4)
    a.post_us, a.deliver_us = 2_000.0, 4_000.0
    assert a.prefetch(1_000.0) == 2 * 10_000 * 4 // 1_000
    assert a.prefetch(0.0) == a.prefetch(SHORTEST_US)
    a.post_us = 1_000_000.0
    assert a.prefetch(0.0) == PREFETCH_MAX


def test_a_class_that_became_slow_is_prefetched_no_longer() -> None:
    p = placement(linked(1))
    p.durations.add(QUICK, [90_000] * 31)
    assert p.offers()[0].ahead == {}


def test_durations_are_kept_of_the_classes_that_were_measured_last() -> None:
    durations = Placement().durations
    for klass in range(CLASSES_MAX + 10):
        durations.add(klass, [1_000])
        durations.add(0, [1_000])
    assert len(durations.quick()) == CLASSES_MAX
    assert {0, CLASSES_MAX + 9} <= durations.quick().keys()
    assert 1 not in durations.quick()
    assert len(durations._seen) == CLASSES_MAX
    assert len(durations._seen[0]) == SAMPLES


def test_nothing_is_prefetched_while_another_agent_idles() -> None:
    p = placement(linked(1, slots=1), linked(2, slots=1))
    p.took(1, (7, 0, -1, 1), QUICK)
    assert all(not o.ahead for o in p.offers())
    p.took(2, (8, 0, -1, 1), QUICK)
    assert all(o.ahead for o in p.offers())


def test_an_agent_whose_doorbell_closed_keeps_its_work_and_gets_no_more() -> None:
    p = placement(linked(1))
    p.took(1, (7, 0, -1, 1), QUICK)
    p.unlink(1, 1)
    assert p.offers() == []
    assert p.done((7, 0, -1, 1)) == QUICK


def test_an_agent_that_drains_says_so_in_its_offer_and_is_no_reason_to_prefetch_nowhere() -> None:
    p = placement(linked(1, slots=1), linked(2, slots=1))
    p.took(1, (7, 0, -1, 1), QUICK)
    assert not any(o.ahead for o in p.offers())
    drained = p.of(2)
    assert drained is not None
    drained.draining = True
    assert [(o.draining, bool(o.ahead)) for o in p.offers()] == [(False, True), (True, True)]
    assert p.done((7, 0, -1, 1)) == QUICK
    assert p.offers()[0].ahead, "the only one that takes work need not wait for another"
    p.took(1, (7, 0, -1, 1), QUICK)
    assert places_free(p.offers()) == 0
    assert place(Class("command"), QUICK, p.offers()[1:]) is None


def test_an_older_link_that_ends_late_does_not_unlink_the_newer_one() -> None:
    p = placement(linked(1, epoch=1))
    p.link(linked(1, epoch=2))
    p.unlink(1, 1)
    assert len(p.offers()) == 1


def test_a_new_link_begins_with_what_the_store_says_and_nothing_else() -> None:
    p = placement(linked(1))
    p.took(1, (7, 0, -1, 1), QUICK)
    p.link(linked(1, epoch=2))
    assert p.done((7, 0, -1, 1)) is None
    assert p.offers()[0].free == 2
