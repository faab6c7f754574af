-- What the ledger's connection asks and writes. Rows are found by primary key only.

-- name: load_runs
SELECT image FROM run WHERE id = ?;

-- name: load_tasks
SELECT image FROM task WHERE run = ? AND no = ? AND idx = ?;

-- name: load_inputs
SELECT r.job, r.created_at, r.input, r.params, p.data FROM run r LEFT JOIN run_params p ON p.run = r.id WHERE r.id = ?;

-- name: load_members
SELECT image FROM task WHERE run = ? AND (no, idx) > (?, ?) ORDER BY no, idx LIMIT ?;

-- name: load_group
SELECT image FROM task WHERE run = ? AND no = ? AND idx > ? ORDER BY idx LIMIT ?;

-- name: load_values
SELECT t.image, v.data FROM task t LEFT JOIN value v ON v.run = t.run AND v.no = t.no AND v.idx = t.idx
WHERE t.run = ? AND t.no = ? AND t.idx = ?;

-- name: load_entities
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space
FROM entity WHERE space = 1 AND kind = ? AND name = ?;

-- name: load_answers
SELECT scope, key, request, status, location, body, at FROM answer WHERE scope = ? AND key = ?;

-- name: load_documents
SELECT digest, graph FROM document WHERE digest = ?;

-- name: add_documents
INSERT INTO document (graph, digest, body) VALUES (?, ?, ?);

-- name: add_classes
INSERT INTO class (klass, body) VALUES (?, ?) ON CONFLICT (klass) DO NOTHING;

-- name: add_runs
INSERT INTO run (id, state, due_at, created_at, job, labels, input, params, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: add_run_params
INSERT INTO run_params (run, data) VALUES (?, ?);

-- name: put_runs
UPDATE run SET state = ?, due_at = ?, image = ? WHERE id = ?;

-- name: put_run_images
UPDATE run SET image = ? WHERE id = ?;

-- name: put_labels
UPDATE run SET labels = ? WHERE id = ?;

-- name: add_tasks
INSERT INTO task (run, no, idx, state, klass, rank, due_at, agent, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_tasks
UPDATE task SET state = ?, klass = ?, rank = ?, due_at = ?, agent = ?, image = ? WHERE run = ? AND no = ? AND idx = ?;

-- name: add_history
INSERT INTO history_run (run, no, idx, version, at, commit_no, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_commits
INSERT INTO commit_row (commit_no, at, node, actor, source, why, touched) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: add_values
INSERT INTO value (run, no, idx, data) VALUES (?, ?, ?, ?) ON CONFLICT (run, no, idx) DO UPDATE SET data = excluded.data;

-- name: add_attempts
INSERT INTO attempt (run, no, idx, attempt, image) VALUES (?, ?, ?, ?, ?);

-- name: add_segments
INSERT INTO segment (run, no, idx, attempt, first, last, digest, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (run, no, idx, attempt, first) DO NOTHING;

-- name: add_artifacts
INSERT INTO artifact (run, no, idx, path, digest, size) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (run, no, idx, path) DO UPDATE SET digest = excluded.digest, size = excluded.size;

-- name: put_entities
INSERT INTO entity (space, kind, name, version, created_at, updated_at, deleted_at, facts, image)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (space, kind, name) DO UPDATE SET
  version = excluded.version, created_at = excluded.created_at, updated_at = excluded.updated_at,
  deleted_at = excluded.deleted_at, facts = excluded.facts, image = excluded.image;

-- name: add_entity_history
INSERT INTO entity_history (space, kind, name, version, created_at, updated_at, deleted_at, facts, image, commit_no)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: put_answers
INSERT INTO answer (scope, key, request, status, location, body, at) VALUES (?, ?, ?, ?, ?, ?, ?)
ON CONFLICT (scope, key) DO UPDATE SET
  request = excluded.request, status = excluded.status, location = excluded.location,
  body = excluded.body, at = excluded.at;

-- name: drop_answers
DELETE FROM answer WHERE scope = ? AND key = ? AND at < ?;

-- name: add_outbox
INSERT INTO outbox (kind, subject, body, due_at) VALUES (?, ?, ?, ?);

-- name: lock_outbox
SELECT seq FROM outbox WHERE seq = ?;

-- name: drop_outbox
DELETE FROM outbox WHERE seq = ?;

-- name: add_children
INSERT INTO child (parent, no, idx, epoch, run) VALUES (?, ?, ?, ?, ?);

-- name: load_uses
SELECT :name, :key,
  (SELECT coalesce(sum(units), 0) FROM limit_use WHERE name = :name AND key = :key),
  (SELECT tick FROM limit_tick WHERE name = :name AND key = :key),
  (SELECT at FROM limit_tick WHERE name = :name AND key = :key);

-- name: load_holders
SELECT run FROM limit_use WHERE name = ? AND key = ? ORDER BY run LIMIT 10000;

-- name: load_waiting
SELECT run FROM gate_wait WHERE name = ? AND key = ? ORDER BY rank, run LIMIT 1000;

-- name: add_uses
INSERT INTO limit_use (name, key, run, no, idx, units) VALUES (?, ?, ?, ?, ?, ?)
ON CONFLICT (name, key, run, no, idx) DO UPDATE SET units = excluded.units;

-- name: drop_uses
DELETE FROM limit_use WHERE name = ? AND key = ? AND run = ? AND no = ? AND idx = ?;

-- name: put_ticks
INSERT INTO limit_tick (name, key, tick, at) VALUES (?, ?, ?, ?)
ON CONFLICT (name, key) DO UPDATE SET tick = excluded.tick, at = excluded.at;

-- name: add_waits
INSERT INTO gate_wait (name, key, rank, run) VALUES (?, ?, ?, ?) ON CONFLICT (name, key, rank, run) DO NOTHING;

-- name: drop_waits
DELETE FROM gate_wait WHERE name = ? AND key = ? AND rank = ? AND run = ?;

-- name: find_cached
SELECT c.work, c.at, t.image, v.data FROM cached c JOIN task t ON t.run = c.run AND t.no = c.no AND t.idx = c.idx
LEFT JOIN value v ON v.run = c.run AND v.no = c.no AND v.idx = c.idx WHERE c.work = ?;

-- name: put_cached
INSERT INTO cached (work, run, no, idx, at) VALUES (?, ?, ?, ?, ?)
ON CONFLICT (work) DO UPDATE SET run = excluded.run, no = excluded.no, idx = excluded.idx, at = excluded.at;
