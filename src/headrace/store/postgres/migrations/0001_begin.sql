-- Everything lives in schema "headrace". Live rows are small: what the rules work on is `image` (MessagePack), the other
-- columns are what an index needs. Keys are found by primary key only; partial indexes hold live rows only.
--
-- `at` is the instant of the commit that wrote the row last: nodes whose clocks differ never let it fall.
--
-- A column of a live index is NULL as long as it does not apply (`klass`, `rank` unless ready; `agent` unless leased;
-- `due_at` unless owed), and `state` is in no index: so most updates touch no indexed column and PostgreSQL makes
-- them in place (HOT), for which `fillfactor` leaves room on each page.

create table meta (
    key text primary key,
    value text not null
);
insert into meta (key, value) values ('incarnation', '1');

create table id_block (
    what text primary key,
    next bigint not null
);

create table run (
    id bigint primary key,
    state smallint not null,
    due_at bigint,
    created_at bigint not null,
    job text,
    labels jsonb,
    input bytea not null,
    params bytea,
    at bigint not null,
    image bytea not null
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table run alter column image set storage main;
create index run_created on run (created_at, id);
create index run_job on run (job, created_at, id) where job is not null;
create index run_due on run (due_at, id) where due_at is not null;
create index run_labels on run using gin (labels jsonb_path_ops) where labels is not null;

-- Lists of runs by state. Tables of their own, because a run that ends must not touch an index of `run`: it ends in place.
create table open_run (
    created_at bigint not null,
    id bigint not null,
    primary key (created_at, id)
) with (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_insert_scale_factor = 0.2);

-- Those that ended, but did not succeed.
create table other_run (
    created_at bigint not null,
    id bigint not null,
    primary key (created_at, id)
);

create table task (
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    state smallint not null,
    klass bigint,
    rank bigint,
    agent bigint,
    due_at bigint,
    at bigint not null,
    image bytea not null,
    primary key (run, no, idx)
) with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.02, autovacuum_analyze_scale_factor = 0.02);
alter table task alter column image set storage main;
create index task_ready on task (klass, rank, run, no, idx) where klass is not null;
create index task_leased on task (agent, run, no, idx) where agent is not null;
create index task_due on task (due_at, run, no, idx) where due_at is not null;

create table value (
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    data bytea not null,
    primary key (run, no, idx)
);

create table attempt (
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    attempt bigint not null,
    image bytea not null,
    primary key (run, no, idx, attempt)
);

create table segment (
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    attempt bigint not null,
    first bigint not null,
    last bigint not null,
    data bytea,
    digest text not null,
    primary key (run, no, idx, attempt, first)
);

create table artifact (
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    path text not null,
    digest text not null,
    size bigint not null,
    primary key (run, no, idx, path)
);

create table history_run (
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    version bigint not null,
    at bigint not null,
    commit_no bigint not null,
    body bytea not null,
    primary key (run, no, idx, version)
);

create table commit_row (
    commit_no bigint primary key,
    at bigint not null,
    node bigint not null,
    actor text not null,
    source text not null,
    why text
);

create table entity (
    space bigint not null,
    kind text not null,
    name text not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint not null,
    facts bytea not null,
    image bytea not null,
    primary key (space, kind, name)
);

create table entity_history (
    space bigint not null,
    kind text not null,
    name text not null,
    version bigint not null,
    created_at bigint not null,
    updated_at bigint not null,
    deleted_at bigint not null,
    facts bytea not null,
    image bytea not null,
    primary key (space, kind, name, version)
);

create table answer (
    scope text not null,
    key text not null,
    request bytea not null,
    status bigint not null,
    location text not null,
    body bytea not null,
    at bigint not null,
    primary key (scope, key)
);
create index answer_at on answer (at);

create table document (
    graph bigint primary key,
    digest bytea not null unique,
    body bytea not null
);

create table class (
    klass bigint primary key,
    body bytea not null
);

create table outbox (
    seq bigint generated always as identity primary key,
    due_at bigint not null,
    kind text not null,
    subject text not null,
    body bytea not null
);
create index outbox_due on outbox (due_at, seq);

-- A blob is whole when `digest` is set; rows without one are uploads that are going on or were given up.
create table blob (
    id bigint generated always as identity primary key,
    digest text unique,
    size bigint not null,
    begun_at timestamptz not null default now()
);
create table blob_chunk (
    id bigint not null,
    no bigint not null,
    data bytea not null,
    primary key (id, no)
);
alter table blob_chunk alter column data set storage external;
