-- What readers ask. Bounded answers; partial indexes only where the question is about live work.

-- name: run_by_id
SELECT r.job, r.created_at, r.input, r.params, p.data, r.image FROM run r LEFT JOIN run_params p ON p.run = r.id WHERE r.id = ?;

-- name: tasks
SELECT image FROM task WHERE run = ? AND (no, idx) > (?, ?) ORDER BY no, idx LIMIT ?;

-- name: tasks_of
SELECT image FROM task WHERE run = ? AND no = ? AND (no, idx) > (?, ?) ORDER BY idx LIMIT ?;

-- name: groups
WITH RECURSIVE walk (no) AS (
  SELECT min(no) FROM task WHERE run = :run AND no >= :no
  UNION ALL
  SELECT (SELECT min(no) FROM task WHERE run = :run AND task.no > walk.no) FROM walk WHERE walk.no IS NOT NULL
)
SELECT t.image FROM walk CROSS JOIN task t ON t.run = :run AND t.no = walk.no AND t.idx = -1
WHERE (t.no, t.idx) > (:no, :idx) LIMIT :limit;

-- name: groups_in
WITH RECURSIVE walk (no) AS (
  SELECT min(no) FROM task WHERE run = :run AND no >= :no
  UNION ALL
  SELECT (SELECT min(no) FROM task WHERE run = :run AND task.no > walk.no) FROM walk WHERE walk.no IS NOT NULL
)
SELECT t.image FROM walk CROSS JOIN task t ON t.run = :run AND t.no = walk.no AND t.idx = -1
WHERE (t.no, t.idx) > (:no, :idx) AND (1 << t.state) & :states <> 0 LIMIT :limit;

-- name: task_by_key
SELECT image FROM task WHERE run = ? AND no = ? AND idx = ?;

-- name: attempts
SELECT attempt, image FROM attempt WHERE run = ? AND no = ? AND idx = ? ORDER BY attempt LIMIT 500;

-- name: value_by_key
SELECT t.image, v.data FROM task t LEFT JOIN value v ON v.run = t.run AND v.no = t.no AND v.idx = t.idx
WHERE t.run = ? AND t.no = ? AND t.idx = ?;

-- name: history_of
SELECT run, no, idx, version, at, commit_no, body, (SELECT r.image FROM run r WHERE r.id = history_run.run) FROM history_run
WHERE run = ? AND no = ? AND idx = ? AND version > ? ORDER BY version LIMIT ?;

-- name: history_all
SELECT run, no, idx, version, at, commit_no, body, (SELECT r.image FROM run r WHERE r.id = history_run.run) FROM history_run
WHERE run = ? AND (? = -9 OR no = ?) ORDER BY commit_no, at, no, idx, version LIMIT ? OFFSET ?;

-- name: commits
SELECT commit_no, at, node, actor, source, why FROM commit_row WHERE commit_no IN (SELECT value FROM json_each(?));

-- name: log
SELECT commit_no, 0, commit_no, at, touched FROM commit_row
WHERE (commit_no, 0) > (?, ?) AND touched IS NOT NULL ORDER BY commit_no LIMIT ?;

-- name: log_end
SELECT commit_no, 0 FROM commit_row WHERE touched IS NOT NULL ORDER BY commit_no DESC LIMIT 1;

-- name: pruned
SELECT value FROM meta WHERE key = 'pruned';

-- name: history_at
SELECT h.run, h.no, h.idx, h.version, h.at, h.commit_no, h.body, c.actor
FROM history_run h LEFT JOIN commit_row c ON c.commit_no = h.commit_no
WHERE h.run = ? AND h.no = ? AND h.idx = ? AND h.version = ?;

-- name: run_images
SELECT id, image FROM run WHERE id = ?;

-- name: entities_at
SELECT h.kind, h.name, h.version, h.created_at, h.updated_at, h.image, h.deleted_at, h.facts, h.space, h.commit_no, c.actor
FROM entity_history h LEFT JOIN commit_row c ON c.commit_no = h.commit_no
WHERE h.space = 1 AND h.kind = ? AND h.name = ? AND h.version = ?;

-- name: segments
SELECT run, no, idx, attempt, first, last, data, digest FROM segment
WHERE run = ? AND no = ? AND idx = ? AND attempt = ? ORDER BY first;

-- name: artifacts
SELECT run, no, idx, path, digest, size FROM artifact WHERE run = ? AND (? = -9 OR no = ?) AND (no, idx, path) > (?, ?, ?) ORDER BY no, idx, path LIMIT 10000;

-- name: with_artifacts
SELECT k.value FROM json_each(?) k WHERE EXISTS (SELECT 1 FROM artifact a WHERE a.run = k.value);

-- name: entity_by_key
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space
FROM entity WHERE space = 1 AND kind = ? AND name = ?;

-- name: entities
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space
FROM entity WHERE space = 1 AND kind = ? AND name > ? AND (? OR deleted_at = 0) ORDER BY name LIMIT ?;

-- name: entity_versions
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space, commit_no
FROM entity_history WHERE space = 1 AND kind = ? AND name = ? AND version < ? ORDER BY version DESC LIMIT ?;

-- name: document_by_graph
SELECT graph, digest, body FROM document WHERE graph = ?;

-- name: ready
SELECT run, no, idx, klass, rank FROM task INDEXED BY task_ready
WHERE state = 1 AND klass = ? ORDER BY rank LIMIT ?;

