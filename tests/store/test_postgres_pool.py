"""Readers' connections: asked with and without a cursor by turns, and found dead."""

from __future__ import annotations

import asyncio

import pytest

from headrace.model.errors import StoreError
from headrace.store.postgres import pool as pools
from headrace.store.postgres.connect import queries
from headrace.store.postgres.pool import Pool
from headrace.store.postgres.store import open_store


def test_a_connection_is_asked_with_and_without_a_cursor_and_outlives_an_error(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = {**queries(), "broken": b"select 1 / $1::bigint"}
    monkeypatch.setattr(pools, "OFTEN", pools.OFTEN | {"broken"})

    async def main() -> None:
        store = await open_store(postgres_dsn)
        pool = Pool(postgres_dsn, broken, size=1)
        try:
            for _ in range(2):
                assert await pool.rows("entity_by_key", ["job", "none"]) == []
                assert await pool.rows("pruned", []) == []
                assert await pool.row("broken", [1]) == (1,)
                with pytest.raises(StoreError, match="division by zero"):
                    await pool.rows("broken", [0])
            async with pool.connection() as conn:
                pid = conn.info.backend_pid
            async with pool.connection() as conn:
                assert conn.info.backend_pid == pid
        finally:
            await pool.close()
            await store.close()

    asyncio.run(main())


def test_a_connection_that_died_while_it_lay_free_is_replaced(postgres_dsn: str) -> None:
    async def main() -> None:
        store = await open_store(postgres_dsn)
        pool, other = Pool(postgres_dsn, queries(), size=1), Pool(postgres_dsn, queries(), size=1)
        try:
            assert await pool.rows("entity_by_key", ["job", "none"]) == []
            async with pool.connection() as conn:
                pid = conn.info.backend_pid
            async with other.connection() as conn:
                await conn.execute("select pg_terminate_backend($1, 5000)", [pid])
            assert await pool.rows("entity_by_key", ["job", "none"]) == []
        finally:
            await pool.close()
            await other.close()
            await store.close()

    asyncio.run(main())


def test_who_stops_waiting_for_an_answer_leaves_nothing_of_it_to_the_next(
    postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow = {**queries(), "slow": b"select 7 from pg_sleep(20)"}
    monkeypatch.setattr(pools, "OFTEN", pools.OFTEN | {"slow"})

    async def main() -> None:
        store = await open_store(postgres_dsn)
        pool, other = Pool(postgres_dsn, slow, size=1), Pool(postgres_dsn, queries(), size=1)
        asked = "select 1 from pg_stat_activity where datname = current_database() and query like '%pg_sleep(20)'"
        try:
            await pool.rows("entity_by_key", ["job", "none"])
            waiting = asyncio.ensure_future(pool.rows("slow", []))
            async with other.connection() as conn:
                while not await (await conn.execute(asked)).fetchall():
                    await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait([waiting])
            assert await pool.rows("entity_by_key", ["job", "none"]) == []
        finally:
            await pool.close()
            await other.close()
            await store.close()

    asyncio.run(main())
