-- Lists of runs. Each walks one index in order, looks at :scan rows at most and shows those that are wanted; of the others
-- it gives the place only. So whatever is asked for, a page costs a bounded walk, and the next page goes on behind it.

-- name: runs_newest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r
WHERE r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) < (:at, :id)
ORDER BY r.created_at DESC, r.id DESC LIMIT :scan;

-- name: runs_oldest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r
WHERE r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) > (:at, :id)
ORDER BY r.created_at ASC, r.id ASC LIMIT :scan;

-- name: job_runs_newest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r INDEXED BY run_job
WHERE r.job = :job AND r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) < (:at, :id)
ORDER BY r.created_at DESC, r.id DESC LIMIT :scan;

-- name: job_runs_oldest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r INDEXED BY run_job
WHERE r.job = :job AND r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) > (:at, :id)
ORDER BY r.created_at ASC, r.id ASC LIMIT :scan;

-- name: open_runs_newest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r INDEXED BY run_open
WHERE r.state < 4 AND r.state = :state AND r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) < (:at, :id)
ORDER BY r.created_at DESC, r.id DESC LIMIT :scan;

-- name: open_runs_oldest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r INDEXED BY run_open
WHERE r.state < 4 AND r.state = :state AND r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) > (:at, :id)
ORDER BY r.created_at ASC, r.id ASC LIMIT :scan;

-- name: other_runs_newest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r INDEXED BY run_other
WHERE r.state > 4 AND r.state = :state AND r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) < (:at, :id)
ORDER BY r.created_at DESC, r.id DESC LIMIT :scan;

-- name: other_runs_oldest
SELECT r.id, r.created_at,
  CASE WHEN (:job IS NULL OR r.job = :job)
       AND (:states IS NULL OR +r.state IN (SELECT value FROM json_each(:states)))
       AND (:text IS NULL OR instr(lower(coalesce(r.job, '')), lower(:text)) > 0 OR instr(lower(r.labels), lower(:text)) > 0
            OR CAST(r.id AS TEXT) = :text)
       AND (:labels IS NULL OR NOT EXISTS (
             SELECT 1 FROM json_each(:labels) w
             WHERE NOT EXISTS (SELECT 1 FROM json_each(r.labels) h WHERE h.key = w.key AND h.value = w.value)))
  THEN r.image END, r.job, r.input, r.params
FROM run r INDEXED BY run_other
WHERE r.state > 4 AND r.state = :state AND r.created_at BETWEEN :since AND :until AND (r.created_at, r.id) > (:at, :id)
ORDER BY r.created_at ASC, r.id ASC LIMIT :scan;

-- name: params_aside
SELECT run, data FROM run_params WHERE run = ?;

-- name: runs_by_id
SELECT r.id, r.created_at, r.image, r.job, r.input, r.params FROM run r WHERE r.id = ?;

-- name: commits_newest
SELECT commit_no, 0, commit_no, at, touched FROM commit_row INDEXED BY commit_row_at
WHERE touched IS NOT NULL AND at BETWEEN ? AND ? AND (at, commit_no) < (?, ?) ORDER BY at DESC, commit_no DESC LIMIT ?;

-- name: commits_oldest
SELECT commit_no, 0, commit_no, at, touched FROM commit_row INDEXED BY commit_row_at
WHERE touched IS NOT NULL AND at BETWEEN ? AND ? AND (at, commit_no) > (?, ?) ORDER BY at, commit_no LIMIT ?;

-- name: open_by_state
SELECT state, count(*) FROM run INDEXED BY run_open WHERE state < 4 GROUP BY state;