-- name: ready_classes
WITH RECURSIVE walk (klass) AS (
  SELECT min(klass) FROM task WHERE state = 1
  UNION ALL
  SELECT (SELECT min(klass) FROM task WHERE state = 1 AND task.klass > walk.klass) FROM walk WHERE walk.klass IS NOT NULL
)
SELECT walk.klass, c.body FROM walk JOIN class c ON c.klass = walk.klass & 281474976710655 WHERE walk.klass IS NOT NULL;

-- name: due_tasks
SELECT due_at, run, no, idx FROM task INDEXED BY task_due WHERE due_at > 0 AND due_at <= ? ORDER BY due_at LIMIT ?;

-- name: due_runs
SELECT due_at, id FROM run INDEXED BY run_due WHERE due_at > 0 AND due_at <= ? ORDER BY due_at LIMIT ?;

-- name: leased
SELECT image, (SELECT r.image FROM run r WHERE r.id = task.run) FROM task INDEXED BY task_leased
WHERE state IN (2, 3) AND agent = ? AND (run, no, idx) > (?, ?, ?) ORDER BY run, no, idx LIMIT ?;

-- name: count_ready
SELECT count(*) FROM task INDEXED BY task_ready WHERE state = 1;

-- name: count_leased
SELECT count(*) FROM task INDEXED BY task_leased WHERE state IN (2, 3);

-- name: count_due
SELECT (SELECT count(*) FROM task INDEXED BY task_due WHERE due_at > 0)
     + (SELECT count(*) FROM run INDEXED BY run_due WHERE due_at > 0);

-- name: count_open
SELECT count(*) FROM run INDEXED BY run_open WHERE state < 4;

-- name: outbox_after
SELECT seq, kind, subject, body, due_at FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?;

-- name: outbox
SELECT seq, kind, subject, body, due_at FROM outbox INDEXED BY outbox_kind
WHERE kind = ? AND due_at <= ? ORDER BY seq LIMIT ?;

-- name: children
SELECT parent, no, idx, epoch, run FROM child WHERE parent = ? AND (no, idx, epoch) > (?, ?, ?)
ORDER BY no, idx, epoch LIMIT ?;

-- name: children_whole
SELECT parent, no, idx, epoch, run FROM child WHERE parent = ? AND (no, idx, epoch) > (?, ?, ?) AND idx = -1
ORDER BY no, idx, epoch LIMIT ?;

-- name: child
SELECT run FROM child WHERE parent = ? AND no = ? AND idx = ? AND epoch = ?;

-- name: child_runs
SELECT r.job, r.created_at, r.input, r.params, p.data, r.image
FROM child c JOIN run r ON r.id = c.run LEFT JOIN run_params p ON p.run = r.id
WHERE c.parent = :parent AND (r.created_at, r.id) > (:at, :id) ORDER BY r.created_at, r.id LIMIT :limit;

-- name: history_count
SELECT count(*) FROM history_run;

-- name: commits_missing
SELECT h.commit_no FROM history_run h LEFT JOIN commit_row c ON c.commit_no = h.commit_no
WHERE h.run = :run AND c.commit_no IS NULL LIMIT 10;

-- name: last_instant
SELECT at FROM commit_row ORDER BY commit_no DESC LIMIT 1;

-- name: every_run
SELECT id, state FROM run ORDER BY id LIMIT 100000;

-- name: limit_uses
SELECT w.value ->> 0, w.value ->> 1,
  (SELECT coalesce(sum(u.units), 0) FROM limit_use u WHERE u.name = w.value ->> 0 AND u.key = w.value ->> 1),
  (SELECT t.tick FROM limit_tick t WHERE t.name = w.value ->> 0 AND t.key = w.value ->> 1),
  (SELECT t.at FROM limit_tick t WHERE t.name = w.value ->> 0 AND t.key = w.value ->> 1)
FROM json_each(?) w;

-- name: limit_holders
SELECT key, run, no, idx, units FROM limit_use WHERE name = ? AND (? IS NULL OR key = ?) ORDER BY key, run, no, idx LIMIT ?;

-- name: limit_in_use
SELECT coalesce(sum(units), 0) FROM limit_use WHERE name = ?;

-- name: gate_waiting
SELECT run, rank FROM gate_wait WHERE name = ? AND key = ? ORDER BY rank, run LIMIT ?;

-- name: gates_waiting
WITH RECURSIVE walk (name, key) AS (
  SELECT * FROM (SELECT name, key FROM gate_wait ORDER BY name, key LIMIT 1)
  UNION ALL
  SELECT n.name, n.key FROM walk, gate_wait n
  WHERE (n.name, n.key) = (SELECT m.name, m.key FROM gate_wait m WHERE (m.name, m.key) > (walk.name, walk.key)
                           ORDER BY m.name, m.key LIMIT 1)
)
SELECT DISTINCT name, key FROM walk;

-- name: uses_against_tasks
SELECT (SELECT count(*) FROM limit_use u WHERE u.no >= 0 AND NOT EXISTS
         (SELECT 1 FROM task t WHERE t.run = u.run AND t.no = u.no AND t.idx = u.idx AND t.state IN (2, 3)))
     + (SELECT count(*) FROM limit_use u WHERE u.no < 0 AND NOT EXISTS
         (SELECT 1 FROM run r WHERE r.id = u.run AND r.state < 4));

-- name: answers_before
SELECT scope, key FROM answer WHERE at < ? ORDER BY at LIMIT ?;
