"""A backup holds every table and every column of both stores: what a migration adds must be added to ``store.tables``."""

from __future__ import annotations

from pathlib import Path

import psycopg

from headrace.store.sql import load_queries
from headrace.store.sqlite import connection as opening
from headrace.store.sqlite.migrate import PACKAGE, migrate
from headrace.store.tables import BLOBS, TABLES, Table, fitted

MADE_ANEW = {
    "schema_migration": set[str](),
    "run_params": set[str](),
    "open_run": set[str](),
    "other_run": set[str](),
    "blob_chunk": set[str](),
    "sqlite_sequence": set[str](),
}
"""Tables that a restore makes from others."""
DERIVED = {"run": {"labels"}, "blob": {"id", "begun_at"}}
"""Columns likewise."""
ONE_STORE_ONLY = {"sqlite": {"run": {"at"}, "task": {"at"}, "commit_row": {"position", "second"}}, "postgresql": {}}


def compare(kind: str, found: dict[str, set[str]]) -> None:
    wanted = {table.name: set(table.names) for table in (*TABLES, BLOBS)}
    if kind == "sqlite":
        del wanted["blob"]
    else:
        wanted["blob"] -= {"no", "data"}
    for name in MADE_ANEW:
        found.pop(name, None)
    assert found.keys() == wanted.keys(), "add the table to store.tables, and to both queries/backup.sql"
    for name, columns in found.items():
        missing = columns - wanted[name] - DERIVED.get(name, set())
        assert not missing, f"{kind}: add {missing} of {name} to store.tables, and to both queries/backup.sql"
        assert wanted[name] - columns <= ONE_STORE_ONLY[kind].get(name, set())


def test_every_table_and_column_of_sqlite_is_in_a_backup(tmp_path: Path) -> None:
    conn = opening.open_writer(str(tmp_path / "x.db"), opening.SqliteOptions())
    migrate(conn, load_queries(PACKAGE), 1)
    tables = [row[0] for row in conn.execute("select name from sqlite_schema where type = 'table'")]
    compare("sqlite", {t: {row[1] for row in conn.execute(f"pragma table_info({t})")} for t in tables})


def test_every_table_and_column_of_postgresql_is_in_a_backup(postgres_dsn: str) -> None:
    found: dict[str, set[str]] = {}
    with psycopg.connect(postgres_dsn) as conn:
        rows = conn.execute(
            "select table_name, column_name from information_schema.columns where table_schema = 'headrace'"
        )
        for table, column in rows:
            found.setdefault(table, set()).add(column)
    compare("postgresql", found)


def test_rows_of_an_older_archive_get_the_defaults_of_newer_columns() -> None:
    table = Table("t", (("a", "int8"), ("b", "text"), ("c", "int8")), (("c", 7),))
    assert list(fitted([(1, "x", 3)], ("a", "b", "c"), table)) == [(1, "x", 3)]
    assert list(fitted([("x", 1)], ("b", "a"), table)) == [(1, "x", 7)]
