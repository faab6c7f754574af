-- What the ledger loads for a group of changes. Locks are taken sorted, or two nodes would wait for each other.

-- name: begin
begin isolation level read committed

-- name: commit
commit

-- name: rollback
rollback

-- name: lock_runs
select id, image, at from run where id = any($1) order by id for update skip locked

-- name: lock_runs_waiting
select id, image, at from run where id = any($1) order by id for update

-- name: held_runs
select id from run where id = any($1)

-- name: lock_entities
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity
where space = 1 and (kind, name) in (select * from unnest($1::text[], $2::text[]))
order by kind, name for update

-- name: lock_patience
-- Each lock is waited for as writer_patience says, all of them together no longer than this.
select set_config('statement_timeout', '1s', true)

-- name: lock_patience_over
-- As in writer_patience.
select set_config('statement_timeout', '10s', true)

-- name: lock_limits
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity
where space = 1 and (kind, name) in (select * from unnest($1::text[], $2::text[]))
order by kind, name for update skip locked

-- name: held_entities
select kind, name from entity where space = 1 and (kind, name) in (select * from unnest($1::text[], $2::text[]))

-- name: load_uses
select k.name, k.key,
    (select coalesce(sum(u.units), 0)::bigint from limit_use u where u.name = k.name and u.key = k.key),
    (select t.tick from limit_tick t where t.name = k.name and t.key = k.key),
    (select t.at from limit_tick t where t.name = k.name and t.key = k.key)
from unnest($1::text[], $2::text[]) as k (name, key)

-- name: load_holders
select k.name, k.key, u.run from unnest($1::text[], $2::text[]) as k (name, key),
lateral (select run from limit_use u where u.name = k.name and u.key = k.key order by run limit 10000) u

-- name: load_waiting
select k.name, k.key, w.run from unnest($1::text[], $2::text[]) as k (name, key),
lateral (select run, rank from gate_wait w where w.name = k.name and w.key = k.key order by rank, run limit 1000) w
order by w.rank, w.run

-- name: load_tasks
select t.image, t.at from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as k (run, no, idx)
join task t on t.run = k.run and t.no = k.no and t.idx = k.idx

-- name: load_inputs
select id, job, created_at, input, params from run where id = any($1)

-- name: load_members
select image, at from task where run = $1 and (no, idx) > ($2::bigint, $3::bigint) order by no, idx limit $4

-- name: load_group
select image, at from task where run = $1 and no = $2 and idx > $3 and idx >= 0 order by idx limit $4

-- name: load_values
select t.run, t.no, t.idx, t.image, v.data from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as k (run, no, idx)
join task t on t.run = k.run and t.no = k.no and t.idx = k.idx
left join value v on v.run = k.run and v.no = k.no and v.idx = k.idx

-- name: load_answers
select a.scope, a.key, a.request, a.status, a.location, a.body, a.at
from unnest($1::text[], $2::text[]) as k (scope, key)
join answer a on a.scope = k.scope and a.key = k.key

-- name: load_documents
select digest, graph from document where digest = any($1)

-- name: lock_outbox
select seq from outbox where seq = any($1) order by seq for update skip locked

-- name: find_cached
select c.work, c.at, t.image, v.data from cached c
join task t on t.run = c.run and t.no = c.no and t.idx = c.idx
left join value v on v.run = c.run and v.no = c.no and v.idx = c.idx
where c.work = any($1)
