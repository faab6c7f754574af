-- What the API and the loops read. Live rows are found through partial indexes only; lists walk (created_at, run).

-- name: run_by_id
select id, job, created_at, input, params, image from run where id = $1

-- name: tasks
select image from task where run = $1 and (no, idx) > ($2::bigint, $3::bigint) order by no, idx limit $4

-- name: tasks_of
select image from task where run = $1 and no = $2 and (no, idx) > ($3::bigint, $4::bigint) order by no, idx limit $5

-- name: groups
-- A seek per task number, never a walk over a group's instances.
with recursive walk (no) as (
    (select no from task where run = $1 and (no, idx) > ($2::bigint, $3::bigint) order by no, idx limit 1)
    union all
    select (select t.no from task t where t.run = $1 and t.no > w.no order by t.no limit 1)
    from walk w where w.no is not null
)
select t.image from walk join task t on t.run = $1 and t.no = walk.no and t.idx = -1
where (t.no, t.idx) > ($2::bigint, $3::bigint) order by t.no limit $4

-- name: groups_in
with recursive walk (no) as (
    (select no from task where run = $1 and (no, idx) > ($2::bigint, $3::bigint) order by no, idx limit 1)
    union all
    select (select t.no from task t where t.run = $1 and t.no > w.no order by t.no limit 1)
    from walk w where w.no is not null
)
select t.image from walk join task t on t.run = $1 and t.no = walk.no and t.idx = -1
where (t.no, t.idx) > ($2::bigint, $3::bigint) and (1 << t.state::integer) & $5::integer <> 0 order by t.no limit $4

-- name: task_by_key
select image from task where run = $1 and no = $2 and idx = $3

-- name: attempts
select attempt, image from attempt where run = $1 and no = $2 and idx = $3 order by attempt limit 500

-- name: value_by_key
select t.image, v.data from task t left join value v on v.run = t.run and v.no = t.no and v.idx = t.idx
where t.run = $1 and t.no = $2 and t.idx = $3

-- name: history_all
select h.run, h.no, h.idx, h.version, h.at, h.commit_no, h.body, r.image from history_run h join run r on r.id = h.run
where h.run = $1 order by at, commit_no, no, idx, version limit $3 offset $2

-- name: history_of_no
select h.run, h.no, h.idx, h.version, h.at, h.commit_no, h.body, r.image from history_run h join run r on r.id = h.run
where h.run = $1 and h.no = $2 order by at, commit_no, no, idx, version limit $4 offset $3

-- name: history_of
select h.run, h.no, h.idx, h.version, h.at, h.commit_no, h.body, r.image from history_run h join run r on r.id = h.run
where h.run = $1 and h.no = $2 and h.idx = $3 and h.version > $4 order by version limit $5

-- name: log
-- Nobody who is still at work can come to stand before the horizon, and everybody before it is visible or gone. First
-- column: whether others stand behind it.
with horizon (it) as materialized (select ($4::bigint << 48) | pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
select exists (select 1 from commit_row a where a.position is not null and a.position >= h.it),
       c.position, c.second, c.commit_no, c.at, c.touched
from horizon h left join lateral (
    select position, second, commit_no, at, touched from commit_row
    where position is not null and (position, second) > ($1::bigint, $2::bigint) and position < h.it
    order by position, second limit $3
) c on true
order by c.position, c.second

-- name: log_end
with horizon (it) as materialized (select ($1::bigint << 48) | pg_snapshot_xmin(pg_current_snapshot())::text::bigint)
select c.position, c.second from horizon h cross join lateral (
    select position, second from commit_row where position is not null and position < h.it
    order by position desc, second desc limit 1
) c

-- name: pruned
select value from meta where key = 'pruned'

-- name: history_at
select h.run, h.no, h.idx, h.version, h.at, h.commit_no, h.body, c.actor, r.image
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[]) as k (run, no, idx, version)
join history_run h on h.run = k.run and h.no = k.no and h.idx = k.idx and h.version = k.version
join run r on r.id = h.run
left join commit_row c on c.commit_no = h.commit_no

-- name: run_images
select r.id, r.image from unnest($1::bigint[]) as k (id) join run r on r.id = k.id

-- name: entities_at
select h.kind, h.name, h.version, h.created_at, h.updated_at, h.image, h.deleted_at, h.facts, h.space, h.commit_no,
    c.actor
from unnest($1::text[], $2::text[], $3::bigint[]) as k (kind, name, version)
join entity_history h on h.space = 1 and h.kind = k.kind and h.name = k.name and h.version = k.version
left join commit_row c on c.commit_no = h.commit_no

-- name: segments
select first, last, data, digest from segment
where run = $1 and no = $2 and idx = $3 and attempt = $4 order by first

-- name: artifacts
select run, no, idx, path, digest, size from artifact where run = $1 and (no, idx, path) > ($2::bigint, $3::bigint, $4::text)
order by no, idx, path limit 10000

-- name: with_artifacts
select k.run from unnest($1::bigint[]) as k (run) where exists (select 1 from artifact a where a.run = k.run)

