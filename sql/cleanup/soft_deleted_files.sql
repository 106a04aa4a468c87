-- Auction files that were soft-deleted before :cutoff: their pictures are deleted from storage, then the rows. The
-- original on RAID is not deleted.

-- name: preview
-- Includes files whose objects an earlier run has deleted, or tried to.
select count(*) filter (where purged_at is null) as scanned, count(*) as deleted, 0 as skipped
  from auction_files
 where (deleted_at < :cutoff and purged_at is null) or purged_at is not null;

-- name: foresee
with due as materialized (
  select * from auction_files where deleted_at < :cutoff and purged_at is null
), pictures as materialized (
  select v.key, coalesce(v.bytes, 0)::bigint as bytes
    from due f cross join lateral (values (substring(f.display_url from '[^/?#]+/[^/?#]+(?=[?#]|$)'), f.display_bytes),
                                          (substring(f.thumb_url from '[^/?#]+/[^/?#]+(?=[?#]|$)'), f.thumb_bytes)
                                  ) v (key, bytes)
   where starts_with(v.key, f.id::text || '/')
)
select f.bytes, f.folders
  from objects_freed(array(select key from pictures), array(select bytes from pictures),
                     array(select 'auction_files ' || id::text from due)) f;

-- name: purge
-- Keys begin with the file's id, and a URL ends with the key. The results of the file's jobs have the pictures of
-- earlier originals.
with due as materialized (
  select * from auction_files
   where deleted_at >= :after and deleted_at < :cutoff and purged_at is null
   order by deleted_at limit :chunk
     for update skip locked
), marked as (
  update auction_files set purged_at = clock_timestamp() where id = any(array(select id from due))
), pictures as (
  select v.key, v.bytes
    from due f cross join lateral (values (substring(f.display_url from '[^/?#]+/[^/?#]+(?=[?#]|$)'), f.display_bytes),
                                          (substring(f.thumb_url from '[^/?#]+/[^/?#]+(?=[?#]|$)'), f.thumb_bytes)
                                  ) v (key, bytes)
   where starts_with(v.key, f.id::text || '/')
   union all
  select j.result -> v.name ->> 'key'::text, null
    from publish_jobs j cross join (values ('display'), ('thumb')) v (name)
   where j.file_id = any(array(select id::text from due)) and j.status = 'completed'
), objects as (
  insert into storage_deletions (key, bytes, reason)
  select key, coalesce(max(bytes), 0), 'soft_deleted_files' from pictures where key is not null group by key
)
select count(*) as scanned, 0 as deleted, max(deleted_at) as reached from due;

-- name: remove
-- The rows whose objects are deleted.
with gone as materialized (
  select id, purged_at from auction_files f
   where purged_at >= :after
     and not exists (select from storage_deletions d
                      where d.key >= (f.id::text || '/') collate "C" and d.key < (f.id::text || '0') collate "C")
   order by purged_at limit :chunk
     for update skip locked
), removed as (
  delete from auction_files where id = any(array(select id from gone))
)
select 0 as scanned, count(*) as deleted, max(purged_at) as reached from gone;
