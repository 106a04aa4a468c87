-- The objects that are still to be deleted.

-- name: note_horizon
-- The transactions that may use a key and have not seen its row have smaller numbers than this one, which comes after it. A number that is yet to come
-- is another server's: the database was restored from a dump.
update storage_deletions set horizon = pg_current_xact_id()
 where id = any(array(select id from storage_deletions
                       where due_at <= clock_timestamp() and (horizon is null or horizon >= pg_snapshot_xmax(pg_current_snapshot()))
                       order by due_at limit :limit
                         for update skip locked))
returning id;

-- name: take_deletions
-- Locked until they are deleted: who uses one of these keys again waits for that (keep_object).
select id, key, reason, bytes from storage_deletions
 where due_at <= clock_timestamp() and horizon < (select oldest_transaction())
 order by due_at limit :limit
   for update skip locked;

-- name: left_deletions
-- Those that were not taken, in a state that may have changed since.
select id from storage_deletions where due_at <= clock_timestamp() and horizon is not null limit 1 for update skip locked;

-- name: put_off_deletions
-- Some transaction takes long.
update storage_deletions set due_at = clock_timestamp() + interval '5 minutes'
 where id = any(array(select id from storage_deletions
                       where due_at <= clock_timestamp() and horizon >= (select oldest_transaction())
                       order by due_at limit :limit
                         for update skip locked))
returning id;

-- name: held
-- Those of the keys that a running media job writes.
select key from pg_catalog.unnest(:keys::text[]) key
 where exists (select from storage_holds h
                 join media_jobs_live j on j.id = h.job_id and j.status = 'processing'
                where starts_with(key, h.folder || '/'));

-- name: settle_deletions
delete from storage_deletions where id = any(:ids);

-- name: postpone_deletions
-- After half a minute, doubled each time, six hours at most. A key that no storage can have waits for a person.
update storage_deletions d
   set attempts = attempts + 1, error_code = f.error_code, error = f.error,
       due_at = case f.error_code
                  when 'invalid_storage_key' then 'infinity'
                  else clock_timestamp() + pg_catalog.make_interval(secs => least(30::float8 * 2::float8 ^ least(attempts, 20)::float8, 21600))
                end
  from jsonb_to_recordset(:failures::jsonb) as f (id bigint, error_code text, error text)
 where d.id = f.id;

-- name: look_at_deletions
-- For a dry run.
select id, key, reason, bytes from storage_deletions
 where due_at <= clock_timestamp() and id > :after
 order by id limit :limit;

-- name: has_deletions
-- Of one reason, or of any.
select exists (select from storage_deletions where due_at < 'infinity' and reason = coalesce(:reason, reason)) as found;
