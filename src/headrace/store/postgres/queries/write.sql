-- What one commit writes: a fixed number of set statements over columns given as arrays, by primary key only.

-- name: insert_runs
insert into run (run, created_at, state, due_at, job, cell, input)
select * from unnest($1::bigint[], $2::bigint[], $3::smallint[], $4::bigint[], $5::text[], $6::bytea[], $7::bytea[])

-- name: insert_labels
insert into run_label (name, value, created_at, run)
select * from unnest($1::text[], $2::text[], $3::bigint[], $4::bigint[])

-- name: update_runs
update run r set state = k.state, due_at = k.due_at, cell = k.cell
from unnest($1::bigint[], $2::smallint[], $3::bigint[], $4::bytea[]) as k (run, state, due_at, cell)
where r.run = k.run

-- name: insert_tasks
insert into task (run, no, idx, state, klass, rank, agent, due_at, cell)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bigint[], $9::bytea[])

-- name: update_tasks
update task t set state = k.state, klass = k.klass, rank = k.rank, agent = k.agent, due_at = k.due_at, cell = k.cell
from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::smallint[], $5::bigint[], $6::bigint[], $7::bigint[],
            $8::bigint[], $9::bytea[]) as k (run, no, idx, state, klass, rank, agent, due_at, cell)
where t.run = k.run and t.no = k.no and t.idx = k.idx

-- name: insert_commits
insert into commits ("commit", at, node, actor, source, why)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::text[])

-- name: insert_history
insert into history (run, no, idx, version, at, "commit", body)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[])

-- name: put_values
insert into value (run, no, idx, body)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[])
on conflict (run, no, idx) do update set body = excluded.body

-- name: put_attempts
insert into attempt (run, no, idx, attempt, cell)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bytea[])
on conflict (run, no, idx, attempt) do update set cell = excluded.cell

-- name: put_segments
insert into segment (run, no, idx, attempt, first, last, data, digest)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bytea[],
                     $8::text[])
on conflict (run, no, idx, attempt, first) do nothing

-- name: put_artifacts
insert into artifact (run, no, idx, path, digest, size)
select * from unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::text[], $5::text[], $6::bigint[])
on conflict (run, no, idx, path) do update set digest = excluded.digest, size = excluded.size

-- name: put_entities
insert into entity (space, kind, name, version, created_at, updated_at, deleted_at, image)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bytea[])
on conflict (space, kind, name) do update set version = excluded.version, created_at = excluded.created_at,
    updated_at = excluded.updated_at, deleted_at = excluded.deleted_at, image = excluded.image

-- name: insert_entity_versions
-- Two nodes that made the same version of one entity meet in this primary key: the second is told to try again.
insert into entity_version (space, kind, name, version, created_at, updated_at, deleted_at, image, facts)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::bigint[], $7::bigint[],
                     $8::bytea[], $9::bytea[])

-- name: insert_answers
insert into answer (scope, key, request, status, location, body, at)
select * from unnest($1::text[], $2::text[], $3::bytea[], $4::bigint[], $5::text[], $6::bytea[], $7::bigint[])

-- name: insert_documents
insert into document (graph, digest, body)
select * from unnest($1::bigint[], $2::bytea[], $3::bytea[])

-- name: put_classes
-- Two nodes write the same body for the same class.
insert into class (klass, body)
select * from unnest($1::bigint[], $2::bytea[])
on conflict (klass) do nothing

-- name: insert_outbox
insert into outbox (due_at, kind, subject, body)
select * from unnest($1::bigint[], $2::text[], $3::text[], $4::bytea[])
