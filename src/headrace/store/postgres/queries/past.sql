-- How things stood at an instant: one seek per thing to its last version until then, never a walk over its versions.

-- name: cells_at
-- Versions are dense and their instants never fall: halve until the last one at or before the instant is found.
select h.run, h.no, h.idx, h.version, h.at, h.commit_no, h.body
from unnest($1::bigint[], $2::bigint[], $3::bigint[]) as k (run, no, idx)
cross join lateral (
    with recursive search (low, high) as (
        (select (select b.version - 1 from history_run b where b.run = k.run and b.no = k.no and b.idx = k.idx
                 order by b.version limit 1),
                (select b.version from history_run b where b.run = k.run and b.no = k.no and b.idx = k.idx
                 order by b.version desc limit 1))
        union all
        select case when m.at <= $4 then m.version else low end, case when m.at <= $4 then high else m.version - 1 end
        from search join history_run m
            on m.run = k.run and m.no = k.no and m.idx = k.idx and m.version = (low + high + 1) / 2
        where low < high
    )
    select low from search where low = high
) found
join history_run h on h.run = k.run and h.no = k.no and h.idx = k.idx and h.version = found.low

-- name: entity_at
select kind, name, version, created_at, updated_at, image, deleted_at, facts, space, commit_no from entity_history
where space = 1 and kind = $1 and name = $2 and updated_at <= $3 order by updated_at desc, version desc limit 1

-- name: entities_at_instant
select h.kind, h.name, h.version, h.created_at, h.updated_at, h.image, h.deleted_at, h.facts, h.space, h.commit_no
from entity e cross join lateral (
    select * from entity_history v where v.space = 1 and v.kind = e.kind and v.name = e.name and v.updated_at <= $2
    order by v.updated_at desc, v.version desc limit 1
) h
where e.space = 1 and e.kind = $1 and e.name > $3 and ($4::bool or h.deleted_at = 0) order by e.name limit $5
