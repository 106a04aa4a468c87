-- The objects that are still to be deleted.

-- name: note_horizon
-- A transaction that may use a key, and has not seen its row, has a smaller number than this transaction, which starts
-- later. A horizon in the future is another server's: the database was restored from a dump.
update storage_deletions set horizon = pg_current_xact_id()
 where id = any(array(select id from storage_deletions
                       where due_at <= clock_timestamp()
                         and (horizon is null or horizon >= pg_snapshot_xmax(pg_current_snapshot()))
                       order by due_at limit :limit
                         for update skip locked))
returning id;

-- name: take_deletions
-- Includes all rows of the same unit, so that no object is counted twice. The rows stay locked until their objects are
-- deleted: a transaction that uses one of these keys again waits for that (keep_object).
with page as materialized (
  select d.key from storage_deletions d
   where d.due_at <= clock_timestamp() and d.horizon < (select oldest_transaction())
   order by d.due_at limit :limit
     for update skip locked
), units as materialized (
  select distinct u.unit, u.below from object_units(array(select key from page)) u
)
select d.id, d.key, d.bytes
  from units u
  join storage_deletions d on d.key >= u.unit and d.key < u.below
 where d.due_at < 'infinity' and d.horizon < (select oldest_transaction())
   for update of d skip locked;

-- name: left_deletions
-- Rows that were not taken. Their state may have changed since.
select id from storage_deletions
 where due_at <= clock_timestamp() and horizon is not null
 limit 1 for update skip locked;

-- name: put_off_deletions
-- Some transaction takes long.
update storage_deletions set due_at = clock_timestamp() + interval '5 minutes'
 where id = any(array(select id from storage_deletions
                       where due_at <= clock_timestamp() and horizon >= (select oldest_transaction())
                       order by due_at limit :limit
                         for update skip locked))
returning id;

-- name: in_use
-- When rows of media_objects and temp_files are deleted, their keys are inserted again. Other rows go without a trace:
-- `forgets`.
select key, bool_and(used_by not in ('media_objects', 'temp_files')) as forgets
  from object_uses(:keys)
 where keeps
 group by key;

-- name: settle_deletions
with settled as (
  delete from storage_deletions where id = any(:ids) returning key, bytes
), gone as (
  delete from storage_kept k using object_units(:gone) u where k.key >= u.unit and k.key < u.below
)
insert into storage_kept (key, bytes)
select key, max(bytes) from settled where key = any(:forgotten) group by key order by key
    on conflict do nothing;

-- name: release_kept
-- One page of keys, in order. A key that is in storage_deletions already is not inserted twice.
with page as materialized (
  select key, bytes from storage_kept where key > :after order by key limit :limit for update skip locked
), free as materialized (
  select key, bytes from page
   where key not in (select u.key from object_uses(array(select p.key from page p)) u
                      where u.keeps or u.used_by = 'storage_deletions')
), released as (
  delete from storage_kept where key = any(array(select key from free))
), objects as (
  insert into storage_deletions (key, bytes, reason) select key, bytes, 'kept' from free
)
select count(*) as keys, max(key) as reached from page;

-- name: postpone_deletions
-- Half a minute later, doubled each time, at most six hours. A key that no storage can have waits for a person.
update storage_deletions d
   set attempts = attempts + 1, error_code = f.error_code, error = f.error,
       due_at = case f.error_code
                  when 'invalid_storage_key' then 'infinity'
                  else clock_timestamp() + pg_catalog.make_interval(
                         secs => least(30::float8 * 2::float8 ^ least(attempts, 20)::float8, 21600))
                end
  from jsonb_to_recordset(:failures::jsonb) as f (id bigint, error_code text, error text)
 where d.id = f.id;

-- name: look_at_deletions
-- For a dry run: the keys, each folder before its contents.
select key, max(bytes) as bytes, count(*) as rows from storage_deletions
 where due_at <= clock_timestamp() and key > :after
 group by key
 order by key limit :limit;

-- name: has_postponed
-- Rows that are due may be in work by another run.
select exists (select from storage_deletions where due_at > clock_timestamp() and due_at < 'infinity') as found;

-- name: has_deletions
select exists (select from storage_deletions where due_at < 'infinity') as found;
