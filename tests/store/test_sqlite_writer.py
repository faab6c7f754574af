"""The ledger's connection on SQLite when a COMMIT does not happen: whoever comes next gets the turn."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest

from headrace.model.errors import StoreError
from headrace.store.sql import load_queries
from headrace.store.sqlite import SqliteOptions
from headrace.store.sqlite import connection as opening
from headrace.store.sqlite.blobs import FileBlobs
from headrace.store.sqlite.files import OsFiles
from headrace.store.sqlite.migrate import PACKAGE, migrate
from headrace.store.sqlite.offload import Inline, Offload, Threads
from headrace.store.sqlite.writer import SqliteWriter

Body = Callable[[SqliteWriter, "Trouble"], Awaitable[None]]


class Trouble:
    """Whether the next COMMIT fails, and where: before SQLite was asked, or inside it, as on a full disk."""

    def __init__(self, conn: apsw.Connection) -> None:
        self.point = ""
        self._conn = conn

    def fault(self, point: str) -> None:
        if point == self.point:
            raise StoreError(f"fault at {point}")

    def begin(self, where: str) -> None:
        if where == "inside":
            self._conn.set_commit_hook(lambda: True)
        else:
            self.point = where

    def end(self) -> None:
        self._conn.set_commit_hook(None)
        self.point = ""


def with_writer(folder: Path, committer: Offload, body: Body) -> None:
    async def main() -> None:
        queries = load_queries(PACKAGE)
        conn = opening.open_writer(str(folder / "x.db"), SqliteOptions())
        migrate(conn, queries, 1)
        trouble = Trouble(conn)
        blobs = FileBlobs(str(folder / "blobs"), OsFiles(), offload=Inline(), fault=trouble.fault)
        writer = SqliteWriter(conn, queries, blobs=blobs, committer=committer, fault=trouble.fault)
        try:
            async with asyncio.timeout(20):
                await body(writer, trouble)
        finally:
            committer.close()
            writer.close()

    asyncio.run(main())


@pytest.mark.parametrize("threaded", [False, True])
@pytest.mark.parametrize("where", ["inside", "store.before_commit"])
def test_a_block_of_numbers_that_is_not_committed_gives_the_turn_back(
    tmp_path: Path, where: str, threaded: bool
) -> None:
    async def body(writer: SqliteWriter, trouble: Trouble) -> None:
        first = await writer.reserve("run", 10)
        trouble.begin(where)
        with pytest.raises(StoreError):
            await writer.reserve("run", 10)
        trouble.end()
        assert await writer.reserve("run", 10) == first + 10
        await writer.begin()
        await writer.rollback()

    with_writer(tmp_path, Threads(1, "commit") if threaded else Inline(), body)


@pytest.mark.parametrize("where", ["inside", "store.before_commit"])
def test_a_commit_that_fails_leaves_the_turn_with_its_owner_until_he_rolls_back(tmp_path: Path, where: str) -> None:
    async def body(writer: SqliteWriter, trouble: Trouble) -> None:
        await writer.begin()
        trouble.begin(where)
        with pytest.raises(StoreError):
            await writer.commit()
        trouble.end()
        other = asyncio.ensure_future(writer.reserve("run", 10))
        await asyncio.sleep(0)
        assert not other.done()
        await writer.rollback()
        assert await other >= 0

    with_writer(tmp_path, Inline(), body)
