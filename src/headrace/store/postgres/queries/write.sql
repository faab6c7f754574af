-- What one commit writes: a fixed number of set statements over columns given as arrays, by primary key only.
-- What must find every row ends in `exactly`, which fails the transaction otherwise: COMMIT may be on its way already.

-- name: add_runs
insert into run (id, state, due_at, created_at, job, labels, input, params, at, image)
select id, state, due_at, created_at, job, labels::jsonb, input, params, $10, image
from unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bigint[], $5::text[], $6::text[], $7::bytea[], $8::bytea[],
            $9::bytea[]) as k (id, state, due_at, created_at, job, labels, input, params, image)

-- name: add_open_runs
insert into open_run (created_at, id) select * from unnest($1::bigint[], $2::bigint[])

-- name: drop_open_runs
delete from open_run o using unnest($1::bigint[], $2::bigint[]) as k (created_at, id)
where o.created_at = k.created_at and o.id = k.id

-- name: add_other_runs
insert into other_run (created_at, id) select * from unnest($1::bigint[], $2::bigint[])
on conflict (created_at, id) do nothing

-- name: put_runs
with done as (
    update run r set state = k.state, due_at = k.due_at, at = $5, image = k.image
    from unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bytea[]) as k (id, state, due_at, image)
    where r.id = k.id
    returning 1
) select exactly('put_runs', count(*), $6) from done

-- name: put_labels
update run r set labels = k.labels::jsonb
from unnest($1::bigint[], $2::text[]) as k (id, labels)
where r.id = k.id

-- name: add_tasks
insert into task (run, no, idx, state, klass, rank, agent, due_at, at, image)
select run, no, idx, state, klass, rank, agent, due_at, $10, image
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bytea[]) as k (run, no, idx, state, klass, rank, agent, due_at, image)

-- name: end_tasks
-- Tasks that wait for nothing any more: they leave every index of live rows.
with done as (
    update task t set state = k.state, klass = null, rank = null, agent = null, due_at = null, at = $6, image = k.image
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bytea[]) as k (run, no, idx, state, image)
    where t.run = k.run and t.no = k.no and t.idx = k.idx
    returning 1
) select exactly('end_tasks', count(*), $7) from done

-- name: put_tasks
with done as (
    update task t set state = k.state, klass = k.klass, rank = k.rank, agent = k.agent, due_at = k.due_at, at = $10,
        image = k.image
    from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[],
                $8::bigint[], $9::bytea[]) as k (run, no, idx, state, klass, rank, agent, due_at, image)
    where t.run = k.run and t.no = k.no and t.idx = k.idx
    returning 1
) select exactly('put_tasks', count(*), $11) from done

-- name: add_commits
-- Where it stands among all is decided here, when every row that is read or written is held (see 0006_events.sql).
insert into commit_row (commit_no, at, node, actor, source, why, touched, position, second)
select k.*,
    case when k.touched is not null then ($8::bigint << 48) | greatest(
        pg_current_xact_id()::text::bigint, pg_snapshot_xmax(pg_current_snapshot())::text::bigint - 1) end,
    case when k.touched is not null then nextval('commit_second') end
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bytea[])
    as k (commit_no, at, node, actor, source, why, touched)

-- name: add_history
insert into history_run (run, no, idx, version, at, commit_no, body)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[])

-- name: add_values
insert into value (run, no, idx, data)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
on conflict (run, no, idx) do update set data = excluded.data

-- name: add_attempts
insert into attempt (run, no, idx, attempt, image)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])
on conflict (run, no, idx, attempt) do update set image = excluded.image

-- name: add_segments
insert into segment (run, no, idx, attempt, first, last, data, digest)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
                     $8::text[])
on conflict (run, no, idx, attempt, first) do nothing

-- name: add_artifacts
insert into artifact (run, no, idx, path, digest, size)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
on conflict (run, no, idx, path) do update set digest = excluded.digest, size = excluded.size

-- name: put_entities
-- A row that tells no facts may be written again under its version; else the second of two nodes is told to try again.
with done as (
    insert into entity (space, kind, name, version, created_at, updated_at, deleted_at, facts, image)
    select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                         $8::bytea[], $9::bytea[])
    on conflict (space, kind, name) do update set version = excluded.version, created_at = excluded.created_at,
        updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, facts = excluded.facts, image = excluded.image
    where entity.version < excluded.version or (entity.version = excluded.version and excluded.facts = '')
    returning 1
) select exactly('put_entities', count(*), $10) from done

-- name: add_entity_history
-- Two nodes that made the same version of one entity meet in this primary key: the second is told to try again.
insert into entity_history (space, kind, name, version, created_at, updated_at, deleted_at, facts, image, commit_no)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bytea[], $9::bytea[], $10::bigint[])

-- name: put_answers
-- Only an expired answer is replaced: of two nodes with the same key the second touches no row and is told to try again.
with done as (
    insert into answer (scope, key, request, status, location, body, at)
    select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[], $6::bytea[], $7::bigint[])
    on conflict (scope, key) do update set request = excluded.request, status = excluded.status,
        location = excluded.location, body = excluded.body, at = excluded.at
    where answer.at < excluded.at - 7 * 86400000000
    returning 1
) select exactly('put_answers', count(*), $8) from done

-- name: drop_answers
-- What another node is replacing or dropping at this moment is left to it: nothing waits here, so nothing deadlocks.
with old as (
    select a.scope, a.key
    from unnest($1::text[], $2::text[], $3::bigint[]) k (scope, key, before)
    join answer a on a.scope = k.scope and a.key = k.key
    where a.at < k.before
    for update of a skip locked
)
delete from answer using old where answer.scope = old.scope and answer.key = old.key

-- name: add_documents
insert into document (graph, digest, body)
select * from unnest($1::bigint[], $2::bytea[], $3::bytea[])

-- name: add_classes
-- Two nodes write the same body for the same class.
insert into class (klass, body)
select * from unnest($1::bigint[], $2::bytea[])
on conflict (klass) do nothing

-- name: add_outbox
insert into outbox (due_at, kind, subject, body)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])

-- name: drop_outbox
delete from outbox where seq = any($1)

-- name: add_children
insert into child (parent, no, idx, epoch, run)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])

-- name: drop_uses
delete from limit_use u using unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[])
    as k (name, key, run, no, idx)
where u.name = k.name and u.key = k.key and u.run = k.run and u.no = k.no and u.idx = k.idx

-- name: add_uses
insert into limit_use (name, key, run, no, idx, units)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[])
on conflict (name, key, run, no, idx) do update set units = excluded.units

-- name: drop_waits
delete from gate_wait w using unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[]) as k (name, key, rank, run)
where w.name = k.name and w.key = k.key and w.rank = k.rank and w.run = k.run

-- name: add_waits
insert into gate_wait (name, key, rank, run)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])
on conflict (name, key, rank, run) do nothing

-- name: put_ticks
insert into limit_tick (name, key, tick, at)
select name, key, tick, $4 from unnest($1::text[], $2::text[], $3::bigint[]) as k (name, key, tick)
on conflict (name, key) do update set tick = excluded.tick, at = excluded.at

-- name: put_cached
-- Two nodes that did the same work at once: whoever is later is found.
insert into cached (work, run, no, idx, at)
select * from unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[])
on conflict (work) do update set run = excluded.run, no = excluded.no, idx = excluded.idx, at = excluded.at
