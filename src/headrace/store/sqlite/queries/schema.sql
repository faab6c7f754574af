-- What the store knows about itself: migrations that were applied, identity, blocks of ids.

-- name: schema_table
CREATE TABLE IF NOT EXISTS schema_migration (
  number INTEGER PRIMARY KEY,
  name   TEXT NOT NULL,
  at     INTEGER NOT NULL
) STRICT;

-- name: schema_applied
SELECT number, name FROM schema_migration ORDER BY number;

-- name: schema_record
INSERT INTO schema_migration (number, name, at) VALUES (?, ?, ?);

-- name: meta_get
SELECT value FROM meta WHERE key = ?;

-- name: meta_put
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: ids_reserve
INSERT INTO id_block (what, next) VALUES (?1, 1 + ?2)
ON CONFLICT (what) DO UPDATE SET next = next + ?2
RETURNING next - ?2;
