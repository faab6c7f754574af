-- Commits by their instant: what ended when is found through what was committed then. One entry a commit, not a run.
create index commit_row_at on commit_row (at, commit_no) where position is not null;
