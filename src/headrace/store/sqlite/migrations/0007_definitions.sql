-- Who asked for a version of a named thing, and why, stands in its commit row. 0: before this was kept.
ALTER TABLE entity_history ADD COLUMN commit_no INTEGER NOT NULL DEFAULT 0;
