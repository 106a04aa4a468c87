-- Sessions that were last active before :cutoff are deleted with their tokens. A device without sessions becomes
-- inactive, unless it was seen since then.

-- name: preview
select count(*) as scanned, count(*) as deleted, 0 as skipped
  from sessions
 where last_active_at < :cutoff;

-- name: purge
with due as materialized (
  select id, device_id, last_active_at from sessions
   where last_active_at >= :after and last_active_at < :cutoff
   order by last_active_at limit :chunk
     for update skip locked
), tokens as (
  delete from session_tokens where session_id = any(array(select id from due))
), gone as (
  delete from sessions where id = any(array(select id from due))
), signed_out as (
  -- A sign-in at this moment moves last_seen_at: then the device stays active.
  update devices d set status = 'inactive'
   where d.id = any(array(select device_id from due)) and d.status = 'active' and d.last_seen_at < :cutoff
     and not exists (select from sessions s where s.device_id = d.id and s.id <> all(array(select id from due)))
)
select count(*) as scanned, count(*) as deleted, max(last_active_at) as reached from due;

-- name: repair
-- Devices whose sessions somebody else deleted. If `repaired` is a whole chunk, there may be more.
with wrong as materialized (
  select d.id from devices d
   where d.status = 'active' and d.last_seen_at < :cutoff
     and not exists (select from sessions s where s.device_id = d.id)
   limit :chunk
     for no key update skip locked
), signed_out as (
  update devices set status = 'inactive' where id = any(array(select id from wrong))
)
select count(*) as repaired from wrong;
