-- Who asked for a version of a named thing, and why, stands in its commit row. 0: before this was kept.
alter table entity_history add column commit_no bigint not null default 0;
