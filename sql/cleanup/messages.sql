-- Messages over a year: their media are deleted from storage, the URLs cleared; the rows and their metadata stay. What is pinned, or under legal hold,
-- stays as it is.

-- name: preview
select due.messages + kept.messages as scanned, due.messages as deleted, kept.messages as skipped, due.bytes
  from (select count(*) as messages,
               coalesce(sum((select sum(o.bytes) from media_objects o where o.message_id = m.id and o.story_id is null)), 0) as bytes
          from messages m
         where created_at < :cutoff and media_type is not null and media_removed_at is null and not pinned and not legal_hold) due,
       (select count(*) as messages
          from messages
         where created_at < :cutoff and media_type is not null and media_removed_at is null and (pinned or legal_hold)) kept;

-- name: purge
with due as materialized (
  select id, created_at from messages
   where created_at >= :after and created_at < :cutoff
     and media_type is not null and media_removed_at is null and not pinned and not legal_hold
   order by created_at limit :chunk
     for update skip locked
), cleared as (
  update messages set media_url = null, thumbnail_url = null, media_removed_at = clock_timestamp()
   where id = any(array(select id from due))
), media as (
  delete from media_objects where message_id = any(array(select id from due)) and pg_catalog.num_nonnulls(message_id, story_id) = 1 returning key, bytes
), shared as (
  update media_objects set message_id = null where message_id = any(array(select id from due)) and pg_catalog.num_nonnulls(message_id, story_id) = 2
), objects as (
  insert into storage_deletions (key, bytes, reason) select key, bytes, 'messages' from media
)
select count(*) as scanned, count(*) as deleted, max(created_at) as reached, (select coalesce(sum(bytes), 0) from media) as bytes
  from due;

-- name: in_use
select key from media_objects where key = any(:keys)
 union all
select key from temp_files where key = any(:keys) and deleted_at is null
 union all
select source_key from media where source_key = any(:keys) and deleted_at is null
 union all
select key
  from media_jobs cross join lateral pg_catalog.unnest(array[payload ->> 's3Key'::text, payload ->> 'key'::text, ltrim(payload ->> 'inputPath'::text, '/')]) key
 where not archived and status in ('pending', 'processing') and key = any(:keys);
