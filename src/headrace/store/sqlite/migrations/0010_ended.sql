-- Commits by their instant: what ended when is found through what was committed then. One entry a commit, not a run.
CREATE INDEX commit_row_at ON commit_row (at, commit_no) WHERE touched IS NOT NULL;
