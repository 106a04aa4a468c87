-- Stories older than a day: the rows are soft-deleted, their objects released, and the users' statistics updated.
--
-- If your tables are different, edit this file, as all files of this folder. README.md in this folder says which
-- parameters each statement gets, and what it must return.

-- name: preview
select count(*) as scanned, count(*) as deleted, 0 as skipped
  from stories where created_at < :cutoff and deleted_at is null;

-- name: foresee
with due as materialized (
  select id from stories where created_at < :cutoff and deleted_at is null
), objects as materialized (
  select o.id, o.key, o.bytes from due d join media_objects o on o.story_id = d.id where o.message_id is null
)
select f.bytes, f.folders
  from objects_freed(array(select key from objects), array(select bytes from objects),
                     array(select 'stories ' || id::text from due
                            union all select 'media_objects ' || id::text from objects)) f;

-- name: purge
-- A row of media_objects without an owner is deleted; a trigger then inserts its key into storage_deletions.
with due as materialized (
  select id, user_id, created_at from stories
   where created_at >= :after and created_at < :cutoff and deleted_at is null
   order by created_at limit :chunk
     for update skip locked
), gone as (
  update stories set deleted_at = clock_timestamp(), media_url = null, thumbnail_url = null
   where id = any(array(select id from due))
), counted as (
  update users u
     set active_stories = greatest(u.active_stories - n.stories, 0), expired_stories = u.expired_stories + n.stories
    from (select user_id, count(*)::integer as stories from due group by user_id) n
   where u.id = n.user_id
)
select count(*) as scanned, count(*) as deleted, max(created_at) as reached from due;
