-- What the store knows of itself and its server; nothing of a run.

-- name: session
-- What every connection of ours is set to; a pooler that forgets it is not supported.
select set_config('search_path', 'headrace', false),
       set_config('default_transaction_isolation', 'read committed', false),
       set_config('jit', 'off', false),
       set_config('client_encoding', 'UTF8', false),
       set_config('timezone', 'UTC', false),
       set_config('idle_in_transaction_session_timeout', '60s', false)

-- name: keyed_plans
-- Set statements find rows by key: the plan is a nested loop over the primary key, whatever the statistics say.
select set_config('plan_cache_mode', 'force_generic_plan', false),
       set_config('enable_seqscan', 'off', false),
       set_config('enable_hashjoin', 'off', false),
       set_config('enable_mergejoin', 'off', false),
       set_config('idle_in_transaction_session_timeout', '15s', false)

-- name: writer_patience
-- Nothing the ledger asks takes long: who waits longer than this waits for another node that hangs, or for no index.
select set_config('lock_timeout', '200ms', false), set_config('statement_timeout', '10s', false)

-- name: pool_patience
select set_config('lock_timeout', '10s', false), set_config('statement_timeout', '30s', false)

-- name: read_only
select set_config('default_transaction_read_only', 'on', false),
       set_config('statement_timeout', '30s', false)

-- name: settings
select name, setting from pg_settings
where name in ('synchronous_commit', 'fsync', 'full_page_writes', 'server_version_num', 'server_encoding',
               'default_transaction_isolation', 'synchronous_standby_names', 'lock_timeout', 'statement_timeout',
               'idle_in_transaction_session_timeout')
union all select 'in_recovery', pg_is_in_recovery()::text

-- name: timeline
-- A number that changes when another server was promoted: its transaction ids are not comparable with ours. And since when
-- this backend has been there: with its number it names the backend for ever.
select substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8),
       (select backend_start::text from pg_stat_activity where pid = pg_backend_pid())

-- name: xid
-- A COMMIT that waits for a standby must not be cancelled by a timeout: the server would say COMMIT all the same.
select pg_current_xact_id_if_assigned()::text, set_config('statement_timeout', '0', true)

-- name: xact_status
select pg_xact_status($1::text::xid8)

-- name: commit_there
select commit_no from commit_row where commit_no = $1

-- name: end_backend
-- Ends our own lost connection's backend, so that its transaction is decided now and not after TCP's patience. No row: it
-- is gone, and its transaction is over.
select pg_terminate_backend(pid) from pg_stat_activity where pid = $1::int and backend_start = $2::timestamptz

-- name: meta_get
select value from meta where key = $1

-- name: meta_put
insert into meta (key, value) values ($1, $2) on conflict (key) do update set value = excluded.value

-- name: ids_reserve
insert into id_block as b (what, next) values ($1::text, 1 + $2::bigint)
on conflict (what) do update set next = b.next + $2::bigint
returning next - $2::bigint

-- name: notify
select pg_notify('headrace', $1::text)

-- name: listen
listen headrace

-- name: hint_only
-- A hint need not be durable; this connection writes nothing else.
select set_config('synchronous_commit', 'off', false)
