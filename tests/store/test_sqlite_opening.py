"""Opening SQLite: what is asserted, what is refused, and that the schema is all of its migrations."""

from __future__ import annotations

import asyncio
from pathlib import Path

import apsw
import pytest

from headrace.model.errors import NotFound, StoreError
from headrace.store.sql import load_migrations, load_queries
from headrace.store.sqlite import SqliteOptions, open_sqlite
from headrace.store.sqlite import connection as opening
from headrace.store.sqlite.migrate import PACKAGE, migrate


class StillClock:
    def now(self) -> int:
        return 1

    def monotonic(self) -> float:
        return 0.0


def test_the_settings_that_safety_rests_on_are_read_back(tmp_path: Path) -> None:
    async def main() -> None:
        store = await open_sqlite(str(tmp_path), clock=StillClock())
        found = store.identity.settings
        assert (found["journal_mode"], found["synchronous"], found["wal_autocheckpoint"]) == ("wal", "2", "4000")
        await store.close()

    asyncio.run(main())


def test_a_setting_that_does_not_take_is_an_error(tmp_path: Path) -> None:
    # A database in memory cannot have a write-ahead log: the pragma is accepted and does nothing.
    with pytest.raises(StoreError, match="journal_mode is 'memory'"):
        opening.open_writer(":memory:", SqliteOptions())


def test_an_old_library_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    opening.assert_library()
    monkeypatch.setattr(opening, "OLDEST", (99, 0, 0))
    with pytest.raises(StoreError, match="too old"):
        opening.assert_library()


def test_the_schema_is_all_migrations_whatever_was_there_before(tmp_path: Path) -> None:
    queries = load_queries(PACKAGE)
    whole = opening.open_writer(str(tmp_path / "whole.db"), SqliteOptions())
    assert migrate(whole, queries, 1) == load_migrations(PACKAGE)[-1][0]
    steps = opening.open_writer(str(tmp_path / "steps.db"), SqliteOptions())
    for _, text in load_migrations(PACKAGE):
        for _ in steps.execute(text):
            pass
    wanted = "SELECT name, sql FROM sqlite_schema WHERE name NOT LIKE 'schema_migration%' ORDER BY name"
    assert whole.execute(wanted).fetchall() == steps.execute(wanted).fetchall()
    assert migrate(whole, queries, 2) == load_migrations(PACKAGE)[-1][0]
    assert whole.execute("SELECT min(at), max(at) FROM schema_migration").fetchall() == [(1, 1)]


def test_every_statement_fits_the_schema(tmp_path: Path) -> None:
    queries = load_queries(PACKAGE)
    conn = opening.open_writer(str(tmp_path / "x.db"), SqliteOptions())
    migrate(conn, queries, 1)
    for name, text in queries.items():
        found = list(conn.execute(f"EXPLAIN QUERY PLAN {text}", can_cache=False)) if _plain(text) else []
        plan = " | ".join(str(row[3]) for row in found)
        live = name in {"ready", "due_tasks", "due_runs", "leased", "load_runs", "load_tasks", "put_runs", "put_tasks"}
        assert not (live and "SCAN task" in plan), (name, plan)
        assert not (live and "SCAN run" in plan), (name, plan)


def _plain(text: str) -> bool:
    return ":" not in text and "?" not in text


def test_a_folder_of_a_newer_headrace_is_refused(tmp_path: Path) -> None:
    queries = load_queries(PACKAGE)
    conn = opening.open_writer(str(tmp_path / "x.db"), SqliteOptions())
    migrate(conn, queries, 1)
    conn.execute("INSERT INTO schema_migration VALUES (9999, 'future', 1)")
    with pytest.raises(StoreError, match="newer Headrace"):
        migrate(conn, queries, 1)


def test_a_reader_cannot_write(tmp_path: Path) -> None:
    conn = opening.open_writer(str(tmp_path / "x.db"), SqliteOptions())
    migrate(conn, load_queries(PACKAGE), 1)
    reader = opening.open_reader(str(tmp_path / "x.db"), SqliteOptions())
    with pytest.raises(apsw.ReadOnlyError):
        reader.execute("DELETE FROM meta")


def test_alone_on_a_vfs_without_shared_memory(tmp_path: Path) -> None:
    async def main() -> None:
        store = await open_sqlite(str(tmp_path), clock=StillClock(), options=SqliteOptions(alone=True), inline=True)
        assert store.identity.settings["locking_mode"] == "exclusive"
        assert await store.reserve_ids("run", 5) == 1
        assert await store.reader.counts() == {"ready": 0, "leased": 0, "due": 0, "runs": 0}
        await store.close()

    asyncio.run(main())


def test_a_damaged_blob_is_noticed(tmp_path: Path) -> None:
    async def main() -> None:
        store = await open_sqlite(str(tmp_path), clock=StillClock(), inline=True)
        digest, _ = await store.blobs.put(b"precious")
        (tmp_path / "blobs" / digest[:2] / digest).write_bytes(b"precioUs")
        with pytest.raises(StoreError, match="damaged"):
            await store.blobs.get(digest)
        with pytest.raises(StoreError, match="damaged"):
            _ = [piece async for piece in store.blobs.stream(digest)]
        with pytest.raises(NotFound):
            await store.blobs.get("../../etc/passwd")
        await store.close()

    asyncio.run(main())
