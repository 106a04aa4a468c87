-- Stories over a day: their objects are deleted from storage, the rows soft-deleted, the users' statistics brought up to date.
--
-- Yours to edit, as all files of this folder, where your tables are others. What each statement is given and has to answer is in README.md here.

-- name: preview
select count(*) as scanned, count(*) as deleted, 0 as skipped,
       coalesce(sum((select sum(m.bytes) from media_objects m where m.story_id = s.id and m.message_id is null)), 0) as bytes
  from stories s
 where s.created_at < :cutoff and s.deleted_at is null;

-- name: purge
with due as materialized (
  select id, user_id, created_at from stories
   where created_at >= :after and created_at < :cutoff and deleted_at is null
   order by created_at limit :chunk
     for update skip locked
), gone as (
  update stories set deleted_at = clock_timestamp(), media_url = null, thumbnail_url = null
   where id = any(array(select id from due))
), media as (
  delete from media_objects where story_id = any(array(select id from due)) and pg_catalog.num_nonnulls(message_id, story_id) = 1 returning key, bytes
), shared as (
  update media_objects set story_id = null where story_id = any(array(select id from due)) and pg_catalog.num_nonnulls(message_id, story_id) = 2
), objects as (
  insert into storage_deletions (key, bytes, reason) select key, bytes, 'stories' from media
), counted as (
  update users u set active_stories = greatest(u.active_stories - n.stories, 0), expired_stories = u.expired_stories + n.stories
    from (select user_id, count(*)::integer as stories from due group by user_id) n
   where u.id = n.user_id
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
