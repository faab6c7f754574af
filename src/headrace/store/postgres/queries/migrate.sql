-- The one place with an advisory lock: two processes that start at once migrate one after the other.

-- name: migration_lock
select pg_advisory_xact_lock(4921163082775)

-- name: schema_exists
select exists (select from pg_namespace where nspname = 'headrace')

-- name: create_schema
create schema headrace

-- name: schema_table
create table if not exists headrace.schema_migration (number int primary key, at timestamptz not null default now())

-- name: schema_applied
select number from headrace.schema_migration

-- name: schema_record
insert into headrace.schema_migration (number) values ($1::int)
