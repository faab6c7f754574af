"""What became of a transaction whose connection was lost during COMMIT: asks the server before anybody is answered.

Never guesses: a transaction id is believed only on the timeline that gave it (a promoted standby counts anew).
Called by ``writer``.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

import psycopg

from headrace.model.errors import HeadraceError
from headrace.store.postgres.connect import Connection, Queries, connect

Verdict = Literal["committed", "aborted", "unknown"]

PATIENCE = 10.0
"""Seconds in which a restarting server may come back and a dying backend may finish."""

_PAUSE = 0.1


class Lost(NamedTuple):
    """The transaction: its id, the backend that ran it, the timeline on which both mean something."""

    xid: str
    backend: int
    timeline: str


async def ask(dsn: str, queries: Queries, lost: Lost, patience: float = PATIENCE) -> Verdict:
    """The server's own word, or "unknown" when it gave none within ``patience`` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + patience
    while loop.time() < until:
        try:
            conn = await connect(dsn, queries)
        except HeadraceError:
            await asyncio.sleep(_PAUSE)
            continue
        async with conn:
            try:
                verdict = await _verdict(conn, queries, lost, until)
            except psycopg.Error:
                await asyncio.sleep(_PAUSE)
                continue
            return verdict
    return "unknown"


async def _verdict(conn: Connection, queries: Queries, lost: Lost, until: float) -> Verdict:
    loop = asyncio.get_running_loop()
    if await _scalar(conn, queries["timeline"]) != lost.timeline:
        return "unknown"
    while True:
        status = await _scalar(conn, queries["xact_status"], lost.xid)
        if status in {"committed", "aborted"}:
            return "committed" if status == "committed" else "aborted"
        if status is None or loop.time() >= until:
            return "unknown"
        await conn.execute(queries["end_backend"], [lost.backend, lost.xid])
        await asyncio.sleep(_PAUSE)


async def _scalar(conn: Connection, query: bytes, *params: str) -> str | None:
    row = await (await conn.execute(query, params)).fetchone()
    return None if row is None or row[0] is None else str(row[0])
