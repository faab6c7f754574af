-- Jobs by their last change. Only jobs: what agents write all the time pays nothing for it.
CREATE INDEX entity_job_updated ON entity (updated_at, name) WHERE kind = 'job';
