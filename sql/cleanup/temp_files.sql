-- Temporary files from before :cutoff: the object is deleted from storage, then the row.

-- name: preview
-- Includes files whose objects an earlier run has deleted, or tried to, or that the application has deleted itself.
select count(*) filter (where deleted_at is null) as scanned, count(*) as deleted, 0 as skipped
  from temp_files
 where (deleted_at is null and created_at < :cutoff) or deleted_at is not null;

-- name: foresee
with due as materialized (
  select id, key, bytes from temp_files where deleted_at is null and created_at < :cutoff
)
select f.bytes, f.folders
  from objects_freed(array(select key from due), array(select bytes from due),
                     array(select 'temp_files ' || id::text from due)) f;

-- name: purge
-- A trigger inserts the keys into storage_deletions.
with due as materialized (
  select id, created_at from temp_files
   where created_at >= :after and created_at < :cutoff and deleted_at is null
   order by created_at limit :chunk
     for update skip locked
), marked as (
  update temp_files set deleted_at = clock_timestamp() where id = any(array(select id from due))
)
select count(*) as scanned, 0 as deleted, max(created_at) as reached from due;

-- name: remove
-- The rows whose objects are deleted.
with gone as materialized (
  select id, deleted_at from temp_files t
   where deleted_at >= :after
     and not exists (select from storage_deletions d where d.key = t.key)
   order by deleted_at limit :chunk
     for update skip locked
), removed as (
  delete from temp_files where id = any(array(select id from gone))
)
select 0 as scanned, count(*) as deleted, max(deleted_at) as reached from gone;
