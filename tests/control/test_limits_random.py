"""Limits are never exceeded and never leaked: random schedules. The big count stands in the tail."""

from __future__ import annotations

import asyncio

import pytest
from tests.control.limit_schedules import schedule

SEEDS, TAIL = 40, 2_000


@pytest.mark.parametrize("part", range(4))
def test_random_schedules_never_exceed_a_limit_and_leave_nothing_held(part: int) -> None:
    started = [asyncio.run(schedule(seed)) for seed in range(part, SEEDS, 4)]
    assert sum(started) > 4 * len(started), "the schedules begin too little to prove anything"


@pytest.mark.tail
@pytest.mark.parametrize("part", range(20))
def test_two_thousand_random_schedules(part: int) -> None:
    for seed in range(SEEDS + part, SEEDS + TAIL, 20):
        asyncio.run(schedule(seed))
