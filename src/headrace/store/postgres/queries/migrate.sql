-- The one place with an advisory lock: two processes that start at once migrate one after the other.

-- name: migration_lock
select pg_advisory_xact_lock(4921163082775)

-- name: schema_exists
select exists (select from pg_namespace where nspname = 'headrace')

-- name: create_schema
create schema headrace

-- name: create_migration
create table if not exists headrace.migration (number int primary key, at timestamptz not null default now())

-- name: migration_number
select coalesce(max(number), 0) from headrace.migration

-- name: migration_done
insert into headrace.migration (number) values ($1::int)
