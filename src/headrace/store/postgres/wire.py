"""Named statements over one connection, many in one round trip: libpq's pipeline, without psycopg's cursors.

A cursor per statement costs several times what the statement does (measured: 1.2 ms of CPU for a group of six). Never
decides, never retries, never hides that the line is lost. Called by whoever has the connection: ``writer``, ``pool``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import psycopg
from psycopg.adapt import Transformer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus
from psycopg.pq.abc import PGresult

from headrace.store.postgres.arrays import PACKED
from headrace.store.postgres.connect import Connection, Queries, Row

_FAILED, _SKIPPED, _SYNCED = ExecStatus.FATAL_ERROR, ExecStatus.PIPELINE_ABORTED, ExecStatus.PIPELINE_SYNC
_BINARY = tuple([1] * n for n in range(20))


class Wire:
    """``send`` as many as you like, then ``answers``. Nothing else may use the connection meanwhile."""

    def __init__(self, conn: Connection, queries: Queries) -> None:
        self._pg = conn.pgconn
        self._rows = Transformer(conn)
        self._queries = queries
        self._known: set[str] = set()
        self._sent: list[tuple[str, bool]] = []
        """What the server has been asked and has not answered: a statement's name, and whether it was made known only."""
        self._pg.enter_pipeline_mode()

    @property
    def waits(self) -> int:
        """How many statements were sent since the last answers."""
        return sum(not made for _, made in self._sent)

    def send(self, name: str, params: Sequence[Any] = ()) -> None:
        """Ask for a statement to be run after those sent before. What goes wrong is said by ``answers``."""
        pg, key = self._pg, name.encode()
        kinds = [PACKED[type(value)] for value in params]
        if name not in self._known:
            pg.send_prepare(key, self._queries[name], [oid for oid, _ in kinds])
            self._sent.append((name, True))
            self._known.add(name)
        values = [pack(value) for (_, pack), value in zip(kinds, params, strict=True)]
        pg.send_query_prepared(key, values, _BINARY[len(values)], 1)
        self._sent.append((name, False))

    async def answers(self) -> list[PGresult]:
        """One round trip: the result of each statement sent, in order. Raises psycopg's error of the first that failed.

        Statements after it were not run. When the line is lost, or this is cancelled, the connection is of no more use.
        """
        pg, sent = self._pg, self._sent
        self._sent = []
        try:
            pg.pipeline_sync()
            while pg.flush():
                await self._ready(write=True)
                pg.consume_input()
            return await self._take(sent)
        except psycopg.Error as error:
            if error.sqlstate is None or _ends(error):
                pg.finish()
            raise
        except BaseException:
            pg.finish()
            raise

    def rows(self, result: PGresult) -> list[Row]:
        """All rows of a result."""
        self._rows.set_pgresult(result)
        return self._rows.load_rows(0, result.ntuples, tuple)

    async def _take(self, sent: list[tuple[str, bool]]) -> list[PGresult]:
        results: list[PGresult] = []
        failed: psycopg.Error | None = None
        for name, made in sent:
            result = await self._result()
            if result.status in {_FAILED, _SKIPPED}:
                if made:
                    self._known.discard(name)
                if failed is None and result.status == _FAILED:
                    failed = error_from_result(result)
                    if _ends(failed):
                        raise failed
            elif not made:
                results.append(result)
            await self._result(none=True)
        synced = await self._result()
        if synced.status != _SYNCED:
            raise psycopg.OperationalError(f"the pipeline is out of step: {ExecStatus(synced.status).name}")
        if failed is not None:
            raise failed
        return results

    async def _result(self, *, none: bool = False) -> Any:
        """The next result; with ``none`` the mark that a statement's results are over."""
        pg = self._pg
        while pg.is_busy():
            await self._ready()
            pg.consume_input()
        result = pg.get_result()
        if none != (result is None):
            raise psycopg.OperationalError("the pipeline is out of step")
        return result

    async def _ready(self, *, write: bool = False) -> None:
        """Until the socket can be read (or written, if that is wanted too)."""
        loop = asyncio.get_running_loop()
        ready: asyncio.Future[None] = loop.create_future()
        socket = self._pg.socket

        def woken() -> None:
            if not ready.done():
                ready.set_result(None)

        loop.add_reader(socket, woken)
        if write:
            loop.add_writer(socket, woken)
        try:
            await ready
        finally:
            loop.remove_reader(socket)
            if write:
                loop.remove_writer(socket)


def _ends(error: psycopg.Error) -> bool:
    """The server ends the connection: nothing more comes."""
    return error.diag.severity_nonlocalized in {"FATAL", "PANIC"}
