-- Rowmill is a job queue inside your Postgres: a job is a row. These files make its tables, views and triggers. Read
-- them in the order of their names: each object is made once, in its final form.
--
-- How a job goes through the database:
--
--                 ┌── a failed attempt with retries left, a snooze, an incident ──┐
--                 ▼                                                               │
--     insert ─► pending ── a worker claims its ticket ─► processing ──────────────┼─► completed
--                 ▲                                                               │
--                 └── UPDATE by hand, or a higher max_retries ── failed ◄─────────┘
--
--     pending, processing or failed ── UPDATE by hand, or too late (expires_at) ─► cancelled
--
-- 1. Insert. A program inserts a row into `jobs`, or into the table of one queue, such as `media_jobs` (0001_jobs). Row
--    triggers refuse a row that cannot work, skip a duplicate, and fill in what the program left out (0002_triggers).
-- 2. Ticket. A statement trigger makes tickets for the new pending rows. A ticket is a row of graphile-worker, in a
--    schema of its own. It names the ids of some jobs and is due when they are. NOTIFY wakes the workers
--    that wait for jobs; while there are many jobs, they poll instead (0003_tickets).
-- 3. Claim. A worker claims the ticket with FOR UPDATE SKIP LOCKED. Then it starts those of the ticket's jobs that are
--    still pending and due: status processing, attempt + 1, locked_by. A job whose expires_at has passed ends cancelled
--    instead. The row is the truth and the ticket is a hint: a ticket too many starts nothing, and workers make a
--    missing one again half a minute after the job became due.
-- 4. Run. The worker runs the handler of the job's queue and kind. Every statement that ends the attempt names the
--    job's id, attempt and worker. So a worker that was believed dead and comes back changes nothing (fencing).
-- 5. End. The job is completed; or the attempt failed, has a row in job_errors, and the job is pending again with a
--    later run_at and a new ticket; or no retry is left, and the job is failed: a dead letter. What a handler writes to
--    Postgres can be committed together with the job's completion.
-- 6. By hand. Everybody who may update the row can cancel, retry, move or reprioritise a job by a plain UPDATE.
--    Statement triggers complete the change, make the ticket, and tell the worker that runs the job (0002_triggers).
-- 7. Archive. Half a minute after a job was completed or cancelled, a worker sets archived = true. That moves the row
--    from the queue's live partition to its done partition, so the live one stays small however long the history is.
--
-- The other files: workers, rate limits and incidents (0004_workers), the files that jobs are about (0005_files), jobs
-- that are inserted by the clock (0006_schedules), the deletion of objects in storage (0007_cleanup), and what the
-- error codes mean (0008_error_codes). messenger/ is applied only by `rowmill migrate --with messenger`.
--
-- Rules for all files:
-- - worker/base/db/migrate.ts applies them, each once, all in one transaction, into one schema. A file that was
--   released never changes (migrations/released.json). They run on Postgres 14 to 18.
-- - The migrator fills in three names that depend on the schema: :"tickets", the schema of the tickets; :'workers', the
--   channel on which workers listen; :'ended', the channel on which clients hear that jobs ended.
-- - Functions pin search_path to this schema, with temporary tables last. In this schema other roles may have made
--   functions and operators. Postgres calls the one whose argument types fit best, so a call whose types are not
--   exactly those of pg_catalog's function has a cast, or the prefix pg_catalog (test/queue/install/decoys.test.ts).
-- - NOTIFY is left out while the queue of notifications is 90 % full: at 100 % every commit that notifies fails.
--   Workers also poll.
--
--
-- This file: nobody but the owner may use what the migrations make, until a GRANT opens it.
--
-- Postgres lets PUBLIC execute each new function. Supabase's default privileges gave `anon` and `authenticated` every
-- right on each new table, sequence and function. Row level security covers neither TRUNCATE nor REFERENCES nor
-- TRIGGER. And a role that may execute a SECURITY DEFINER trigger function can put it on a table of its own: the casts
-- of that table's types then run as the owner.
--
-- So after each file the migrator calls after_migration with the objects that the file made, and create_queue calls it
-- with the tables of a new queue. Objects that were in the schema before are the user's and keep their grants. Rights
-- that are granted later stay.
--
-- Locks: creates only. Undo: drop the functions and the table.

create table rowmill_objects (
  object text primary key
);
comment on table  rowmill_objects is 'What Rowmill made in this schema. Everything else here is the user''s.';
comment on column rowmill_objects.object is
  'As GRANT names it: table jobs, sequence job_ids, routine retry_delay(integer, integer).';

-- A function that an index calls stays open: whoever writes to the table calls it.
-- Before Postgres 15 a view runs with the rights of its owner: who may read it sees all rows, also those that row level
-- security would hide.
create function close_objects(objects text[] default null) returns void
  language plpgsql
  set search_path from current
as $$
declare
  object text;
  roles  text := 'public';
  role   text;
  kept   oid;
begin
  for role in select r.rolname::text from pg_roles r where r.rolname in ('anon', 'authenticated') loop
    roles := pg_catalog.format('%s, %I', roles, role);
  end loop;
  foreach object in array array(select o.object from rowmill_objects o
                                 where objects is null or o.object = any(objects)) loop
    if object like 'routine %' then
      kept := to_regprocedure(substr(object, 9))::oid;
      continue when kept is null;
      if exists (select from pg_depend d
                  where d.refclassid = 'pg_proc'::regclass::oid and d.refobjid = kept
                    and d.classid = 'pg_class'::regclass::oid) then
        execute pg_catalog.format('grant execute on %s to public', object);
        continue;
      end if;
    else
      kept := to_regclass(substr(object, position(' ' in object) + 1))::oid;
      continue when kept is null;
      if exists (select from pg_class c where c.oid = kept and c.relkind in ('r', 'p') and not c.relrowsecurity) then
        execute pg_catalog.format('alter %s enable row level security', object);
      end if;
      if exists (select from pg_class c where c.oid = kept and c.relkind = 'v')
         and current_setting('server_version_num')::int >= 150000 then
        execute pg_catalog.format('alter view %s set (security_invoker = true)', substr(object, 7));
      end if;
    end if;
    execute pg_catalog.format('revoke all on %s from %s cascade', object, roles);
  end loop;
end $$;
comment on function close_objects is
  'Revokes every right on what Rowmill made, or on the given objects, from PUBLIC and from Supabase''s anon and '
  'authenticated. Enables row level security on tables; views run with the rights of who reads them.';

create function after_migration(made text[]) returns void
  language plpgsql
  set search_path from current
as $$
declare
  lacking record;
begin
  insert into rowmill_objects (object) select m from pg_catalog.unnest(made) m on conflict do nothing;
  perform close_objects(made);
  for lacking in
    select p.relid, a.attname, col_description(j.attrelid, j.attnum::integer) as comment
      from pg_partition_tree(to_regclass('jobs')) p
      join pg_attribute j on j.attrelid = to_regclass('jobs')::oid and j.attnum > 0 and not j.attisdropped
      join pg_attribute a on a.attrelid = p.relid::oid and a.attname = j.attname
     where col_description(a.attrelid, a.attnum::integer)
           is distinct from col_description(j.attrelid, j.attnum::integer)
  loop
    execute pg_catalog.format('comment on column %s.%I is %L', lacking.relid, lacking.attname, lacking.comment);
  end loop;
end $$;
comment on function after_migration is
  'Writes down what a migration made, and closes it. Copies the comments on the columns of jobs to each partition.';
