"""Tokens, run tokens, roles: what is believed, and for how long."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from api_world import SECRET, World, run_async

from headrace.control.auth import (
    CACHE_MAX,
    RECHECK_US,
    Auth,
    Permission,
    Role,
)
from headrace.control.changes.named import Rows
from headrace.control.changes.tokens import RevokeToken
from headrace.control.credentials import (
    RunTokens,
    hash_token,
    mint_run_token,
    mint_token,
    put_token,
    verify_run_token,
)
from headrace.model.changes import SYSTEM
from headrace.model.errors import Forbidden, Unauthorized
from headrace.store.rows import Entity


class Hands:
    """A clock set by hand."""

    def __init__(self) -> None:
        self.at = 1_000_000_000

    def now(self) -> int:
        return self.at

    def monotonic(self) -> float:
        return self.at / 1_000_000


class Table:
    """Token rows in memory; counts how often it is asked."""

    def __init__(self) -> None:
        self.rows: dict[Any, Entity] = {}
        self.asked = 0

    async def entity(self, key: tuple[str, str]) -> Entity | None:
        self.asked += 1
        return self.rows.get(key)

    def add(self, role: Role = Role.admin, expires_at: int = 0) -> str:
        text, hashed = mint_token()
        change = put_token(hashed, role, expires_at=expires_at)
        entity = change.decide(Rows(), 1).entities[0]
        self.rows[entity.kind, entity.name] = entity
        return text


def made() -> tuple[Auth, Table, Hands]:
    table, hands = Table(), Hands()
    return Auth(table, hands, run_secret=SECRET), table, hands


def bearer(text: str) -> bytes:
    return f"Bearer {text}".encode()


def test_a_token_has_256_bits_and_its_row_does_not_contain_it() -> None:
    table = Table()
    texts = {table.add() for _ in range(50)}
    assert len(texts) == 50
    assert all(len(t) == 54 and t.startswith("hr_") for t in texts)
    kept = b"".join(row.image + row.name.encode() for row in table.rows.values())
    assert not any(t.encode() in kept or t[3:46].encode() in kept for t in texts)


@run_async
async def test_a_good_token_gives_its_role_and_is_read_once() -> None:
    auth, table, hands = made()
    text = table.add(Role.watcher)
    first, second = await auth.caller(bearer(text)), await auth.caller(bearer(text))
    assert first == second
    assert first.role is Role.watcher
    assert table.asked == 1
    assert auth.cached(bearer(text), hands.now()) == first


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"Bearer",
        b"Bearer ",
        b"Basic aGk6aGk=",
        b"Bearer short",
        b"Bearer " + b"x" * 10_000,
        b"Bearer \xff\xfe",
        b"Bearer hr_" + b"A" * 51,
        b"Bearer hrr_",
        b"Bearer hrr_AAAA",
        b"Bearer hrr_" + b"A" * 64,
        b"Bearer hrr_***",
    ],
)
@run_async
async def test_anything_but_a_good_token_is_refused(header: bytes | None) -> None:
    auth, table, _ = made()
    with pytest.raises(Unauthorized):
        await auth.caller(header)
    assert table.asked == 0


@run_async
async def test_an_unknown_token_of_the_right_shape_is_refused() -> None:
    auth, table, _ = made()
    table.add()
    text, _hashed = mint_token()
    with pytest.raises(Unauthorized):
        await auth.caller(bearer(text))


@run_async
async def test_a_row_found_by_the_beginning_of_its_hash_is_compared_whole() -> None:
    auth, table, _ = made()
    text, hashed = mint_token()
    other = hashed[:32] + "0" * 32
    entity = put_token(other, Role.admin).decide(Rows(), 1).entities[0]
    table.rows[entity.kind, entity.name] = entity
    with pytest.raises(Unauthorized):
        await auth.caller(bearer(text))


@run_async
async def test_an_expired_token_is_refused_even_from_the_cache() -> None:
    auth, table, hands = made()
    text = table.add(expires_at=hands.at + 10)
    caller = await auth.caller(bearer(text))
    hands.at += 10
    assert auth.cached(bearer(text), hands.now()) is None
    assert not await auth.alive(caller)
    with pytest.raises(Unauthorized):
        await auth.caller(bearer(text))


@run_async
async def test_a_revoked_token_is_believed_no_longer_than_the_recheck() -> None:
    auth, table, hands = made()
    text = table.add()
    caller = await auth.caller(bearer(text))
    table.rows.clear()
    assert await auth.alive(caller)
    hands.at += RECHECK_US
    assert not await auth.alive(caller)
    with pytest.raises(Unauthorized):
        await auth.caller(bearer(text))


@run_async
async def test_a_token_revoked_here_is_refused_at_once() -> None:
    auth, table, hands = made()
    text = table.add()
    await auth.caller(bearer(text))
    table.rows.clear()
    auth.forget(hash_token(text))
    assert auth.cached(bearer(text), hands.now()) is None
    with pytest.raises(Unauthorized):
        await auth.caller(bearer(text))


@run_async
@pytest.mark.parametrize("which", ["one", "all"])
async def test_a_token_revoked_while_its_row_is_read_is_refused_at_once(which: str) -> None:
    table, clock = Table(), Hands()
    auth = Auth(table, clock, run_secret=SECRET)
    text = table.add()
    header = f"Bearer {text}".encode()
    read = table.entity

    async def revoked_meanwhile(key: tuple[str, str]) -> Entity | None:
        found = await read(key)
        table.rows.clear()
        auth.forget(hash_token(text) if which == "one" else None)
        return found

    table.entity = revoked_meanwhile  # type: ignore[method-assign]  # the moment between read and use
    with pytest.raises(Unauthorized):
        await auth.caller(header)
    assert auth.cached(header, clock.at) is None


@run_async
async def test_the_cache_is_bounded() -> None:
    auth, table, _ = made()
    for _ in range(CACHE_MAX + 50):
        await auth.caller(bearer(table.add()))
    assert len(auth._cache) == CACHE_MAX


def test_a_run_token_says_what_it_was_made_for() -> None:
    text = mint_run_token(SECRET, 7, 2, 5, epoch=99, expires_at=10)
    claim = verify_run_token(SECRET, text, 9)
    assert (claim.run, claim.no, claim.index, claim.epoch, claim.expires_at) == (7, 2, 5, 99, 10)


def test_a_run_token_expires() -> None:
    text = mint_run_token(SECRET, 7, 2, epoch=99, expires_at=10)
    with pytest.raises(Unauthorized):
        verify_run_token(SECRET, text, 10)


def test_a_run_token_with_any_character_changed_is_refused() -> None:
    text = mint_run_token(SECRET, 7, 2, epoch=99, expires_at=10)
    body = len("hrr_")
    for at in range(body, len(text) - 1):
        other = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        with pytest.raises(Unauthorized):
            verify_run_token(SECRET, other, 1)
    with pytest.raises(Unauthorized):
        verify_run_token(b"t" * 32, text, 1)


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="32"):
        Auth(Table(), Hands(), run_secret=b"short")


@run_async
async def test_a_permission_is_required_by_name() -> None:
    auth, table, _ = made()
    caller = await auth.caller(bearer(table.add(Role.watcher)))
    caller.require(Permission.runs_read)
    with pytest.raises(Forbidden, match=r"watcher.*jobs:write"):
        caller.require(Permission.jobs_write)


@run_async
async def test_a_token_in_the_store_opens_and_revoking_closes(tmp_path: Path) -> None:
    async with World(tmp_path) as world:
        text, hashed = mint_token()
        assert (await world.get("/runs", token=text)).status == 401
        await world.node.ledger.change(put_token(hashed, Role.watcher), SYSTEM)
        assert (await world.get("/runs", token=text)).status == 200
        await world.node.ledger.change(RevokeToken(hashed[:32]), SYSTEM)
        world.services.auth.forget(hashed)
        assert (await world.get("/runs", token=text)).status == 401


def test_the_quick_way_mints_the_same_tokens() -> None:
    for length in (32, 64, 65, 200):
        secret = bytes(range(length))
        for epoch in (1, 2**40 + 1):
            quick = RunTokens(secret).mint(7, 2, -1, epoch=epoch, expires_at=10**15)
            assert quick == mint_run_token(secret, 7, 2, epoch=epoch, expires_at=10**15)
