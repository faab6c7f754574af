"""Passwords: argon2id, in threads, a few at a time. The only place that sees one in clear text; keeps none.

19 MiB and two passes (OWASP's first choice). An unknown user costs as much as a known one. Called by ``control.api.users``
and ``control.api.sessions``.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from headrace.model.errors import Busy, Invalid, Problem

P = ParamSpec("P")
T = TypeVar("T")

AT_ONCE = 2
"""Threads that work on passwords at once: 19 MiB each, and control needs the processors too."""
WAITING_MAX = 32
"""More than these that wait are told to come back."""
LEAST, MOST = 10, 1024
MEMORY_KIB, PASSES, LANES = 19_456, 2, 1


class Passwords:
    """Hashes and compares."""

    def __init__(self) -> None:
        self._turn = asyncio.Semaphore(AT_ONCE)
        self._waiting = 0
        self._nobody = ""

    async def keep(self, password: str) -> str:
        """The argon2id text to keep of a good password."""
        return await self._in_turn(_hash, password.encode())

    async def fits(self, kept: str, password: str) -> bool:
        """Whether it is the one. ``kept`` empty: no such user, which takes as long and is never so."""
        if not self._nobody:
            self._nobody = await self._in_turn(_hash, secrets.token_bytes(16))
        found = await self._in_turn(_fits, (kept or self._nobody), password.encode()[: MOST * 4])
        return found and bool(kept)

    async def _in_turn(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        if self._waiting >= WAITING_MAX:
            raise Busy("too many passwords are being checked: try again", retry_after=2, status=429)
        self._waiting += 1
        try:
            async with self._turn:
                return await asyncio.to_thread(work, *args, **kwargs)
        finally:
            self._waiting -= 1


def check_password(password: str, user: str) -> None:
    """Raise Invalid for a password that is too easy: short, digits and the user's name, a few characters again and again."""
    said = None
    if not LEAST <= len(password) <= MOST:
        said = f"must have {LEAST} to {MOST} characters"
    elif password.lower().replace(user, "", 1).strip("0123456789!.-_") == "":
        said = "must be more than digits, signs and the user's name"
    elif len(set(password)) < 4:
        said = "must have at least 4 different characters"
    if said:
        raise Invalid("1 problem", problems=(Problem("password", said),))


def _hash(password: bytes) -> str:
    from argon2.low_level import Type, hash_secret  # 6 MB that a control without passwords does not need

    salt = secrets.token_bytes(16)
    kept: str = hash_secret(password, salt, PASSES, MEMORY_KIB, LANES, 32, Type.ID).decode()
    return kept


def _fits(kept: str, password: bytes) -> bool:
    from argon2 import exceptions, low_level  # see above

    try:
        found: bool = low_level.verify_secret(kept.encode(), password, low_level.Type.ID)
    except exceptions.VerifyMismatchError:
        return False
    return found
