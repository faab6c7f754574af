"""The embedded store: SQLite through apsw, one control process per file."""
