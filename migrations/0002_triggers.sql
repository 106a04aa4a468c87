-- What keeps the ledger true, whoever writes to it.
--
-- A pending job always has a ticket at its run_at. A ticket is a row of graphile-worker whose task is the queue and whose
-- payload is {"ids": [...]}: "look at these jobs". Tickets are in a schema of their own, :"tickets" (0006): a graphile_worker schema may be
-- the user's. A ticket is a hint only. A worker that claims it starts those of its jobs that are
-- still pending and due, so a ticket too many does nothing, and one too few is made again by the reconciler.
--
-- Tickets are made by statement triggers with transition tables on `jobs` and on each `<queue>_jobs` (a row trigger would be
-- quadratic on bulk inserts). The worker's own start and finish name the live leaf, where no statement trigger stands.
--
-- Trigger functions are SECURITY DEFINER with a pinned search_path: who may insert a job needs no right on tickets. Before anything else
-- each looks whether it is a trigger of one of our tables: on a table of the caller's, the casts of its columns would run as the owner.
-- Locks: takes none that anybody can be waiting for. Undo: drop everything named here.

-- The wait before the next retry: backoff_ms doubled for each retry used, six hours at most, and up to a tenth more, so that
-- jobs that failed together do not come back together.
create function retry_delay(backoff_ms integer, retry_count integer) returns interval
  language sql volatile
as $$
  select pg_catalog.make_interval(secs => least(backoff_ms::float8 / 1000::float8 * 2::float8 ^ least(retry_count, 30)::float8, 21600) * (1::float8 + random() / 10::float8))
$$;
comment on function retry_delay is 'The wait before a job''s next retry.';


-- Insert ------------------------------------------------------------------------------------------------------------------

create function jobs_inserted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  perform add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(id), pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at))
     from fresh
    where status = 'pending'
   having count(*) > 0;
  return null;
end $$;
comment on function jobs_inserted is 'Every job inserted pending gets a ticket.';

create function job_defaults() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  -- The table's name is looked up, not its queue: the same look tells that this is a table of jobs (queue_jobs_live or queue_jobs_done of our schema).
  select q.max_retries into new.max_retries
    from queues q
   where q.name = left(tg_table_name::text, -10) and to_regclass(quote_ident(tg_table_name::text))::oid = tg_relid;
  if not found then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
comment on function job_defaults is 'max_retries left out at insert is the queue''s. (A column default of a partition does not apply to inserts through jobs.)';

create trigger job_defaults before insert on jobs
  for each row when (new.max_retries is null)
  execute function job_defaults();

create function job_dedupe() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  insert into job_keys (queue, dedupe_key, job_id)
  values (new.queue, new.dedupe_key, new.id)
      on conflict do nothing;
  if found or exists (select from job_keys k where k.queue = new.queue and k.dedupe_key = new.dedupe_key and k.job_id = new.id) then
    return new;
  end if;
  return null;
end $$;
comment on function job_dedupe is 'Skips the insert of a job whose key is taken by another job.';

-- A row on its way to the archive is inserted into the done leaf: it has its key already.
create trigger job_dedupe before insert on jobs
  for each row when (new.dedupe_key is not null and not new.archived)
  execute function job_dedupe();


-- Update ------------------------------------------------------------------------------------------------------------------

-- The join must never be a nested loop: its plan is cached when the first UPDATE moves one row, and the next may move 100,000.
create function jobs_updated() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_nestloop = off
  set jit = off
as $$
begin
  perform add_tickets(pg_catalog.array_agg(n.queue), pg_catalog.array_agg(n.id), pg_catalog.array_agg(n.priority), pg_catalog.array_agg(n.run_at))
     from fresh n
     join stale o on o.id = n.id
    where n.status = 'pending'
      and (o.status <> 'pending' or o.run_at <> n.run_at or o.priority <> n.priority)
   having count(*) > 0;

  if exists (select from stale o join fresh n on n.id = o.id where o.status = 'processing' and n.status <> 'processing') then
    perform pg_notify(:'workers', 'stop') where pg_notification_queue_usage() < 0.9::float8;
  end if;
  return null;
end $$;
comment on function jobs_updated is 'Jobs that became pending, or whose run_at or priority moved, get a new ticket. Workers are told when a running job was taken from them.';

create function job_normalise() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  if tg_op = 'UPDATE' then
    if old.status = 'failed' and new.status = 'failed' and new.max_retries > old.max_retries and new.max_retries > new.retry_count then
      new.status := 'pending';
      new.run_at := now();
    end if;
    if new.status = 'pending' and old.status <> 'pending' then
      new.progress := null;
      new.result := null;
    end if;
  end if;

  if new.archived and new.status not in ('completed', 'cancelled') then
    raise exception 'job % of queue % is archived and cannot become %', new.id, new.queue, new.status
      using hint = 'Take it out of the archive in the same statement: set status = ''pending'', archived = false';
  end if;

  if new.status <> 'processing' then
    new.locked_by := null;
  end if;
  if new.status in ('completed', 'failed', 'cancelled') then
    new.completed_at := coalesce(new.completed_at, clock_timestamp());
  else
    new.completed_at := null;
  end if;
  return new;
end $$;
comment on function job_normalise is 'Makes a change written by hand a whole one.';

create trigger job_normalise_insert before insert on jobs
  for each row when ((new.status in ('completed', 'failed', 'cancelled')) <> (new.completed_at is not null)
                     or new.locked_by is not null)
  execute function job_normalise();