-- name: artifacts_of_no
select run, no, idx, path, digest, size from artifact
where run = $1 and no = $2 and (no, idx, path) > ($3::bigint, $4::bigint, $5::text) order by no, idx, path limit 10000

-- name: entity_by_key
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity
where space = 1 and kind = $1 and name = $2

-- name: entities
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space from entity
where space = 1 and kind = $1 and name > $2 and (deleted_at = 0 or $3::bool) order by name limit $4

-- name: entity_versions
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space, commit_no from entity_history
where space = 1 and kind = $1 and name = $2 and version < $3 order by version desc limit $4

-- name: document_by_graph
select graph, digest, body from document where graph = $1

-- name: ready
select run, no, idx, klass, rank from task where klass = $1 order by rank, run, no, idx limit $2

-- name: ready_classes
-- A seek per class: the next class above the last one, never a walk over its rows.
with recursive seek (klass) as (
    (select klass from task where klass is not null order by klass limit 1)
    union all
    select (select t.klass from task t where t.klass > s.klass order by t.klass limit 1)
    from seek s where s.klass is not null
)
select seek.klass, c.body from seek join class c on c.klass = seek.klass & 281474976710655 order by seek.klass

-- name: due
(select due_at, run, no, idx from task where due_at <= $1 order by due_at, run, no, idx limit $2)
union all
(select due_at, id, -1, -1 from run where due_at <= $1 order by due_at, id limit $2)
order by due_at, run, no, idx limit $2

-- name: leased
select t.image, r.image from task t join run r on r.id = t.run
where t.agent = $1 and (t.run, t.no, t.idx) > ($2::bigint, $3::bigint, $4::bigint)
order by t.run, t.no, t.idx limit $5

-- name: commits
select commit_no, at, node, actor, source, why from commit_row where commit_no = any($1)

-- name: outbox
select seq, kind, subject, body, due_at from outbox where kind = $1 and due_at <= $2 order by seq limit $3

-- name: children
select parent, no, idx, epoch, run from child
where parent = $1 and (no, idx, epoch) > ($2::bigint, $3::bigint, $4::bigint) order by no, idx, epoch limit $5

-- name: children_whole
select parent, no, idx, epoch, run from child
where parent = $1 and (no, idx, epoch) > ($2::bigint, $3::bigint, $4::bigint) and idx = -1
order by no, idx, epoch limit $5

-- name: child
select run from child where parent = $1 and no = $2 and idx = $3 and epoch = $4

-- name: child_runs
select r.id, r.job, r.created_at, r.input,
    case when octet_length(r.params) > 65536 then ''::bytea else r.params end, r.image
from child c join run r on r.id = c.run
where c.parent = $1 and (r.created_at, r.id) > ($2::bigint, $3::bigint) order by r.created_at, r.id limit $4

-- name: outbox_after
select seq, kind, subject, body, due_at from outbox where seq > $1 order by seq limit $2

-- name: history_count
select count(*) from history_run

-- name: counts
select 'ready', count(*) from task where klass is not null
union all select 'leased', count(*) from task where agent is not null
union all select 'due', (select count(*) from task where due_at is not null) + (select count(*) from run where due_at is not null)
union all select 'runs', count(*) from open_run

-- name: commits_missing
select h.commit_no from history_run h left join commit_row c on c.commit_no = h.commit_no
where h.run = $1 and c.commit_no is null limit 10

-- name: last_instant
select at from commit_row order by commit_no desc limit 1

-- name: limit_uses
select k.name, k.key,
    (select coalesce(sum(u.units), 0)::bigint from limit_use u where u.name = k.name and u.key = k.key),
    (select t.tick from limit_tick t where t.name = k.name and t.key = k.key),
    (select t.at from limit_tick t where t.name = k.name and t.key = k.key)
from unnest($1::text[], $2::text[]) as k (name, key)

-- name: limit_holders
select key, run, no, idx, units from limit_use where name = $1 and ($2::text is null or key = $2)
order by key, run, no, idx limit $3

-- name: limit_in_use
select coalesce(sum(units), 0)::bigint from limit_use where name = $1

-- name: gate_waiting
select run, rank from gate_wait where name = $1 and key = $2 order by rank, run limit $3

-- name: first_waiting
select n.name, n.key, w.run
from unnest($1::text[], $2::text[]) with ordinality n (name, key, place),
lateral (select run, rank from gate_wait where gate_wait.name = n.name and gate_wait.key = n.key order by rank, run limit $3) w
order by n.place, w.rank, w.run

-- name: gates_waiting
with recursive walk as (
    (select name, key from gate_wait order by name, key limit 1)
    union all
    select n.name, n.key from walk,
    lateral (select m.name, m.key from gate_wait m where (m.name, m.key) > (walk.name, walk.key)
             order by m.name, m.key limit 1) n
)
select name, key from walk

-- name: uses_against_tasks
select (select count(*) from limit_use u where u.no >= 0 and not exists
         (select 1 from task t where t.run = u.run and t.no = u.no and t.idx = u.idx and t.state in (2, 3)))
     + (select count(*) from limit_use u where u.no < 0 and not exists
         (select 1 from run r where r.id = u.run and r.state < 4))

-- name: answers_before
select scope, key from answer where at < $1 order by at limit $2
