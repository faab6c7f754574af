-- The first commit row of each commit says which history rows it wrote (store.touched). On SQLite commit numbers rise in
-- commit order, so events need no index: they walk the commit rows and find history by its key.
ALTER TABLE commit_row ADD COLUMN touched BLOB;
