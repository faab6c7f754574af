-- What the API and the loops read. Live rows are found through partial indexes only; lists walk (created_at, run).

-- name: run
select input, cell from run where run = $1

-- name: tasks
select cell from task where run = $1 and (no, idx) > ($2::bigint, $3::bigint) order by no, idx limit $4

-- name: tasks_of_no
select cell from task where run = $1 and no = $2 and (no, idx) > ($3::bigint, $4::bigint) order by no, idx limit $5

-- name: tasks_whole
select cell from task where run = $1 and (no, idx) > ($2::bigint, $3::bigint) and idx = -1 order by no, idx limit $4

-- name: task
select cell from task where run = $1 and no = $2 and idx = $3

-- name: attempts
select attempt, cell from attempt where run = $1 and no = $2 and idx = $3 order by attempt limit 500

-- name: value
select t.cell, v.body from task t left join value v on v.run = t.run and v.no = t.no and v.idx = t.idx
where t.run = $1 and t.no = $2 and t.idx = $3

-- name: history
select run, no, idx, version, at, "commit", body from history
where run = $1 and version > $2 order by at, "commit", no, idx, version limit $3

-- name: history_of_no
select run, no, idx, version, at, "commit", body from history
where run = $1 and no = $2 and version > $3 order by at, "commit", no, idx, version limit $4

-- name: history_of_task
select run, no, idx, version, at, "commit", body from history
where run = $1 and no = $2 and idx = $3 and version > $4 order by version limit $5

-- name: segments
select first, last, data, digest from segment
where run = $1 and no = $2 and idx = $3 and attempt = $4 order by first

-- name: artifacts
select run, no, idx, path, digest, size from artifact where run = $1 order by no, idx, path limit 500

-- name: artifacts_of_no
select run, no, idx, path, digest, size from artifact where run = $1 and no = $2 order by no, idx, path limit 500

-- name: entity
select kind, name, version, created_at, updated_at, deleted_at, image, space from entity
where space = 1 and kind = $1 and name = $2

-- name: entities
select kind, name, version, created_at, updated_at, deleted_at, image, space from entity
where space = 1 and kind = $1 and name > $2 and (deleted_at = 0 or $3::bool) order by name limit $4

-- name: entity_versions
select kind, name, version, created_at, updated_at, deleted_at, image, space, facts from entity_version
where space = 1 and kind = $1 and name = $2 order by version desc limit $3

-- name: document
select graph, digest, body from document where graph = $1

-- name: ready
select run, no, idx, klass, rank from task where state = 1 and klass = $1 order by rank, run, no, idx limit $2

-- name: ready_classes
-- A seek per class: the next class above the last one, never a walk over its rows.
with recursive seek (klass) as (
    (select klass from task where state = 1 order by klass limit 1)
    union all
    select (select t.klass from task t where t.state = 1 and t.klass > s.klass order by t.klass limit 1)
    from seek s where s.klass is not null
)
select c.klass, c.body from seek join class c on c.klass = seek.klass order by c.klass

-- name: due
(select due_at, run, no, idx from task where due_at > 0 and due_at <= $1 order by due_at limit $2)
union all
(select due_at, run, -1, -1 from run where due_at > 0 and due_at <= $1 order by due_at limit $2)
order by due_at limit $2

-- name: leased
select t.run, t.no, t.idx, t.cell, r.cell from task t join run r on r.run = t.run
where t.state in (2, 3) and t.agent = $1 and (t.run, t.no, t.idx) > ($2::bigint, $3::bigint, $4::bigint)
order by t.run, t.no, t.idx limit $5

-- name: counts
select 'ready', count(*) from task where state = 1
union all select 'leased', count(*) from task where state in (2, 3)
union all select 'due', (select count(*) from task where due_at > 0) + (select count(*) from run where due_at > 0)
union all select 'runs', count(*) from run where state < 4
