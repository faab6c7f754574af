-- A backup reads these in one snapshot, in the columns of store.tables; a restore copies them into a new schema.

-- name: snapshot
begin transaction isolation level repeatable read, read only

-- name: no_timeout
select set_config('statement_timeout', '0', false), set_config('idle_in_transaction_session_timeout', '0', false),
       set_config('default_transaction_read_only', 'off', false)

-- name: last_commit_at
select coalesce(max(at), 0) from commit_row

-- name: dump_meta
copy (select key, value from meta order by key) to stdout (format binary)

-- name: dump_id_block
copy (select what, next from id_block order by what) to stdout (format binary)

-- name: load_id_block
copy id_block (what, next) from stdin (format binary)

-- name: dump_document
copy (select graph, digest, body from document order by graph) to stdout (format binary)

-- name: load_document
copy document (graph, digest, body) from stdin (format binary)

-- name: dump_class
copy (select klass, body from class order by klass) to stdout (format binary)

-- name: load_class
copy class (klass, body) from stdin (format binary)

-- name: dump_run
copy (
    select id, state::bigint, coalesce(due_at, 0), created_at, job, input, params, at, image from run order by id
) to stdout (format binary)

-- name: load_run
copy run (id, state, due_at, created_at, job, labels, input, params, at, image) from stdin (format binary)

-- name: fill_open_run
insert into open_run (created_at, id) select created_at, id from run where state < 4

-- name: fill_other_run
insert into other_run (created_at, id) select created_at, id from run where state > 4

-- name: dump_task
copy (
    select run, no, idx, state::bigint, klass, rank, coalesce(due_at, 0), coalesce(agent, 0), at, image
    from task order by run, no, idx
) to stdout (format binary)

-- name: load_task
copy task (run, no, idx, state, klass, rank, due_at, agent, at, image) from stdin (format binary)

-- name: dump_history_run
copy (
    select run, no, idx, version, at, commit_no, body from history_run order by run, no, idx, version
) to stdout (format binary)

-- name: load_history_run
copy history_run (run, no, idx, version, at, commit_no, body) from stdin (format binary)

-- name: dump_commit_row
copy (
    select commit_no, at, node, actor, source, why, touched, position, second from commit_row
    order by position nulls first, second, commit_no
) to stdout (format binary)

-- name: load_commit_row
copy commit_row (commit_no, at, node, actor, source, why, touched, position, second) from stdin (format binary)

-- name: dump_attempt
copy (select run, no, idx, attempt, image from attempt order by run, no, idx, attempt) to stdout (format binary)

-- name: load_attempt
copy attempt (run, no, idx, attempt, image) from stdin (format binary)

-- name: dump_value
copy (select run, no, idx, data from value order by run, no, idx) to stdout (format binary)

-- name: load_value
copy value (run, no, idx, data) from stdin (format binary)

-- name: dump_segment
copy (
    select run, no, idx, attempt, first, last, digest, data from segment order by run, no, idx, attempt, first
) to stdout (format binary)

-- name: load_segment
copy segment (run, no, idx, attempt, first, last, digest, data) from stdin (format binary)

-- name: dump_artifact
copy (
    select run, no, idx, path, digest, size from artifact order by run, no, idx, path collate "C"
) to stdout (format binary)

-- name: load_artifact
copy artifact (run, no, idx, path, digest, size) from stdin (format binary)

-- name: dump_entity
copy (
    select space, kind, name, version, created_at, updated_at, deleted_at, facts, image from entity
    order by space, kind collate "C", name collate "C"
) to stdout (format binary)

-- name: load_entity
copy entity (space, kind, name, version, created_at, updated_at, deleted_at, facts, image) from stdin (format binary)

-- name: dump_entity_history
copy (
    select space, kind, name, version, created_at, updated_at, deleted_at, facts, image, commit_no from entity_history
    order by space, kind collate "C", name collate "C", version
) to stdout (format binary)

-- name: load_entity_history
copy entity_history (space, kind, name, version, created_at, updated_at, deleted_at, facts, image, commit_no)
from stdin (format binary)

-- name: dump_answer
copy (
    select scope, key, request, status, location, body, at from answer order by scope collate "C", key collate "C"
) to stdout (format binary)

-- name: load_answer
copy answer (scope, key, request, status, location, body, at) from stdin (format binary)

-- name: dump_outbox
copy (select seq, kind, subject, body, due_at from outbox order by seq) to stdout (format binary)

-- name: load_outbox
copy outbox (seq, kind, subject, body, due_at) from stdin (format binary)

-- name: dump_blob
copy (
    select b.digest, b.size, coalesce(c.no, 0), coalesce(c.data, '') from blob b left join blob_chunk c on c.id = b.id
    where b.digest is not null order by b.digest collate "C", c.no
) to stdout (format binary)

-- name: load_blob
copy blob (id, digest, size) from stdin (format binary)

-- name: load_blob_chunk
copy blob_chunk (id, no, data) from stdin (format binary)

-- name: numbers_go_on
select setval(pg_get_serial_sequence('headrace.outbox', 'seq'), greatest((select max(seq) from outbox), 1)),
       setval(pg_get_serial_sequence('headrace.blob', 'id'), greatest((select max(id) from blob), 1)),
       setval('headrace.commit_second', greatest((select max(second) from commit_row), 1))

-- name: dump_limit_use
copy (select name, key, run, no, idx, units from limit_use order by name collate "C", key collate "C", run, no, idx) to stdout (format binary)

-- name: load_limit_use
copy limit_use (name, key, run, no, idx, units) from stdin (format binary)

-- name: dump_limit_tick
copy (select name, key, tick, at from limit_tick order by name collate "C", key collate "C") to stdout (format binary)

-- name: load_limit_tick
copy limit_tick (name, key, tick, at) from stdin (format binary)

-- name: dump_gate_wait
copy (select name, key, rank, run from gate_wait order by name collate "C", key collate "C", rank, run) to stdout (format binary)

-- name: load_gate_wait
copy gate_wait (name, key, rank, run) from stdin (format binary)

-- name: dump_cached
copy (select work, run, no, idx, at from cached order by work) to stdout (format binary)

-- name: load_cached
copy cached (work, run, no, idx, at) from stdin (format binary)

-- name: dump_child
copy (select parent, no, idx, epoch, run from child order by parent, no, idx, epoch) to stdout (format binary)

-- name: load_child
copy child (parent, no, idx, epoch, run) from stdin (format binary)

-- name: forget_credentials
delete from entity where kind in ('token', 'session') or (kind = 'secret' and name = 'run-tokens')

-- name: forget_credentials_history
delete from entity_history where kind in ('token', 'session') or (kind = 'secret' and name = 'run-tokens')

-- name: jump_ids
update id_block set next = (next / $1::bigint + 1) * $1::bigint + 1 where what = $2

-- name: unfinished
select id, state::bigint, job, created_at from run where state < 4 order by id limit $1

-- name: holds_work
select exists (select from run) or exists (select from entity where kind in ('job', 'package'))

-- name: others_connected
select count(*) from pg_stat_activity
where datname = current_database() and application_name = 'headrace' and pid <> pg_backend_pid()

-- name: aside_name
select set_config('headrace.aside', 'headrace_before_' || to_char(clock_timestamp() at time zone 'UTC', 'YYYYMMDD_HH24MISS_US'), true)

-- name: set_aside
-- The old schema keeps its rows under another name; an operator drops it.
do $$ begin
    execute format('alter schema headrace rename to %I', current_setting('headrace.aside'));
end $$

-- name: analyze
analyze

-- name: restored
select value from meta where key = 'restored'
