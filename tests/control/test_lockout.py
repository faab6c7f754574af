"""Failed logins: who must wait how long. And passwords: a few at a time, away from the loop."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

import pytest
from api_world import run_async

from headrace.control import passwords
from headrace.control.lockout import ADDRESS, FORGET_US, KEPT_MAX, PAIR, USER, Lockout
from headrace.control.passwords import AT_ONCE, WAITING_MAX, Passwords, check_password
from headrace.model.errors import Busy, Invalid

S = 1_000_000


def wait(lockout: Lockout, user: str, address: str, now: int) -> int:
    """Seconds that this try must wait; 0: it was counted."""
    try:
        lockout.begin(user, address, now)
    except Busy as busy:
        return busy.retry_after if busy.status == 429 else -1
    return 0


def test_each_further_try_waits_twice_as_long_up_to_a_bound() -> None:
    lockout, now, waits = Lockout(), S, []
    for _ in range(PAIR.free):
        assert wait(lockout, "eva", "192.0.2.1", now) == 0
    for _ in range(12):
        waits.append(found := wait(lockout, "eva", "192.0.2.1", now))
        now += found * S
        assert wait(lockout, "eva", "192.0.2.1", now) == 0
    assert waits[:10] == [1, 2, 4, 8, 16, 32, 64, 128, 256, 512]
    assert waits[10:] == [PAIR.most] * 2


def test_a_try_that_comes_too_early_is_not_counted() -> None:
    lockout = Lockout()
    for _ in range(PAIR.free):
        lockout.begin("eva", "192.0.2.1", S)
    for _ in range(100):
        assert wait(lockout, "eva", "192.0.2.1", S) == 1
    assert wait(lockout, "eva", "192.0.2.1", 2 * S) == 0


def test_others_are_not_slowed_down_by_one_who_guesses() -> None:
    lockout = Lockout()
    for _ in range(PAIR.free):
        lockout.begin("eva", "192.0.2.1", S)
    assert wait(lockout, "eva", "192.0.2.1", S) == 1
    assert wait(lockout, "eva", "192.0.2.2", S) == 0
    assert wait(lockout, "adam", "192.0.2.1", S) == 0


def test_an_address_that_tries_many_names_is_slowed_down() -> None:
    lockout = Lockout()
    for number in range(ADDRESS.free):
        assert wait(lockout, f"user{number}", "192.0.2.1", S) == 0
    assert wait(lockout, "another", "192.0.2.1", S) == 1
    assert wait(lockout, "another", "192.0.2.2", S) == 0


def test_a_user_who_is_tried_from_everywhere_waits_but_never_long() -> None:
    lockout, now = Lockout(), S
    for number in range(USER.free + 20):
        while (found := wait(lockout, "eva", f"192.0.2.{number}", now)) > 0:
            assert found <= USER.most
            now += found * S
    assert now - S > 5 * USER.most * S


def test_addresses_of_one_network_are_one_place() -> None:
    lockout = Lockout()
    for number in range(PAIR.free):
        lockout.begin("eva", f"2001:db8::{number}", S)
    assert wait(lockout, "eva", "2001:db8::ffff:1", S) == 1
    assert wait(lockout, "eva", "2001:db8:0:1::1", S) == 0
    for number in range(PAIR.free):
        lockout.begin("adam", "::ffff:192.0.2.1" if number % 2 else "192.0.2.1", S)
    assert wait(lockout, "adam", "192.0.2.1", S) == 1


def test_a_good_login_takes_its_count_away_and_leaves_that_of_the_address() -> None:
    lockout = Lockout()
    for number in range(ADDRESS.free - 1):
        lockout.begin(f"user{number}", "192.0.2.1", S)
    for _ in range(3):
        assert wait(lockout, "eva", "192.0.2.1", S) == 0
        lockout.good("eva", "192.0.2.1")
    assert wait(lockout, "one", "192.0.2.1", S) == 0
    assert wait(lockout, "two", "192.0.2.1", S) == 1


def test_failures_are_forgotten_after_an_hour_and_never_fill_the_memory() -> None:
    lockout = Lockout()
    for _ in range(PAIR.free):
        lockout.begin("eva", "192.0.2.1", S)
    assert wait(lockout, "eva", "192.0.2.1", S + FORGET_US) == 0
    for number in range(KEPT_MAX):
        lockout.begin(f"user{number}", f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}", S)
    assert len(lockout._tries) == KEPT_MAX


@run_async
async def test_passwords_are_worked_on_a_few_at_a_time_away_from_the_loop(monkeypatch: Any) -> None:
    free, lock, now, most = threading.Event(), threading.Lock(), [0], [0]
    threads = set()

    def slow(kept: str, password: bytes) -> bool:
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
            threads.add(threading.get_ident())
        assert free.wait(30)
        with lock:
            now[0] -= 1
        return True

    monkeypatch.setattr(passwords, "_fits", slow)
    checker = Passwords()
    checker._nobody = "x"
    asked = [asyncio.ensure_future(checker.fits("x", "y")) for _ in range(WAITING_MAX)]
    while now[0] < AT_ONCE:
        await asyncio.wait(asked, timeout=0.01)
    with pytest.raises(Busy) as refused:
        await checker.fits("x", "y")
    assert refused.value.status == 429
    free.set()
    assert await asyncio.gather(*asked) == [True] * WAITING_MAX
    assert most[0] == AT_ONCE
    assert threading.get_ident() not in threads


@run_async
async def test_a_password_fits_itself_and_nothing_else() -> None:
    checker = Passwords()
    kept = await checker.keep("correct horse battery")
    assert kept != await checker.keep("correct horse battery")
    assert await checker.fits(kept, "correct horse battery")
    for other in ("correct horse batter", "correct horse battery ", "Correct horse battery", "", "x" * 5000):
        assert not await checker.fits(kept, other)
    assert not await checker.fits("", "correct horse battery")


def test_good_passwords_are_long_and_not_one_letter() -> None:
    for good in ("correct horse battery", "ébène-ébène"):
        check_password(good, "eva")
    for bad in ("", "short", "x" * 2000, "1234567890", "eva1234567", "EVA-1234567", "abababababab"):
        with pytest.raises(Invalid):
            check_password(bad, "eva")
