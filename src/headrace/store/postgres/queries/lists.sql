-- Lists of runs. Each walks one index in order, looks at $9 rows at most and shows those that are wanted; of the others
-- it gives the place only. So whatever is asked for, a page costs a bounded walk, and the next page goes on behind it.
-- Runs in uncommon states are found through lists of their own, which are short; `run` itself is asked by key.
-- Large params are fetched one by one afterwards (params_of), so that a page has a bound in bytes: '' stands for them.

-- name: runs_newest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from run r
    where r.created_at between $1 and $2 and (r.created_at, r.id) < ($3::bigint, $4::bigint)
    order by r.created_at desc, r.id desc limit $9
) w cross join lateral (
    select ($5::text is null or w.job = $5) and ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at desc, w.id desc

-- name: runs_oldest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from run r
    where r.created_at between $1 and $2 and (r.created_at, r.id) > ($3::bigint, $4::bigint)
    order by r.created_at asc, r.id asc limit $9
) w cross join lateral (
    select ($5::text is null or w.job = $5) and ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at asc, w.id asc

-- name: job_runs_newest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from run r
    where r.job = $5 and r.created_at between $1 and $2 and (r.created_at, r.id) < ($3::bigint, $4::bigint)
    order by r.created_at desc, r.id desc limit $9
) w cross join lateral (
    select ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at desc, w.id desc

-- name: job_runs_oldest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from run r
    where r.job = $5 and r.created_at between $1 and $2 and (r.created_at, r.id) > ($3::bigint, $4::bigint)
    order by r.created_at asc, r.id asc limit $9
) w cross join lateral (
    select ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at asc, w.id asc

-- name: open_runs_newest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from open_run o join run r on r.id = o.id
    where o.created_at between $1 and $2 and (o.created_at, o.id) < ($3::bigint, $4::bigint)
    order by o.created_at desc, o.id desc limit $9
) w cross join lateral (
    select ($5::text is null or w.job = $5) and ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at desc, w.id desc

-- name: open_runs_oldest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from open_run o join run r on r.id = o.id
    where o.created_at between $1 and $2 and (o.created_at, o.id) > ($3::bigint, $4::bigint)
    order by o.created_at asc, o.id asc limit $9
) w cross join lateral (
    select ($5::text is null or w.job = $5) and ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at asc, w.id asc

-- name: other_runs_newest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from other_run o join run r on r.id = o.id
    where o.created_at between $1 and $2 and (o.created_at, o.id) < ($3::bigint, $4::bigint)
    order by o.created_at desc, o.id desc limit $9
) w cross join lateral (
    select ($5::text is null or w.job = $5) and ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at desc, w.id desc

-- name: other_runs_oldest
select w.id, w.created_at, case when m.ok then w.image end, w.job, case when m.ok then w.input end,
    case when m.ok then case when octet_length(w.params) > 65536 then ''::bytea else w.params end end
from (
    select r.id, r.created_at, r.job, r.state, r.labels, r.input, r.params, r.image from other_run o join run r on r.id = o.id
    where o.created_at between $1 and $2 and (o.created_at, o.id) > ($3::bigint, $4::bigint)
    order by o.created_at asc, o.id asc limit $9
) w cross join lateral (
    select ($5::text is null or w.job = $5) and ($6::bigint[] is null or w.state = any($6))
        and ($7::jsonb is null or coalesce(w.labels @> $7, false))
        and ($8::text is null or strpos(lower(coalesce(w.job, '')), lower($8)) > 0
             or strpos(lower(coalesce(w.labels::text, '')), lower($8)) > 0 or w.id::text = $8) as ok
) m
order by w.created_at asc, w.id asc

-- name: params_of
select params from run where id = $1

-- name: runs_by_id
select r.id, r.created_at, r.image, r.job, r.input, r.params from unnest($1::bigint[]) as k (id) join run r on r.id = k.id

-- name: commits_newest
select position, second, commit_no, at, touched from commit_row
where position is not null and at between $1 and $2 and (at, commit_no) < ($3::bigint, $4::bigint)
order by at desc, commit_no desc limit $5

-- name: commits_oldest
select position, second, commit_no, at, touched from commit_row
where position is not null and at between $1 and $2 and (at, commit_no) > ($3::bigint, $4::bigint)
order by at, commit_no limit $5

-- name: open_by_state
select r.state, count(*) from open_run o join run r on r.id = o.id group by r.state
