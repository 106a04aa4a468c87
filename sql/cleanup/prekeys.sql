-- One-time prekeys: those used before :cutoff are deleted, and each device has at least ten unused ones again. If the
-- worker may not make them, or cannot seal them for the device, the device is asked to. Requests that were fulfilled
-- before :cutoff are deleted.

-- name: preview
select count(*) as scanned, count(*) as deleted, 0 as skipped
  from (select from prekeys where used_at < :cutoff
         union all
        select from prekey_refill_requests where fulfilled_at < :cutoff) due;

-- name: purge
-- Never unused ones: somebody may have one, and use it later to write to the device. Used ones also if the device has
-- not collected them: it was away since then, and will not be able to read what was written with that key. The rows
-- are locked, so their ctid stays the same, and finds them again.
with due as materialized (
  select ctid as place, used_at from prekeys
   where used_at >= :after and used_at < :cutoff
   order by used_at limit :chunk
     for update skip locked
), gone as (
  delete from prekeys where ctid = any(array(select place from due))
)
select count(*) as scanned, count(*) as deleted, max(used_at) as reached from due;

-- name: purge_requests
with due as materialized (
  select id, fulfilled_at from prekey_refill_requests
   where fulfilled_at >= :after and fulfilled_at < :cutoff
   order by fulfilled_at limit :chunk
     for update skip locked
), gone as (
  delete from prekey_refill_requests where id = any(array(select id from due))
)
select count(*) as scanned, count(*) as deleted, max(fulfilled_at) as reached from due;

-- name: low_devices
-- Locked, so that two workers do not assign the same ids. At most :minimum unused ones are counted.
select d.id, d.user_id, d.identity_key, d.next_prekey_id, n.unused,
       exists (select from prekey_refill_requests r where r.device_id = d.id and r.fulfilled_at is null) as requested
  from devices d
 cross join lateral (select count(*)::integer as unused
                       from (select from prekeys p where p.device_id = d.id and p.used_at is null limit :minimum) u) n
 where d.id > :after and n.unused < :minimum
 order by d.id limit :chunk
   for no key update of d skip locked;

-- name: add_prekeys
insert into prekeys (device_id, prekey_id, public_key, sealed_private_key)
select device_id, prekey_id, decode(public_key, 'base64'), decode(sealed_private_key, 'base64')
  from pg_catalog.jsonb_to_recordset(:prekeys::jsonb)
    as p (device_id uuid, prekey_id integer, public_key text, sealed_private_key text);

-- name: request_prekeys
-- One open request per device.
insert into prekey_refill_requests as r (device_id, missing, reason)
select a.device_id, a.missing, a.reason
  from pg_catalog.jsonb_to_recordset(:devices::jsonb) as a (device_id uuid, missing integer, reason text)
    on conflict (device_id) where fulfilled_at is null do update
   set missing = excluded.missing, reason = excluded.reason;

-- name: close_requests
update prekey_refill_requests r set fulfilled_at = clock_timestamp()
 where r.fulfilled_at is null
   and (select count(*) from (select from prekeys p
                               where p.device_id = r.device_id and p.used_at is null
                               limit :minimum) u) >= :minimum;
