-- Temporary files over a day: the object is deleted from storage, then the row.

-- name: preview
-- Those too whose objects an earlier run has deleted or tried to.
select count(*) filter (where deleted_at is null) as scanned, count(*) as deleted, 0 as skipped,
       coalesce(sum(bytes) filter (where deleted_at is null), 0) as bytes
  from temp_files
 where (deleted_at is null and created_at < :cutoff) or deleted_at is not null;

-- name: purge
with due as materialized (
  select id, key, bytes, created_at from temp_files
   where created_at >= :after and created_at < :cutoff and deleted_at is null
   order by created_at limit :chunk
     for update skip locked
), marked as (
  update temp_files set deleted_at = clock_timestamp() where id = any(array(select id from due))
), objects as (
  insert into storage_deletions (key, bytes, reason) select key, bytes, 'temp_files' from due
)
select count(*) as scanned, 0 as deleted, max(created_at) as reached, coalesce(sum(bytes), 0) as bytes
  from due;

-- name: remove
-- The rows whose objects are gone.
with gone as materialized (
  select id, deleted_at from temp_files t
   where deleted_at >= :after
     and not exists (select from storage_deletions d where d.key = t.key)
   order by deleted_at limit :chunk
     for update skip locked
), removed as (
  delete from temp_files where id = any(array(select id from gone))
)
select 0 as scanned, count(*) as deleted, max(deleted_at) as reached, 0 as bytes
  from gone;

-- name: in_use
select key from media_objects where key = any(:keys)
 union all
select key from temp_files where key = any(:keys) and deleted_at is null
 union all
select source_key from media where source_key = any(:keys) and deleted_at is null
 union all
select key
  from media_jobs cross join lateral pg_catalog.unnest(array[payload ->> 's3Key'::text, payload ->> 'key'::text, ltrim(payload ->> 'inputPath'::text, '/')]) key
 where status in ('pending', 'processing') and key = any(:keys);
