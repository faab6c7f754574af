"""Cursors come from outside: whatever is sent is one of ours or refused with a sentence, never an error of another kind."""

from __future__ import annotations

import base64
import random
from contextlib import suppress

import msgspec
import pytest

from headrace.control.events.cursor import Cursor, read_cursor
from headrace.control.events.subjects import Wanted
from headrace.model.errors import Invalid

LETTERS = "ABCDEFGHabcdefgh0123456789-_=+/ .%\0é"


def some_text(dice: random.Random) -> str:
    kind = dice.randrange(4)
    if kind == 0:
        return "".join(dice.choices(LETTERS, k=dice.randrange(40)))
    if kind == 1:
        good = Cursor(1, dice.randrange(2**62), dice.randrange(99), dice.randrange(2**40), dice.randrange(9)).text()
        at = dice.randrange(len(good))
        return good[:at] + dice.choice(LETTERS) + good[at + dice.randrange(3) :]
    parts = [
        dice.choice([0, 1, -1, 2**63, 2**62, 2**64 - 1, 1.5, None, "x", b"y", [], {}]) for _ in range(dice.randrange(8))
    ]
    packed = msgspec.msgpack.encode(parts if kind == 2 else dict(enumerate(map(str, parts))))
    return base64.urlsafe_b64encode(packed + dice.randbytes(dice.randrange(2))).decode().rstrip("=")


@pytest.mark.parametrize("count", [20_000, pytest.param(1_000_000, marks=pytest.mark.tail)])
def test_a_cursor_is_one_of_ours_or_refused(count: int) -> None:
    dice = random.Random(count)
    good = 0
    for _ in range(count):
        with suppress(Invalid):
            cursor = read_cursor(some_text(dice))
            assert read_cursor(cursor.text()) == cursor
            assert cursor.before.position <= 2**62
            good += 1
    assert good


def test_every_cursor_that_is_given_out_is_read_again() -> None:
    for cursor in (Cursor(1), Cursor(1, 2**62, 2**62, 2**40, 2**40), Cursor(3, 5, 0, 0, 1)):
        assert read_cursor(cursor.text()) == cursor


def test_a_subject_is_a_word_or_refused() -> None:
    dice = random.Random(5)
    for _ in range(20_000):
        with suppress(Invalid):
            wanted = Wanted(["".join(dice.choices("runsjob/*12,é", k=dice.randrange(9)))], lambda _: True)
            wanted.takes(12, ("", ""), "runs/12/tasks/a")
            wanted.takes(0, ("job", "nightly"), "jobs/nightly")
