"""A seeded mutation fuzzer: texts made from good ones by cutting, doubling, splicing and strewing in dangerous words.

``fuzz`` feeds them to a function and wants that only our own errors come out, and soon. Everything follows from the seed,
so a finding is repeated by its number. Used by the tests of this folder.
"""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Sequence

from headrace.model.errors import HeadraceError

SLOW_S = 0.05
LONGEST = 240
INTERESTING = (
    b"", b"\x00", b"\xff", b"\xc3\x28", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\n", b"\r\n", b"\t", b" ", b'"', b"'", b"\\",
    b"\\u", b"\\ud800", b"\\x", b"-", b"+", b".", b"e", b"E", b"0", b"00", b"-0", b"1", b"9" * 40, b"1e400", b"1e-400",
    b"nan", b"NaN", b"Infinity", b"null", b"true", b"no", b"[", b"]", b"{", b"}", b"(", b")", b"[" * 120, b'{"a":' * 120,
    b":", b",", b";", b"#", b"$", b"${", b"$${", b"??", b"&a", b"*a", b"!", b"<<", b"---", b"...", b"|", b">", b"%", b"@", b"`",
    "é".encode(), "\u2028".encode(), "😀".encode(), b"\x80", b"\x7f",
)  # fmt: skip


class Mutator:
    """Makes texts. ``good`` are texts that the target accepts, ``words`` what its language is made of."""

    def __init__(self, seed: int, good: Sequence[bytes], words: Sequence[bytes]) -> None:
        self._dice = random.Random(seed)
        self._pool = list(good)
        self._good = len(self._pool)
        self._words = [*words, *INTERESTING]

    def text(self) -> bytes:
        """The next one."""
        dice = self._dice
        made = dice.choice(self._pool)
        for _ in range(int(dice.random() * 4) + (dice.random() < 0.95)):
            made = self._changed(made)
        return made[:LONGEST]

    def keep(self, text: bytes) -> None:
        """A text that was accepted: go on from it too."""
        if len(self._pool) < 500:
            self._pool.append(text)
        else:
            self._pool[self._good + int(self._dice.random() * (500 - self._good))] = text

    def _changed(self, text: bytes) -> bytes:
        random_ = self._dice.random
        at = int(random_() * (len(text) + 1))
        kind = int(random_() * 7)
        if kind <= 1:
            return text[:at] + self._dice.choice(self._words) + text[at:]
        if kind == 2:
            return text[:at] + text[at + 1 + int(random_() * 4) :]
        if kind == 3:
            return text[:at] + bytes((int(random_() * 256),)) + text[at + 1 :]
        if kind == 4:
            end = at + int(random_() * 24)
            return text[:end] + text[at:end] * (1 + int(random_() * 3)) + text[end:]
        other = self._dice.choice(self._pool)
        cut = int(random_() * (len(other) + 1))
        return text[:at] + other[cut:] if kind == 5 else text[:at] + other[cut : cut + 16] + text[at:]


def fuzz(target: Callable[[bytes], object], mutator: Mutator, runs: int) -> int:
    """So many texts; how many of them were accepted. Fails on any error that is not ours, and on a slow answer."""
    accepted = 0
    clock = time.thread_time
    for number in range(runs):
        text = mutator.text()
        start = clock()
        try:
            target(text)
        except HeadraceError as error:
            if error.status >= 500 or not str(error):
                raise AssertionError(f"text {number} {text!r}: {error!r}") from error
        except Exception as error:
            raise AssertionError(f"text {number} {text!r}: {error!r}") from error
        else:
            accepted += 1
            mutator.keep(text)
        if clock() - start > SLOW_S:
            took = min(_took(target, text) for _ in range(3))
            assert took < SLOW_S, f"text {number} {text!r} took {took * 1000:.0f} ms"
    return accepted


def _took(target: Callable[[bytes], object], text: bytes) -> float:
    start = time.thread_time()
    with contextlib.suppress(HeadraceError):
        target(text)
    return time.thread_time() - start
