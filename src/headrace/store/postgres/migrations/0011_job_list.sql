-- Jobs by their last change. Only jobs: what agents write all the time pays nothing for it.
create index entity_job_updated on entity (updated_at, name) where kind = 'job';
