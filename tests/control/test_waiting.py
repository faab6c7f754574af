"""Which units the next group takes: long ones never keep short ones waiting for more than one group, nor the other way."""

from __future__ import annotations

import asyncio

from headrace.control.group import Bounds
from headrace.control.unit import Unit
from headrace.control.waiting import CHANGES_MIN, SMALL, Waiting
from headrace.model.changes import Cancel, Origin

ALICE = Origin("alice", "test")


def unit(changes: int, *, first: int = 0, atomic: bool = False, follows: bool = False) -> Unit:
    future = None if follows else asyncio.new_event_loop().create_future()
    return Unit([Cancel(first + n) for n in range(changes)], ALICE, future, atomic=atomic)


def worked_off(waiting: Waiting, units: list[Unit]) -> None:
    """As after a commit."""
    for each in units:
        each.done = each.until
        each.settled()
    waiting.put_back([each for each in units if each.done < len(each.changes)])


def test_a_short_unit_waits_for_one_group_of_a_long_one() -> None:
    waiting = Waiting(Bounds(changes=100))
    long = unit(1000)
    waiting.put(long)
    group = waiting.take()
    assert group == [long]
    short = unit(1)
    waiting.put(short)
    worked_off(waiting, group)
    assert waiting.take() == [short]
    assert waiting.take() == [long]
    assert (long.done, long.until) == (100, 200)


def test_short_units_without_end_do_not_keep_a_long_one_from_its_turn() -> None:
    waiting = Waiting(Bounds(changes=10))
    long = unit(SMALL + 1)
    for n in range(50):
        waiting.put(unit(1, first=n))
    waiting.put(long)
    seen = []
    for _ in range(3):
        group = waiting.take()
        seen.append(long in group)
        worked_off(waiting, group)
    assert seen == [False, True, False]
    assert long.done == 10


def test_what_follows_from_a_decision_is_no_short_unit() -> None:
    """It may be one change that creates hundreds of tasks."""
    waiting = Waiting(Bounds(changes=100))
    follow, short = unit(1, follows=True), unit(1)
    waiting.put_back([follow])
    waiting.put(short)
    assert waiting.take() == [short]
    assert waiting.take() == [follow]


def test_those_who_ask_little_go_along_in_order_but_not_controls_own_work_nor_who_may_wait_for_a_lock() -> None:
    waiting = Waiting(Bounds(changes=100))
    asked = [unit(1, first=n, atomic=True) for n in range(SMALL + 2)]
    for each in asked:
        waiting.put(each)
    assert waiting.take_along() == asked[:SMALL]
    own, held = unit(1), unit(1, atomic=True)
    held.waits = 1
    waiting.put_back([own])
    assert waiting.take_along() == []
    waiting.put_back([held])
    assert waiting.take_along() == []
    assert waiting.take() == [held, own, *asked[SMALL:]]


def test_each_line_keeps_its_order_and_forgets_who_has_gone() -> None:
    waiting = Waiting(Bounds(changes=100))
    units = [unit(1, first=n) for n in range(4)]
    for each in units[1:]:
        waiting.put(each)
    waiting.put_back(units[:1])
    assert len(waiting) == 4
    assert units[2].future is not None
    units[2].future.cancel()
    assert waiting.take() == [units[0], units[1], units[3]]
    assert len(waiting) == 0
    assert waiting.take() == []


def test_an_atomic_unit_is_taken_whole() -> None:
    waiting = Waiting(Bounds(changes=100))
    whole = unit(1000, atomic=True)
    waiting.put(whole)
    assert waiting.take() == [whole]
    assert whole.until == 1000


def test_a_group_is_as_large_as_fits_its_time_and_a_change_counts_for_its_rows() -> None:
    waiting = Waiting(Bounds(changes=500, seconds=0.01))

    def size() -> int:
        long = unit(10_000)
        waiting.put(long)
        (taken,) = waiting.take()
        taken.began = taken.done
        return taken.until

    slow = unit(500)
    assert size() == 500
    slow.until = 500
    waiting.adapt([slow], 1500, 0.02)
    assert size() == 250
    one = unit(1)
    # One change that wrote a thousand rows in 10 ms is as fast as 333 changes: no reason to make groups smaller.
    waiting.adapt([one], 1000, 0.01)
    assert size() == 333
    for _ in range(10):
        waiting.adapt([slow], 1500, 1.0)
    assert size() == CHANGES_MIN
