-- Lists of jobs.

-- name: jobs_by_name_up
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity
where space = 1 and kind = 'job' and name > $2::text and $1::bigint >= 0 order by name asc limit $3

-- name: jobs_by_updated_at_up
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity where kind = 'job' and (updated_at, name) > ($1::bigint, $2::text)
order by updated_at asc, name asc limit $3

-- name: jobs_by_name_down
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity
where space = 1 and kind = 'job' and name < $2::text and $1::bigint >= 0 order by name desc limit $3

-- name: jobs_by_updated_at_down
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity where kind = 'job' and (updated_at, name) < ($1::bigint, $2::text)
order by updated_at desc, name desc limit $3
