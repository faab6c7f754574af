"""What became of a transaction whose connection was lost during COMMIT: asks the server before anybody is answered.

Never guesses. The transaction is over when its backend is gone; that it committed is believed only of the commit row that
it wrote: a server that crashed, or a promoted standby, may have given the same transaction id to somebody else. That it
aborted may be believed of the id too (``pg_xact_status``), for the id of a commit is never given again. Called by
``writer``.
"""

from __future__ import annotations

import asyncio
from typing import Literal, NamedTuple

import psycopg
from psycopg import errors as pg

from headrace.model.errors import HeadraceError
from headrace.store.postgres.connect import Connection, Queries, connect

Verdict = Literal["committed", "aborted", "unknown"]

PATIENCE = 10.0
"""Seconds in which a restarting server may come back and a dying backend may finish."""

_PAUSE = 0.1
_ENDING = 0.02


class Lost(NamedTuple):
    """The transaction: its id if it was told, the backend that ran it and when that began, the timeline on which these
    mean something, a commit it wrote. Without an id there is a commit.
    """

    xid: str | None
    backend: int
    begun: str
    timeline: str
    commit: int | None


async def ask(dsn: str, queries: Queries, lost: Lost, patience: float) -> Verdict:
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
    same_server = await _scalar(conn, queries["timeline"]) == lost.timeline
    while same_server and await _scalar(conn, queries["end_backend"], lost.backend, lost.begun) is not None:
        if loop.time() >= until:
            return "unknown"
        await asyncio.sleep(_ENDING)
    if lost.commit is not None:
        return "aborted" if await _scalar(conn, queries["commit_there"], lost.commit) is None else "committed"
    if lost.xid is None or not same_server:
        return "unknown"
    return "aborted" if await _status(conn, queries, lost.xid) in {"aborted", "never"} else "unknown"


async def _status(conn: Connection, queries: Queries, xid: str) -> str | None:
    try:
        return await _scalar(conn, queries["xact_status"], xid)
    except pg.InvalidParameterValue:
        # "in the future": the server crashed before it had written anything of this transaction.
        return "never"


async def _scalar(conn: Connection, query: bytes, *params: str | int) -> str | None:
    row = await (await conn.execute(query, params)).fetchone()
    return None if row is None or row[0] is None else str(row[0])
