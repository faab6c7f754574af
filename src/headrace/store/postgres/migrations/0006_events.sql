-- The first commit row of each commit says which history rows it wrote (store.touched), and where it stands among all.
--
-- `position` is the transaction's own number, or the newest that had ended when it wrote, whichever is later: so it is
-- never below `pg_snapshot_xmin` of anybody who could not see it yet, and never below that of a commit whose rows it has
-- read. `second` decides between equals: it is drawn when all rows are held, so what was read comes first there too.
-- The high 15 bits are the store's incarnation: a restored store begins to count anew, above all that was.
alter table commit_row add column touched bytea, add column position bigint, add column second bigint;
create sequence commit_second;
create index commit_row_place on commit_row (position, second) where position is not null;
