-- An insert of one job costs a third less. What the triggers of 0002 do stays the same.
--
-- For each statement, Postgres parses the WHEN condition of each row trigger again. That took longer than checking the
-- row. So one row trigger, job_new, replaces four: job_bounds, job_dedupe, job_defaults and job_normalise_insert.
--
-- The statement trigger, jobs_inserted, makes the ticket of a single job by one statement, which also reads whether a
-- worker wants to be notified. Before, it collected the row into arrays and called add_tickets, whose settings and
-- statements cost twice as much.
--
-- Locks: jobs and its partitions, for as long as the migration takes (ACCESS EXCLUSIVE, for the triggers that are
-- dropped). Undo: drop the trigger job_new, and create again, as in 0002, what is dropped and replaced
-- here.

create function take_key(queue text, dedupe_key text, job_id bigint) returns boolean
  language plpgsql
  set search_path from current
  set enable_seqscan = off
as $$
declare
  holder bigint;
begin
  insert into job_keys as k (queue, dedupe_key, job_id)
  values (take_key.queue, take_key.dedupe_key, take_key.job_id)
      on conflict do nothing;
  if found then
    return true;
  end if;
  select k.job_id into holder from job_keys k where k.queue = take_key.queue and k.dedupe_key = take_key.dedupe_key;
  if holder = take_key.job_id then
    return true;
  end if;
  if exists (select from jobs j
              where j.id = holder and j.queue = take_key.queue and j.dedupe_key = take_key.dedupe_key) then
    return false;
  end if;
  update job_keys k set job_id = take_key.job_id
   where k.queue = take_key.queue and k.dedupe_key = take_key.dedupe_key and k.job_id = holder;
  return found;
end $$;
comment on function take_key is
  'Whether a new job has its dedupe_key. A key may be held by a job that does not exist or does not have it: an insert '
  'that was skipped by `on conflict do nothing` leaves its key, and so does a DELETE that names a leaf. Such a key is '
  'taken over.';

-- The order of the steps matters. Lengths are checked before take_key, because the index of job_keys cannot store a key
-- that is too long. max_retries is filled in before the status is looked at, because a dead letter has used max_retries
-- retries.
--
-- The text of a payload is measured only if its stored size is over 120 bytes (below that, no text reaches 1 MB) and at
-- most 64,000 (above that, its text may reach 1 GB, where the conversion fails: check_job decides).
--
-- A row that moves to the archive is not checked: it was checked when it was inserted, and it has its key already.
create function job_new() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if not new.archived then
    if char_length(new.kind) > 100 or strpos(new.kind, '.') > 0
       or pg_catalog.pg_column_compression(new.payload) is not null
       or (pg_catalog.pg_column_size(new.payload) > 120
           and (pg_catalog.pg_column_size(new.payload) > 64000 or octet_length(new.payload::text) > 1000000))
       or new.result is not null
       or char_length(new.dedupe_key) > 500 or char_length(new.error_code) > 60 or char_length(new.error) > 2000 then
      perform check_job(new.queue, new.kind, new.payload, new.result, new.dedupe_key, new.error_code, new.error);
    end if;
    if new.dedupe_key is not null and not take_key(new.queue, new.dedupe_key, new.id) then
      return null;
    end if;
  end if;

  -- A column default of a partition would not apply to inserts through jobs.
  if new.max_retries is null then
    select q.max_retries into new.max_retries from queues q where q.name = new.queue;
  end if;
  if new.status in ('completed', 'failed', 'cancelled') then
    new.completed_at := coalesce(new.completed_at, clock_timestamp());
    if new.status = 'failed' then
      new.retry_count := greatest(new.retry_count, new.max_retries);
    end if;
  elsif new.completed_at is not null then
    new.completed_at := null;
  end if;
  if new.status <> 'processing' and new.locked_by is not null then
    new.locked_by := null;
  end if;
  if new.status = 'pending' and pg_catalog.num_nonnulls(new.progress, new.result) > 0 then
    new.progress := null;
    new.result := null;
  end if;
  return new;
end $$;
comment on function job_new is
  'Refuses a new row that is too large, skips a job whose key is taken, and fills in the row: the queue''s '
  'max_retries, and what belongs to its status.';

drop trigger job_bounds on jobs;
drop trigger job_dedupe on jobs;
drop trigger job_defaults on jobs;
drop trigger job_normalise_insert on jobs;
drop function job_bounds();
drop function job_dedupe();
drop function job_defaults();
drop function job_normalise();

-- The trigger does not fire for a row that moves to the archive if that row is complete.
create trigger job_new before insert on jobs
  for each row when (not new.archived or new.max_retries is null or new.completed_at is null
                     or new.locked_by is not null)
  execute function job_new();

-- The comment of add_tickets in 0003 explains why no job is overlooked, and why jit is off. Both hold here, too. The
-- insert of the row gives the transaction its id. After that, the statement that makes the ticket takes its snapshot,
-- and reads `workers` in this snapshot.
create or replace function jobs_inserted() returns trigger
  language plpgsql security definer
  set search_path from current
  set jit = off
as $$
declare
  ticket record;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;

  -- One pending job, which is most inserts.
  with made as (
    insert into :"tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', f.kind, 'ids', array[f.id]), f.run_at, 32767, f.priority
      from fresh f
      join :"tickets"._private_tasks t on t.identifier = f.queue
     where f.status = 'pending' and (select count(*) from fresh) = 1
    returning run_at
  )
  select f.queue, f.run_at <= clock_timestamp() as due,
         f.run_at < clock_timestamp() + interval '3 seconds'
           and (exists (select from workers w where f.queue = any(w.notify))
                or current_setting('transaction_isolation') in ('repeatable read', 'serializable'))
           and pg_notification_queue_usage() < 0.9::float8 as told
    into ticket
    from made, fresh f;
  if found then
    if ticket.told then
      perform pg_notify(:'workers', case when ticket.due then pg_catalog.format('due %s 1 %s', ticket.queue, random())
                                         else 'soon ' || ticket.queue end);
    end if;
    return null;
  end if;

  perform add_tickets(pg_catalog.array_agg(f.queue), pg_catalog.array_agg(f.kind), pg_catalog.array_agg(f.id),
                      pg_catalog.array_agg(f.priority), pg_catalog.array_agg(f.run_at))
     from fresh f
    where f.status = 'pending';
  insert into job_keys (queue, dedupe_key, job_id)
  select f.queue, f.dedupe_key, f.id from fresh f where f.archived and f.dedupe_key is not null
      on conflict do nothing;
  return null;
end $$;
