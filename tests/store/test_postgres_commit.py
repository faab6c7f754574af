"""A connection that is lost during COMMIT: nobody is told anything that the server did not say.

Between writer and server stands a proxy of the test's own that forwards, swallows or cuts at the very COMMIT.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest
from msgspec.structs import replace

from headrace.model.cells import RunCell, RunInput
from headrace.model.errors import StoreAway, UnknownOutcome
from headrace.store.postgres.store import PostgresStore, open_store
from headrace.store.rows import Batch, CommitRow, NewRun

if TYPE_CHECKING:
    from conformance.postgres_server import PostgresServer


class At(Enum):
    """What the proxy does at the next COMMIT."""

    nothing = 0
    cut_before = 1
    """The server sees the connection close and no COMMIT."""
    cut_after = 2
    """The server commits and answers; the answer is lost."""
    silence = 3
    """The server sees neither COMMIT nor an end: a cable was pulled."""
    gone = 4
    """As ``cut_after``, and nobody can connect any more."""


class Proxy:
    """Forwards a Unix socket of PostgreSQL byte for byte, until ``at`` says otherwise."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.folder = folder
        self._server = server
        self.at = At.nothing
        self._listening: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._held: list[asyncio.StreamWriter] = []

    async def start(self) -> None:
        self._listening = await asyncio.start_unix_server(self._serve, self.folder / ".s.PGSQL.5432")

    async def stop(self) -> None:
        if self._listening is not None:
            self._listening.close()
        for writer in self._held:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.at == At.gone:
            writer.close()
            return
        up_reader, up_writer = await asyncio.open_unix_connection(self._server / ".s.PGSQL.5432")
        back = asyncio.create_task(self._pump(up_reader, writer))
        self._tasks.add(back)
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                if self.at != At.nothing and b"commit\0" in chunk:
                    await self._lose(chunk, back, up_reader, up_writer)
                    writer.close()
                    return
                up_writer.write(chunk)
                await up_writer.drain()
        up_writer.close()
        writer.close()

    async def _lose(
        self,
        chunk: bytes,
        back: asyncio.Task[None],
        up_reader: asyncio.StreamReader,
        up_writer: asyncio.StreamWriter,
    ) -> None:
        back.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await back
        at = self.at
        if at != At.gone:
            self.at = At.nothing
        if at in {At.cut_after, At.gone}:
            up_writer.write(chunk)
            answer = b""
            while b"COMMIT\0" not in answer:
                more = await up_reader.read(65536)
                assert more, answer
                answer += more
        if at == At.silence:
            self._held.append(up_writer)
        else:
            up_writer.close()

    @staticmethod
    async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while chunk := await reader.read(65536):
                writer.write(chunk)
                await writer.drain()


@asynccontextmanager
async def proxied(server: PostgresServer, dsn: str, patience: float = 10) -> AsyncIterator[tuple[PostgresStore, Proxy]]:
    with tempfile.TemporaryDirectory(prefix="hr-px-") as folder:
        proxy = Proxy(Path(folder), server.folder)
        await proxy.start()
        store = await open_store(dsn.replace(str(server.folder), folder), patience=patience)
        try:
            async with asyncio.timeout(30):
                yield store, proxy
        finally:
            await store.close()
            await proxy.stop()


def made(run: int) -> Batch:
    row = NewRun(RunInput(run, 1, "job", 1, 1), RunCell(run, 1, created_at=1))
    return Batch(at=1, commits=[CommitRow(run, 1, 1, "me", "test")], new_runs=[row])


