-- Lists of jobs.

-- name: jobs_by_name_up
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space FROM entity WHERE space = 1 AND kind = 'job' AND name > ?2 AND ?1 >= 0 ORDER BY name ASC LIMIT ?3;

-- name: jobs_by_updated_at_up
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space FROM entity INDEXED BY entity_job_updated WHERE kind = 'job' AND (updated_at, name) > (?1, ?2)
ORDER BY updated_at ASC, name ASC LIMIT ?3;

-- name: jobs_by_name_down
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space FROM entity WHERE space = 1 AND kind = 'job' AND name < ?2 AND ?1 >= 0 ORDER BY name DESC LIMIT ?3;

-- name: jobs_by_updated_at_down
SELECT kind, name, version, created_at, updated_at, image, deleted_at, facts, space FROM entity INDEXED BY entity_job_updated WHERE kind = 'job' AND (updated_at, name) < (?1, ?2)
ORDER BY updated_at DESC, name DESC LIMIT ?3;
