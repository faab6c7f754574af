"""Opening SQLite: what is asserted, what is refused, and that the schema is all of its migrations."""

from __future__ import annotations

import asyncio
import re
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


WHOLE_TABLES = {
    # These are asked at a start, for a backup or a restore, or once a minute by who looks after all of it.
    "forget_credentials", "forget_credentials_history", "unfinished", "holds_work", "every_run", "history_count",
    "uses_against_tasks", "count_ready", "count_leased", "schema_applied",
    # One row at the end of an index.
    "log_end", "last_instant", "gates_waiting",
}  # fmt: skip
"""The statements that may read all of a table."""


def test_no_statement_reads_a_whole_table_but_those_that_are_to(tmp_path: Path) -> None:
    queries = load_queries(PACKAGE)
    conn = opening.open_writer(str(tmp_path / "x.db"), SqliteOptions())
    migrate(conn, queries, 1)
    walks = {"walk", "search"}
    plans = {name: _plan(conn, text) for name, text in queries.items()}
    scans = {name for name, plan in plans.items() if any(s.split()[1] not in walks for s in plan if _scans(s))}
    assert {name for name in scans if not name.startswith("dump_")} == WHOLE_TABLES
    assert len(plans) > 100


@pytest.mark.parametrize("name", ["groups", "groups_in"])
def test_the_tasks_of_a_run_are_found_one_by_one_and_not_each_among_all(tmp_path: Path, name: str) -> None:
    queries = load_queries(PACKAGE)
    conn = opening.open_writer(str(tmp_path / "x.db"), SqliteOptions())
    migrate(conn, queries, 1)
    # The other way round, a page of a run of 5,000 tasks took two seconds.
    assert _plan(conn, queries[name])[-2:] == ["SCAN walk", "SEARCH t USING PRIMARY KEY (run=? AND no=? AND idx=?)"]


def _scans(step: str) -> bool:
    return step.startswith("SCAN ") and " VIRTUAL TABLE " not in step and step != "SCAN CONSTANT ROW"


def _plan(conn: apsw.Connection, text: str) -> list[str]:
    """The steps of a statement, whatever values it will have."""
    names = dict.fromkeys(re.findall(r":(\w+)", text))
    for given in [names] if names else [(None,) * count for count in range(60)]:
        try:
            return [row[3] for row in conn.execute(f"EXPLAIN QUERY PLAN {text}", given, can_cache=False)]
        except apsw.BindingsError:
            continue
    raise AssertionError(f"no number of values fits: {text}")


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
