"""The store on SQLite: the only room that knows apsw."""

from headrace.store.sqlite.connection import SqliteOptions
from headrace.store.sqlite.store import SqliteStore, open_sqlite

__all__ = ["SqliteOptions", "SqliteStore", "open_sqlite"]
