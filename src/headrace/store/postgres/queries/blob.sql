-- Bytes by digest, in rows of 256 KiB. Uploads take many short transactions: a long one would hold every reader's horizon.

-- name: blob_find
select id, size from blob where digest = $1

-- name: blob_begin
insert into blob (size) values (0) returning id

-- name: blob_add
insert into blob_chunk (id, no, data) values ($1, $2, $3)

-- name: blob_whole
update blob set digest = $2, size = $3 where id = $1

-- name: blob_whole_at_once
with made as (
    insert into blob (digest, size) values ($1, octet_length($2::bytea)) on conflict (digest) do nothing returning id
)
insert into blob_chunk (id, no, data) select id, 0, $2::bytea from made

-- name: blob_give_up
with gone as (delete from blob where id = $1 and digest is null returning id)
delete from blob_chunk where id in (select $1::bigint from gone)

-- name: blob_chunks
select no, data from blob_chunk where id = $1 and no between $2 and $3 order by no

-- name: blob_delete
with gone as (delete from blob where digest = any($1) returning id)
delete from blob_chunk where id in (select id from gone)

-- name: blob_sweep
with gone as (delete from blob where digest is null and begun_at < now() - interval '1 day' returning id)
delete from blob_chunk where id in (select id from gone)