-- The worker's own statements leave nothing to mend, so for them this is one comparison.
create trigger job_normalise_update before update on jobs
  for each row when ((new.status in ('completed', 'failed', 'cancelled')) <> (new.completed_at is not null)
                     or (new.locked_by is not null and new.status <> 'processing')
                     or (new.status = 'failed' and old.status = 'failed' and new.max_retries > old.max_retries)
                     or (new.archived and new.status not in ('completed', 'cancelled')))
  execute function job_normalise();


create function job_identity() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'id, queue and dedupe_key of a job cannot be changed'
    using hint = 'Cancel or delete job ' || old.id || ' of queue ' || old.queue || ', and insert another.';
end $$;
comment on function job_identity is 'Tickets, keys and errors name a job by these.';

create trigger job_identity before update on jobs
  for each row when (new.id <> old.id or new.queue <> old.queue or new.dedupe_key is distinct from old.dedupe_key)
  execute function job_identity();


-- Delete ------------------------------------------------------------------------------------------------------------------

-- Statement triggers, because a row trigger would also fire when a job moves to the archive.
create function jobs_deleted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'TRUNCATE' then
    delete from job_keys k where tg_nargs = 0 or k.queue = tg_argv[0];
    delete from job_errors e where tg_nargs = 0 or e.queue = tg_argv[0];
  else
    delete from job_keys k using stale o where k.queue = o.queue and k.dedupe_key = o.dedupe_key and k.job_id = o.id;
    delete from job_errors e using stale o where e.job_id = o.id;
  end if;
  return null;
end $$;
comment on function jobs_deleted is 'A deleted job takes its dedupe key and its errors with it.';


-- Queues ------------------------------------------------------------------------------------------------------------------

create function queues_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  perform pg_notify(:'workers', 'queues') where pg_notification_queue_usage() < 0.9::float8;
  return null;
end $$;
comment on function queues_changed is 'Workers are told at once of a pause or a time limit; they also look each second.';

-- Not of archived_completed, which the archiver counts up all the time.
create trigger queues_changed after update of paused, timeout_ms on queues
  for each statement execute function queues_changed();

create function watch_jobs(parent regclass, variadic arguments text[] default '{}') returns void
  language plpgsql
  set search_path from current
as $$
declare
  argument text := (select string_agg(quote_literal(a), ', ') from pg_catalog.unnest(arguments) a);
begin
  execute pg_catalog.format('create trigger jobs_inserted after insert on %s referencing new table as fresh
                    for each statement execute function jobs_inserted()', parent);
  execute pg_catalog.format('create trigger jobs_updated after update on %s referencing old table as stale new table as fresh
                    for each statement execute function jobs_updated()', parent);
  execute pg_catalog.format('create trigger jobs_deleted after delete on %s referencing old table as stale
                    for each statement execute function jobs_deleted()', parent);
  execute pg_catalog.format('create trigger jobs_truncated after truncate on %s
                    for each statement execute function jobs_deleted(%s)', parent, coalesce(argument, ''));
end $$;
comment on function watch_jobs is 'Puts the statement triggers on a table of jobs.';

select watch_jobs('jobs');

-- A new queue is one migration: select create_queue('thumbs', batch_size => 10, max_retries => 3, backoff_ms => 5000);
create function create_queue(queue text, batch_size integer, max_retries integer, backoff_ms integer, kind text default null)
  returns void
  language plpgsql
  set search_path from current
as $$
declare
  parent text := queue || '_jobs';
begin
  insert into queues (name, batch_size, max_retries, backoff_ms)
  values (create_queue.queue, create_queue.batch_size, create_queue.max_retries, create_queue.backoff_ms);

  execute pg_catalog.format('create table %I partition of jobs (queue default %L, kind default %L) for values in (%2$L) partition by list (archived)',
                 parent, queue, kind);
  -- Half-empty pages and no index on what start and finish write: nearly all of their updates stay on the page (HOT).
  execute pg_catalog.format('create table %I partition of %I for values in (false)
                    with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)',
                 parent || '_live', parent);
  execute pg_catalog.format('create index on %I (run_at)', parent || '_live');
  -- The check lets the planner leave the archive out of every query for pending, processing or failed jobs.
  execute pg_catalog.format('create table %I partition of %I (check (status in (''completed'', ''cancelled''))) for values in (true)',
                 parent || '_done', parent);
  execute pg_catalog.format('create index on %I (completed_at)', parent || '_done');

  execute pg_catalog.format('comment on table %I is %L', parent, 'The jobs of queue ' || queue || '.');
  execute pg_catalog.format('comment on table %I is %L', parent || '_live', 'Jobs of queue ' || queue || ' that are not archived.');
  execute pg_catalog.format('comment on table %I is %L', parent || '_done', 'Archived jobs of queue ' || queue || ': completed or cancelled.');
  perform watch_jobs(parent::regclass, queue);
  perform after_migration(array[pg_catalog.format('table %I', parent), pg_catalog.format('table %I', parent || '_live'), pg_catalog.format('table %I', parent || '_done')]);
end $$;
comment on function create_queue is 'Makes a queue: its row in queues, its table <queue>_jobs with a live and a done leaf, its triggers.';

select create_queue('publish',      batch_size => 1,  max_retries => 5, backoff_ms => 5000, kind => 'file');
select create_queue('media',        batch_size => 1,  max_retries => 3, backoff_ms => 5000);
select create_queue('notification', batch_size => 25, max_retries => 3, backoff_ms => 5000);
select create_queue('social',       batch_size => 1,  max_retries => 5, backoff_ms => 30000);
select create_queue('analytics',    batch_size => 10, max_retries => 3, backoff_ms => 30000);
select create_queue('cleanup',      batch_size => 1,  max_retries => 3, backoff_ms => 5000);
