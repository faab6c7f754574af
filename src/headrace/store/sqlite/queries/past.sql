-- How things stood at an instant: one seek per thing to its last version until then, never a walk over its versions.

-- name: cell_at
-- Versions are dense and their instants never fall: halve until the last one at or before the instant is found.
WITH RECURSIVE search (low, high) AS (
  SELECT min(version) - 1, max(version) FROM history_run WHERE run = ?1 AND no = ?2 AND idx = ?3
  UNION ALL
  SELECT iif(h.at <= ?4, h.version, low), iif(h.at <= ?4, high, h.version - 1)
  FROM search JOIN history_run h ON h.run = ?1 AND h.no = ?2 AND h.idx = ?3 AND h.version = (low + high + 1) / 2
  WHERE low < high
)
SELECT run, no, idx, version, at, commit_no, body FROM history_run
WHERE run = ?1 AND no = ?2 AND idx = ?3 AND version = (SELECT low FROM search WHERE low = high);

-- name: entity_at
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space, commit_no FROM entity_history
WHERE space = 1 AND kind = ? AND name = ? AND updated_at <= ? ORDER BY updated_at DESC, version DESC LIMIT 1;

-- name: entities_at_instant
SELECT h.kind, h.name, h.version, h.created_at, h.updated_at, h.image, h.deleted_at, h.facts, h.space, h.commit_no
FROM entity e JOIN entity_history h ON h.space = 1 AND h.kind = e.kind AND h.name = e.name AND h.version = (
  SELECT v.version FROM entity_history v WHERE v.space = 1 AND v.kind = e.kind AND v.name = e.name AND v.updated_at <= ?2
  ORDER BY v.updated_at DESC, v.version DESC LIMIT 1)
WHERE e.space = 1 AND e.kind = ?1 AND e.name > ?3 AND (?4 OR h.deleted_at = 0) ORDER BY e.name LIMIT ?5;