@pytest.fixture(params=[True, False], ids=["in two trips", "in one trip"], autouse=True)
def wait(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> bool:
    """Whether what was written is answered before COMMIT is sent, or travels with it, as the ledger has it."""
    monkeypatch.setattr(request.module, "WAIT", request.param)
    return bool(request.param)


WAIT = True


async def commit(store: PostgresStore, batch: Batch) -> None:
    await store.writer.begin()
    await store.writer.write(batch, wait=WAIT)
    await store.writer.commit()


def runs(dsn: str) -> set[int]:
    with psycopg.connect(dsn) as conn:
        return {row[0] for row in conn.execute("select id from headrace.run")}


def test_a_lost_answer_to_a_commit_that_happened_is_no_error(
    postgres_server: PostgresServer, postgres_dsn: str
) -> None:
    async def main() -> None:
        async with proxied(postgres_server, postgres_dsn) as (store, proxy):
            proxy.at = At.cut_after
            await commit(store, made(1))
            await commit(store, made(2))
        assert runs(postgres_dsn) == {1, 2}

    asyncio.run(main())


def test_a_commit_that_never_arrived_is_said_not_to_have_happened(
    postgres_server: PostgresServer, postgres_dsn: str
) -> None:
    async def main() -> None:
        async with proxied(postgres_server, postgres_dsn) as (store, proxy):
            proxy.at = At.cut_before
            with pytest.raises(StoreAway):
                await commit(store, made(1))
            await commit(store, made(2))
        assert runs(postgres_dsn) == {2}

    asyncio.run(main())


def test_a_transaction_in_doubt_on_a_silent_line_is_ended_before_it_is_judged(
    postgres_server: PostgresServer, postgres_dsn: str
) -> None:
    async def main() -> None:
        async with proxied(postgres_server, postgres_dsn) as (store, proxy):
            proxy.at = At.silence
            with pytest.raises(StoreAway, match="rolled back"):
                await commit(store, made(1))
            await commit(store, made(2))
        assert runs(postgres_dsn) == {2}

    asyncio.run(main())


def test_when_nobody_can_be_asked_the_outcome_is_unknown(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    async def main() -> None:
        async with proxied(postgres_server, postgres_dsn, patience=0.3) as (store, proxy):
            proxy.at = At.gone
            with pytest.raises(UnknownOutcome):
                await commit(store, made(1))
            proxy.at = At.nothing
            await commit(store, made(2))
        assert runs(postgres_dsn) == {1, 2}

    asyncio.run(main())


def test_a_transaction_id_alone_is_no_proof_of_a_commit(postgres_server: PostgresServer, postgres_dsn: str) -> None:
    """A crashed server may give the id again: without a commit row of ours nobody knows."""

    async def main() -> None:
        async with proxied(postgres_server, postgres_dsn) as (store, proxy):
            proxy.at = At.cut_after
            with pytest.raises(UnknownOutcome):
                await commit(store, replace(made(1), commits=[]))
            proxy.at = At.cut_before
            with pytest.raises(StoreAway):
                await commit(store, replace(made(2), commits=[]))

    asyncio.run(main())


def test_on_a_promoted_server_the_commit_row_decides(
    postgres_server: PostgresServer, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def main() -> None:
        async with proxied(postgres_server, postgres_dsn) as (store, proxy):
            monkeypatch.setattr(store.writer, "_timeline", "0000002A")
            proxy.at = At.cut_after
            await commit(store, made(1))
            monkeypatch.setattr(store.writer, "_timeline", "0000002A")
            proxy.at = At.cut_before
            with pytest.raises(StoreAway):
                await commit(store, made(2))

    asyncio.run(main())


def test_a_server_that_crashes_before_the_commit_is_asked_when_it_is_back(own_postgres: PostgresServer) -> None:
    dsn = own_postgres.fresh()
    restarting: list[asyncio.Task[None]] = []
    armed = False

    def fault(name: str, /) -> None:
        nonlocal armed
        if armed and name == "store.before_commit":
            armed = False
            own_postgres.crash()
            restarting.append(asyncio.get_running_loop().create_task(asyncio.to_thread(own_postgres.start)))

    async def main() -> None:
        nonlocal armed
        store = await open_store(dsn, fault=fault)
        await commit(store, made(1))
        assert await store.reader.run(1) is not None
        armed = True
        with pytest.raises(StoreAway):
            await commit(store, made(2))
        await restarting[0]
        await commit(store, made(3))
        assert await store.reader.run(2) is None
        assert await store.reader.run(3) is not None
        await store.close()

    asyncio.run(main())


def test_a_commit_whose_wait_for_a_standby_was_cut_short_is_not_said_to_be_safe(own_postgres: PostgresServer) -> None:
    """The server answers COMMIT all the same; only its warning tells that a failover may lose it."""

    dsn = own_postgres.fresh()

    async def main() -> None:
        store = await open_store(dsn)
        own_postgres.admin("alter system set synchronous_standby_names = 'nobody'")
        own_postgres.stop()
        own_postgres.start()
        await store.writer.close()
        await store.writer.begin()
        await store.writer.write(made(1))
        assert dict(await store.writer._rows("settings", []))["statement_timeout"] == "0"
        commit = asyncio.ensure_future(store.writer.commit())
        while not commit.done():
            own_postgres.admin("select pg_cancel_backend(pid) from pg_stat_activity where wait_event = 'SyncRep'")
            await asyncio.wait([commit], timeout=0.05)
        with pytest.raises(UnknownOutcome):
            await commit
        await store.close()

    asyncio.run(asyncio.wait_for(main(), 60))
