-- Messages older than a year: their URLs are cleared, and their objects released; the rows and their metadata stay.
-- Pinned messages, and those under legal hold, are not changed.

-- name: preview
select due.messages + kept.messages as scanned, due.messages as deleted, kept.messages as skipped
  from (select count(*) as messages
          from messages
         where created_at < :cutoff and media_type is not null and media_removed_at is null
           and not pinned and not legal_hold) due,
       (select count(*) as messages
          from messages
         where created_at < :cutoff and media_type is not null and media_removed_at is null
           and (pinned or legal_hold)) kept;

-- name: foresee
with due as materialized (
  select id from messages
   where created_at < :cutoff and media_type is not null and media_removed_at is null and not pinned and not legal_hold
), objects as materialized (
  select o.id, o.key, o.bytes from due d join media_objects o on o.message_id = d.id where o.story_id is null
)
select f.bytes, f.folders
  from objects_freed(array(select key from objects), array(select bytes from objects),
                     array(select 'messages ' || id::text from due
                            union all select 'media_objects ' || id::text from objects)) f;

-- name: purge
-- A row of media_objects without an owner is deleted; a trigger then inserts its key into storage_deletions.
with due as materialized (
  select id, created_at from messages
   where created_at >= :after and created_at < :cutoff
     and media_type is not null and media_removed_at is null and not pinned and not legal_hold
   order by created_at limit :chunk
     for update skip locked
), cleared as (
  update messages set media_url = null, thumbnail_url = null, media_removed_at = clock_timestamp()
   where id = any(array(select id from due))
), objects as (
  update media_objects set message_id = null where message_id = any(array(select id from due))
)
select count(*) as scanned, count(*) as deleted, max(created_at) as reached from due;
