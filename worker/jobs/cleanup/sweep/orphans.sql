-- Compares what storage contains with what rows refer to.

-- name: clear_listing
-- The listing of an earlier attempt of this run, and those of failed runs: their logs have no end, but their jobs have
-- ended.
delete from storage_listing
 where log_id = :log_id
    or log_id not in (select l.id from cleanup_logs l join cleanup_jobs j on j.id = l.job_id
                       where l.finished_at is null and j.status in ('pending', 'processing'));

-- name: add_listing
insert into storage_listing (log_id, key, bytes, modified_at)
select :log_id, key, bytes, modified_at
  from jsonb_to_recordset(:objects::jsonb) as o (key text, bytes bigint, modified_at timestamptz)
    on conflict do nothing;

-- name: find_orphans
-- One page of keys, in order.
with page as materialized (
  select key from storage_listing where log_id = :log_id and key > :after order by key limit :limit
), named as materialized (
  select distinct u.key from object_uses(array(select key from page)) u
), marked as (
  update storage_listing l set orphaned = true
   where l.log_id = :log_id and l.modified_at < :cutoff
     and l.key = any(array(select p.key from page p where p.key not in (select n.key from named n)))
)
select count(*) as keys, max(key) as reached from page;

-- name: compare_at_once
-- Whole tables are compared: never row by row, whatever the statistics say.
select set_config('enable_nestloop', 'off', true), set_config('jit', 'off', true);

-- name: weigh_listing
-- A day ago means 23 hours, because yesterday's run may have begun a little later.
select count(*) as listed, count(*) filter (where l.orphaned) as orphaned,
       count(*) filter (where s.seen_at < clock_timestamp() - interval '23 hours') as confirmed,
       coalesce(sum(l.bytes) filter (where s.seen_at < clock_timestamp() - interval '23 hours'), 0)::bigint as bytes
  from storage_listing l
  left join orphan_sightings s on s.key = l.key and l.orphaned
 where l.log_id = :log_id;

-- name: forget_sightings
-- They are gone, or a row refers to them.
delete from orphan_sightings s
 where exists (select from pg_catalog.unnest(:prefixes::text[]) prefix where starts_with(s.key, prefix))
   and not exists (select from storage_listing l where l.log_id = :log_id and l.key = s.key and l.orphaned);

-- name: see_orphans
insert into orphan_sightings (key, bytes)
select key, bytes from storage_listing where log_id = :log_id and orphaned
    on conflict (key) do nothing;

-- name: condemn_orphans
with due as materialized (
  select s.key, s.bytes from orphan_sightings s
   where s.key > :after and s.seen_at < clock_timestamp() - interval '23 hours'
     and exists (select from storage_listing l where l.log_id = :log_id and l.key = s.key and l.orphaned)
   order by s.key limit :chunk
     for update skip locked
), forgotten as (
  delete from orphan_sightings where key = any(array(select key from due))
), objects as (
  insert into storage_deletions (key, bytes, reason) select key, bytes, 'orphaned_media' from due
)
select count(*) as deleted, max(key) as reached from due;
