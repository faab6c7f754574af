"""The ledger's connection on SQLite: when a COMMIT does not happen, whoever comes next gets the turn; what is written again."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import apsw
import pytest

from headrace.model.cells import RunCell, RunInput
from headrace.model.errors import StoreError
from headrace.model.states import RunState
from headrace.store.images import decode_run
from headrace.store.rows import Batch, NewRun
from headrace.store.sql import load_queries
from headrace.store.sqlite import SqliteOptions
from headrace.store.sqlite import connection as opening
from headrace.store.sqlite.blobs import FileBlobs
from headrace.store.sqlite.files import OsFiles
from headrace.store.sqlite.migrate import PACKAGE, migrate
from headrace.store.sqlite.offload import Inline, Offload, Threads
from headrace.store.sqlite.writer import SqliteWriter, rows_of

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


def test_the_columns_of_a_run_say_what_its_image_says_whatever_moved(tmp_path: Path) -> None:
    """Also where a transaction has several batches, and after a commit that did not happen."""
    queued, running, paused = RunState.queued, RunState.running, RunState.paused
    steps = [
        [(running, 0)],  # moved
        [(running, 0)],  # only counted
        [(running, 7)],
        [(paused, 7), (running, 7)],  # there and back within one transaction
        [(running, 7), (paused, 7)],
        [(running, 0)],
    ]

    async def body(writer: SqliteWriter, trouble: Trouble) -> None:
        conn = opening.open_reader(str(tmp_path / "x.db"), SqliteOptions())
        first = RunCell(5, 1, queued, 1, created_at=1)
        await _written(writer, Batch(1, new_runs=[NewRun(RunInput(5, 1, "job", 1, 1), first)]))
        version = 1
        for fails in (False, True):
            for batches in steps:
                cells = []
                for state, due in batches:
                    version += 1
                    cells.append(RunCell(5, 1, state, version, due_at=due, created_at=1))
                if fails:
                    trouble.begin("inside")
                    with pytest.raises(StoreError):
                        await _written(writer, *[Batch(1, runs=[cell]) for cell in cells])
                    trouble.end()
                await _written(writer, *[Batch(1, runs=[cell]) for cell in cells])
                ((state, due, image),) = conn.execute("SELECT state, due_at, image FROM run")
                assert decode_run(image) == cells[-1]
                assert (state, due) == (cells[-1].state, cells[-1].due_at)
                open_runs = conn.execute(
                    "SELECT count(*) FROM run INDEXED BY run_open WHERE state = ? AND state < 4", (state,)
                )
                assert open_runs.fetchall() == [(1,)]
        conn.close()

    with_writer(tmp_path, Inline(), body)


def test_what_stays_as_it_was_is_not_written_into_an_index_again(tmp_path: Path) -> None:
    cells = [RunCell(5, 1, RunState.running, version, created_at=1) for version in range(1, 4)]
    first, second, third = [
        [name for name, rows in rows_of(Batch(1, runs=[cell]), before) if rows]
        for cell, before in zip(cells, ({}, {5: cells[0]}, {5: RunCell(5, 1, RunState.queued)}), strict=True)
    ]
    assert (first, second, third) == (["put_runs"], ["put_run_images"], ["put_runs"])


async def _written(writer: SqliteWriter, *batches: Batch) -> None:
    await writer.begin()
    try:
        for batch in batches:
            await writer.write(batch)
        await writer.commit()
    except BaseException:
        await writer.rollback()
        raise
