-- What live attempts hold of named limits, and runs of their job's gate: rows exist exactly as long as it is held.
create table limit_use (
    name text not null,
    key text not null,
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    units bigint not null,
    primary key (name, key, run, no, idx)
) with (autovacuum_vacuum_scale_factor = 0.02);

-- The one instant of each rate, and when it was written.
create table limit_tick (
    name text not null,
    key text not null,
    tick bigint not null,
    at bigint not null,
    primary key (name, key)
) with (fillfactor = 50);

-- Runs that wait for their turn at their job's gate.
create table gate_wait (
    name text not null,
    key text not null,
    rank bigint not null,
    run bigint not null,
    primary key (name, key, rank, run)
);

-- Which attempt's result is good for the same work with the same inputs.
create table cached (
    work bytea primary key,
    run bigint not null,
    no bigint not null,
    idx bigint not null,
    at bigint not null
);
