-- A backup reads these from a copy of the file, in the columns of store.tables; a restore writes them into a new one.

-- name: last_commit_at
SELECT coalesce(max(at), 0) FROM commit_row;

-- name: quick_check
PRAGMA quick_check;

-- name: dump_meta
SELECT key, value FROM meta ORDER BY key;

-- name: load_meta
INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value;

-- name: dump_id_block
SELECT what, next FROM id_block ORDER BY what;

-- name: load_id_block
INSERT INTO id_block (what, next) VALUES (?, ?);

-- name: dump_document
SELECT graph, digest, body FROM document ORDER BY graph;

-- name: load_document
INSERT INTO document (graph, digest, body) VALUES (?, ?, ?);

-- name: dump_class
SELECT klass, body FROM class ORDER BY klass;

-- name: load_class
INSERT INTO class (klass, body) VALUES (?, ?);

-- name: dump_run
SELECT r.id, r.state, r.due_at, r.created_at, r.job, r.input, coalesce(p.data, r.params), 0, r.image
FROM run r LEFT JOIN run_params p ON p.run = r.id ORDER BY r.id;

-- name: load_run
INSERT INTO run (id, state, due_at, created_at, job, labels, input, params, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: load_run_params
INSERT INTO run_params (run, data) VALUES (?, ?);

-- name: dump_task
SELECT run, no, idx, state, klass, rank, due_at, agent, 0, image FROM task ORDER BY run, no, idx;

-- name: load_task
INSERT INTO task (run, no, idx, state, klass, rank, due_at, agent, image) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: dump_history_run
SELECT run, no, idx, version, at, commit_no, body FROM history_run ORDER BY run, no, idx, version;

-- name: load_history_run
INSERT INTO history_run (run, no, idx, version, at, commit_no, body) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: dump_commit_row
SELECT commit_no, at, node, actor, source, why, touched, NULL, NULL FROM commit_row ORDER BY commit_no;

-- name: load_commit_row
INSERT INTO commit_row (commit_no, at, node, actor, source, why, touched) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: dump_attempt
SELECT run, no, idx, attempt, image FROM attempt ORDER BY run, no, idx, attempt;

-- name: load_attempt
INSERT INTO attempt (run, no, idx, attempt, image) VALUES (?, ?, ?, ?, ?);

-- name: dump_value
SELECT run, no, idx, data FROM value ORDER BY run, no, idx;

-- name: load_value
INSERT INTO value (run, no, idx, data) VALUES (?, ?, ?, ?);

-- name: dump_segment
SELECT run, no, idx, attempt, first, last, digest, data FROM segment ORDER BY run, no, idx, attempt, first;

-- name: load_segment
INSERT INTO segment (run, no, idx, attempt, first, last, digest, data) VALUES (?, ?, ?, ?, ?, ?, ?, ?);

-- name: dump_artifact
SELECT run, no, idx, path, digest, size FROM artifact ORDER BY run, no, idx, path;

-- name: load_artifact
INSERT INTO artifact (run, no, idx, path, digest, size) VALUES (?, ?, ?, ?, ?, ?);

-- name: dump_entity
SELECT space, kind, name, version, created_at, updated_at, deleted_at, facts, image FROM entity ORDER BY space, kind, name;

-- name: load_entity
INSERT INTO entity (space, kind, name, version, created_at, updated_at, deleted_at, facts, image)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: dump_entity_history
SELECT space, kind, name, version, created_at, updated_at, deleted_at, facts, image, commit_no FROM entity_history
ORDER BY space, kind, name, version;

-- name: load_entity_history
INSERT INTO entity_history (space, kind, name, version, created_at, updated_at, deleted_at, facts, image, commit_no)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?);

-- name: dump_answer
SELECT scope, key, request, status, location, body, at FROM answer ORDER BY scope, key;

-- name: load_answer
INSERT INTO answer (scope, key, request, status, location, body, at) VALUES (?, ?, ?, ?, ?, ?, ?);

-- name: dump_outbox
SELECT seq, kind, subject, body, due_at FROM outbox ORDER BY seq;

-- name: load_outbox
INSERT INTO outbox (seq, kind, subject, body, due_at) VALUES (?, ?, ?, ?, ?);

-- name: dump_limit_use
SELECT name, key, run, no, idx, units FROM limit_use ORDER BY name, key, run, no, idx;

-- name: load_limit_use
INSERT INTO limit_use (name, key, run, no, idx, units) VALUES (?, ?, ?, ?, ?, ?);

-- name: dump_limit_tick
SELECT name, key, tick, at FROM limit_tick ORDER BY name, key;

-- name: load_limit_tick
INSERT INTO limit_tick (name, key, tick, at) VALUES (?, ?, ?, ?);

-- name: dump_gate_wait
SELECT name, key, rank, run FROM gate_wait ORDER BY name, key, rank, run;

-- name: load_gate_wait
INSERT INTO gate_wait (name, key, rank, run) VALUES (?, ?, ?, ?);

-- name: dump_cached
SELECT work, run, no, idx, at FROM cached ORDER BY work;

-- name: load_cached
INSERT INTO cached (work, run, no, idx, at) VALUES (?, ?, ?, ?, ?);

-- name: dump_child
SELECT parent, no, idx, epoch, run FROM child ORDER BY parent, no, idx, epoch;

-- name: load_child
INSERT INTO child (parent, no, idx, epoch, run) VALUES (?, ?, ?, ?, ?);

-- name: forget_credentials
-- Whatever opened the store that this was a backup of does not open this one.
DELETE FROM entity WHERE kind IN ('token', 'session') OR (kind = 'secret' AND name = 'run-tokens');

-- name: forget_credentials_history
DELETE FROM entity_history WHERE kind IN ('token', 'session') OR (kind = 'secret' AND name = 'run-tokens');

-- name: jump_ids
-- Numbers that were given out after the backup are never given out again.
UPDATE id_block SET next = (next / ?1 + 1) * ?1 + 1 WHERE what = ?2;

-- name: unfinished
SELECT id, state, job, created_at FROM run WHERE state < 4 ORDER BY id LIMIT ?;

-- name: holds_work
SELECT EXISTS (SELECT 1 FROM run) OR EXISTS (SELECT 1 FROM entity WHERE kind IN ('job', 'package'));

-- name: restored
SELECT value FROM meta WHERE key = 'restored';
