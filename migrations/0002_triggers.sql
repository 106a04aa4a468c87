-- Triggers that keep the rows of jobs valid, whoever writes them, and create_queue, which makes a queue.
--
-- Insert: row triggers check the row and fill in what it lacks; then one statement trigger makes the tickets. A row
-- trigger for tickets would take quadratic time on bulk inserts.
--
-- Update: statement triggers, and no row trigger on the live leaf. Before a row trigger that could change the row,
-- Postgres locks each row and reads it once more: that was a seventh of the cost of a job, and a quarter of its WAL. So
-- a change by hand is completed by a second UPDATE inside the same statement. RETURNING shows the row as it was before
-- that.
--
-- Statement triggers are on jobs and on each <queue>_jobs, not on the leaves. The worker's start and finish name the
-- live leaf, so they pay for none of this: an UPDATE that names a leaf must write a complete row itself.
--
-- Trigger functions are SECURITY DEFINER with a pinned search_path, so a role that inserts jobs needs no right on
-- tickets, keys and errors. Each such function first checks that it is a trigger of a table of jobs: on a table of the
-- caller's, casts of that table's types would run with the owner's rights.
--
-- Locks: creates only. Undo: drop everything named here.


-- Insert --------------------------------------------------------------------------------------------------------------
--
-- Postgres fires the row triggers of a table in the order of their names, and here three of them depend on it
-- (test/queue/triggers.test.ts):
--   job_astray            first, on jobs_of_no_queue: the others would complain of something else
--   job_bounds            before job_dedupe: the index of job_keys cannot take a key that is too long
--   job_dedupe
--   job_defaults          before job_normalise_insert, which needs max_retries
--   job_normalise_insert
-- The limits are not CHECK constraints: Postgres evaluates those at every UPDATE of a row, start and finish included.

-- A jsonb value can print as up to 8,192 times its size: the number 1e131071 takes 16 bytes. Most values print as a
-- quarter of their size at least, so one that is eight times too large need not be printed, which takes seconds and a
-- gigabyte.
create function json_bytes(value jsonb, most bigint) returns bigint
  language plpgsql stable
  set search_path from current
as $$
begin
  if pg_catalog.pg_column_compression(value) is null and pg_catalog.pg_column_size(value) > 8 * most then
    return 1000000000;
  end if;
  return octet_length(value::text);
exception
  when program_limit_exceeded or statement_too_complex then
    return 1000000000;
end $$;
comment on function json_bytes is
  'The length of a value as text. A gigabyte for one that is many times longer than `most`, or that Postgres cannot '
  'print.';

create function check_job(
  queue text, kind text, payload jsonb, result jsonb, dedupe_key text, error_code text, error text
) returns void
  language plpgsql stable
  set search_path from current
as $$
declare
  most  bigint := coalesce((select q.max_payload_bytes from queues q where q.name = check_job.queue), 1000000);
  bytes bigint;
  named text;
begin
  if strpos(kind, '.') > 0 then
    named := split_part(kind, '.', 1);
    raise exception 'kind "%" of queue % has a dot in it', left(kind, 100), queue
      using errcode = 'check_violation', constraint = 'kind_with_dot',
            hint = case when named = queue
                          then pg_catalog.format('The table names the queue: write kind = %L',
                                                 split_part(left(kind, 200), '.', 2))
                        when exists (select from queues q where q.name = named)
                          then pg_catalog.format('Insert into %s_jobs, with kind = %L', named,
                                                 split_part(left(kind, 200), '.', 2))
                        else 'A kind is one word, such as image: the column queue, or the table, names the queue' end;
  end if;
  if char_length(kind) > 100 then
    raise exception 'the kind is % characters long: 100 is the most', char_length(kind)
      using errcode = 'check_violation', constraint = 'kind_too_long',
            hint = 'What differs from job to job belongs into the payload.';
  end if;
  if char_length(dedupe_key) > 500 then
    raise exception 'the dedupe_key is % characters long: 500 is the most', char_length(dedupe_key)
      using errcode = 'check_violation', constraint = 'dedupe_key_too_long',
            hint = 'Take a hash of it: encode(sha256(...), ''hex'').';
  end if;
  if char_length(error_code) > 60 or char_length(error) > 2000 then
    raise exception 'error_code takes 60 characters, and error 2000'
      using errcode = 'check_violation', constraint = 'error_too_long', hint = 'Shorten it: left(..., 2000).';
  end if;
  bytes := json_bytes(payload, most);
  if bytes > most then
    raise exception 'the payload of a job of queue % is % as text: % is the most', queue,
                    case when bytes = 1000000000 then 'many times too long'
                         else pg_catalog.format('%s bytes', bytes) end, most
      using errcode = 'check_violation', constraint = 'payload_too_large',
            hint = 'Keep the data in storage or in a table, and its key in the payload; '
                   'or raise queues.max_payload_bytes, to 64000000 at most.';
  end if;
  bytes := json_bytes(result, 1000000);
  if bytes > 1000000 then
    raise exception 'the result of a job is % as text: 1000000 is the most',
                    case when bytes = 1000000000 then 'many times too long'
                         else pg_catalog.format('%s bytes', bytes) end
      using errcode = 'check_violation', constraint = 'result_too_large',
            hint = 'Keep the data in storage or in a table, and its key in the result.';
  end if;
end $$;
comment on function check_job is 'Refuses values that are too large for a row of jobs, and kinds with a dot.';

create function job_astray() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'there is no queue "%"', left(new.queue, 100)
    using errcode = 'check_violation', constraint = 'unknown_queue',
          hint = 'The queues are ' || (select string_agg(regexp_replace(c.relname::text, '_jobs$', ''), ', '
                                                         order by c.relname)
                                         from pg_catalog.pg_inherits i
                                         join pg_catalog.pg_class c on c.oid = i.inhrelid
                                        where i.inhparent = (select p.inhparent from pg_catalog.pg_inherits p
                                                              where p.inhrelid = tg_relid)
                                          and i.inhrelid <> tg_relid) || '.';
end $$;
comment on function job_astray is 'Refuses a job of a queue that does not exist, and names those that do.';

create trigger job_astray before insert on jobs_of_no_queue
  for each row execute function job_astray();

create function job_bounds() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  perform check_job(new.queue, new.kind, new.payload, new.result, new.dedupe_key, new.error_code, new.error);
  return new;
end $$;
comment on function job_bounds is 'Calls check_job for a row that may be too large.';

-- Up to 120 bytes no payload prints as a megabyte, and up to 64,000 bytes printing cannot fail: it fails at 1 GB.
-- A row that moves to the archive was checked when it was inserted.
create trigger job_bounds before insert on jobs
  for each row when (
    not new.archived
    and (char_length(new.kind) > 100 or strpos(new.kind, '.') > 0
         or pg_catalog.pg_column_compression(new.payload) is not null
         or (pg_catalog.pg_column_size(new.payload) > 120
             and (pg_catalog.pg_column_size(new.payload) > 64000 or octet_length(new.payload::text) > 1000000))
         or new.result is not null
         or char_length(new.dedupe_key) > 500 or char_length(new.error_code) > 60 or char_length(new.error) > 2000))
  execute function job_bounds();

-- A key may be held by a job that does not exist or does not have it: an insert that was skipped by `on conflict do
-- nothing` leaves its key, and so does a DELETE that names a leaf. Such a key is taken over.
create function job_dedupe() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
declare
  holder bigint;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  insert into job_keys (queue, dedupe_key, job_id)
  values (new.queue, new.dedupe_key, new.id)
      on conflict do nothing;
  if found then
    return new;
  end if;
  select job_id into holder from job_keys k where k.queue = new.queue and k.dedupe_key = new.dedupe_key;
  if holder = new.id then
    return new;
  end if;
  if not exists (select from jobs j
                  where j.id = holder and j.queue = new.queue and j.dedupe_key = new.dedupe_key) then
    update job_keys k set job_id = new.id
     where k.queue = new.queue and k.dedupe_key = new.dedupe_key and k.job_id = holder;
    if found then
      return new;
    end if;
  end if;
  return null;
end $$;
comment on function job_dedupe is 'Skips the insert of a job whose key is taken by another job.';

-- A row that moves to the archive is inserted into the done leaf: it has its key already.
create trigger job_dedupe before insert on jobs
  for each row when (new.dedupe_key is not null and not new.archived)
  execute function job_dedupe();

-- The queue's row is found by the name of the table, <queue>_jobs_live or <queue>_jobs_done. The same query checks that
-- the table is one of ours.
create function job_defaults() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  select q.max_retries into new.max_retries
    from queues q
   where q.name = left(tg_table_name::text, -10) and to_regclass(quote_ident(tg_table_name::text))::oid = tg_relid;
  if not found then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  return new;
end $$;
comment on function job_defaults is
  'Fills in the queue''s max_retries. A column default of a partition would not apply to inserts through jobs.';

create trigger job_defaults before insert on jobs
  for each row when (new.max_retries is null)
  execute function job_defaults();

create function job_normalise() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  if new.status <> 'processing' then
    new.locked_by := null;
  end if;
  if new.status in ('completed', 'failed', 'cancelled') then
    new.completed_at := coalesce(new.completed_at, clock_timestamp());
  else
    new.completed_at := null;
  end if;
  if new.status = 'pending' then
    new.progress := null;
    new.result := null;
  end if;
  if new.status = 'failed' then
    new.retry_count := greatest(new.retry_count, new.max_retries);
  end if;
  return new;
end $$;
comment on function job_normalise is
  'Makes the columns of an inserted job agree with its status, also when it is inserted by a move out of the archive.';

create trigger job_normalise_insert before insert on jobs
  for each row when ((new.status in ('completed', 'failed', 'cancelled')) <> (new.completed_at is not null)
                     or new.locked_by is not null
                     or new.status = 'failed'
                     or (new.status = 'pending' and pg_catalog.num_nonnulls(new.progress, new.result) > 0))
  execute function job_normalise();

create function jobs_inserted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
declare
  added record;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  -- One pass over the rows, and one statement: nearly all inserts need no more.
  select pg_catalog.array_agg(queue)    filter (where status = 'pending') as queues,
         pg_catalog.array_agg(kind)     filter (where status = 'pending') as kinds,
         pg_catalog.array_agg(id)       filter (where status = 'pending') as ids,
         pg_catalog.array_agg(priority) filter (where status = 'pending') as priorities,
         pg_catalog.array_agg(run_at)   filter (where status = 'pending') as run_ats,
         pg_catalog.bool_or(archived and dedupe_key is not null) as archived_keys
    into added
    from fresh;
  perform add_tickets(added.queues, added.kinds, added.ids, added.priorities, added.run_ats);
  if added.archived_keys then
    insert into job_keys (queue, dedupe_key, job_id)
    select queue, dedupe_key, id from fresh where archived and dedupe_key is not null
        on conflict do nothing;
  end if;
  return null;
end $$;
comment on function jobs_inserted is
  'Makes a ticket for every job inserted pending, and a key for every one inserted into the archive.';


-- Update --------------------------------------------------------------------------------------------------------------

create function job_archived() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'job % of queue % is archived and cannot become %', new.id, new.queue, new.status
    using hint = 'Take it out of the archive in the same statement: set status = ''pending'', archived = false';
end $$;
comment on function job_archived is 'The archive holds only completed and cancelled jobs.';

-- The second UPDATE is one leaf at a time and by arrays of ids: the planner would plan a join by statistics that a
-- fresh table does not have.
create function jobs_mended() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_nestloop = off
  set enable_seqscan = off
  set jit = off
as $$
declare
  renamed record;
  part record;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  select o.id, o.queue into renamed
    from stale o
    left join fresh n on n.id = o.id and n.queue = o.queue and n.dedupe_key is not distinct from o.dedupe_key
   where n.id is null
   limit 1;
  if found then
    raise exception 'id, queue and dedupe_key of a job cannot be changed'
      using hint = pg_catalog.format('Cancel or delete job %s of queue %s, and insert another.',
                                     renamed.id, renamed.queue);
  end if;

  perform check_job(n.queue, n.kind, n.payload, n.result, null, n.error_code, n.error)
     from fresh n
     join stale o on o.id = n.id and o.queue = n.queue
    where n.kind <> o.kind or n.error_code <> o.error_code or n.error <> o.error
       or pg_catalog.pg_column_size(n.payload) <> pg_catalog.pg_column_size(o.payload)
       -- A small payload of the same size may still print as many times as much. A worker measures a large one before
       -- it reads it.
       or (pg_catalog.pg_column_size(n.payload) <= 64000
           and pg_catalog.record_image_ne(row(n.payload), row(o.payload)))
       or pg_catalog.pg_column_size(n.result) is distinct from pg_catalog.pg_column_size(o.result)
       or (o.error is null and n.error is not null) or (o.error_code is null and n.error_code is not null);

  select n.id, n.queue into renamed
    from fresh n
    join stale o on o.id = n.id and o.queue = n.queue
   where o.status = 'completed' and n.status = 'cancelled'
   limit 1;
  if found then
    raise exception 'job % of queue % is completed: it cannot be cancelled any more', renamed.id, renamed.queue
      using errcode = 'check_violation', constraint = 'completed_stays',
            hint = 'Leave it as it is, delete it, or run it again: '
                   'set status = ''pending'', archived = false, retry_count = 0';
  end if;

  for part in
    select c.queue, c.archived, c.again, c.moved, pg_catalog.array_agg(c.id) as ids
      from (select n.id, n.queue, n.archived, n.run_at <> o.run_at as moved,
                   n.status = 'failed' and o.status = 'failed' and n.max_retries > o.max_retries
                     and n.max_retries > n.retry_count as again,
                   (n.status in ('completed', 'failed', 'cancelled')) <> (n.completed_at is not null)
                     or (n.locked_by is not null and n.status <> 'processing')
                     or (n.status = 'failed' and n.retry_count < n.max_retries)
                     or (n.status = 'pending' and o.status <> 'pending'
                         and pg_catalog.num_nonnulls(n.progress, n.result, n.snoozed_since) > 0) as partial
              from fresh n
              join stale o on o.id = n.id and o.queue = n.queue) c
     where c.again or c.partial
     group by c.queue, c.archived, c.again, c.moved
  loop
    update jobs j
       set status = case when part.again then 'pending' else j.status end,
           run_at = case when part.again and not part.moved then now() else j.run_at end,
           -- A dead letter has used all its retries, whoever made it one.
           retry_count = case when j.status = 'failed' and not part.again then greatest(j.retry_count, j.max_retries)
                              else j.retry_count end,
           locked_by = case when j.status = 'processing' then j.locked_by end,
           completed_at = case when j.status in ('completed', 'failed', 'cancelled') and not part.again
                               then coalesce(j.completed_at, clock_timestamp()) end,
           progress = case when j.status <> 'pending' and not part.again then j.progress end,
           result = case when j.status <> 'pending' and not part.again then j.result end,
           snoozed_since = case when j.status <> 'pending' and not part.again then j.snoozed_since end
     where j.queue = part.queue and j.archived = part.archived and j.id = any(part.ids);
  end loop;
  return null;
end $$;
comment on function jobs_mended is
  'Makes the columns of a job that was changed by hand agree with its status. Refuses a change of its identity, values '
  'that are too large, and the cancelling of a completed job.';

-- The join must never be a nested loop: its plan is cached when the first UPDATE changes one row, and the next may
-- change 100,000.
create function jobs_updated() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_nestloop = off
  set jit = off
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  perform add_tickets(pg_catalog.array_agg(n.queue), pg_catalog.array_agg(n.kind), pg_catalog.array_agg(n.id),
                      pg_catalog.array_agg(n.priority), pg_catalog.array_agg(n.run_at))
     from fresh n
     join stale o on o.id = n.id
    where n.status = 'pending'
      and (o.status <> 'pending' or o.run_at <> n.run_at or o.priority <> n.priority)
   having count(*) > 0;

  if exists (select from stale o join fresh n on n.id = o.id
              where o.status = 'processing' and n.status <> 'processing') then
    perform pg_notify(:'workers', 'stop') where pg_notification_queue_usage() < 0.9::float8;
  end if;

  if exists (select from listeners where until > clock_timestamp()) then
    perform announce(pg_catalog.array_agg(n.queue), pg_catalog.array_agg(n.id), pg_catalog.array_agg(n.status))
       from fresh n
       join stale o on o.id = n.id
      where n.status in ('completed', 'failed', 'cancelled') and o.status <> n.status
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function jobs_updated is
  'Makes new tickets for jobs that became pending, or whose run_at or priority changed. Notifies workers when a '
  'running job was taken from them, and clients when a job ended.';


-- Delete --------------------------------------------------------------------------------------------------------------

-- By statement triggers: a row trigger would also fire when a job moves to the archive.
create function jobs_deleted() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
  set jit = off
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
comment on function jobs_deleted is 'Deletes the dedupe key and the errors of a deleted job.';


-- Queues --------------------------------------------------------------------------------------------------------------

create function queues_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  perform pg_notify(:'workers', 'queues') where pg_notification_queue_usage() < 0.9::float8;
  return null;
end $$;
comment on function queues_changed is 'Notifies workers of a pause or a limit. They also poll for it each second.';

-- Not for archived_completed, which the archiver raises all the time.
create trigger queues_changed after update of paused, timeout_ms, rate_limit on queues
  for each statement execute function queues_changed();

create function watch_jobs(parent regclass, queue text default null) returns void
  language plpgsql
  set search_path from current
as $$
begin
  execute pg_catalog.format($do$
    create trigger jobs_inserted after insert on %1$s
      referencing new table as fresh for each statement execute function jobs_inserted();
    create trigger jobs_mended after update on %1$s
      referencing old table as stale new table as fresh for each statement execute function jobs_mended();
    create trigger jobs_updated after update on %1$s
      referencing old table as stale new table as fresh for each statement execute function jobs_updated();
    create trigger jobs_deleted after delete on %1$s
      referencing old table as stale for each statement execute function jobs_deleted();
    create trigger jobs_truncated after truncate on %1$s
      for each statement execute function jobs_deleted(%2$s);
    $do$, parent, coalesce(quote_literal(queue), ''));
  if queue is not null then
    execute pg_catalog.format($do$
      create trigger job_archived before insert or update on %I
        for each row when (new.archived and new.status not in ('completed', 'cancelled'))
        execute function job_archived();
      $do$, queue || '_jobs_done');
  end if;
end $$;
comment on function watch_jobs is
  'Puts the statement triggers on a table of jobs. With the name of a queue, also the row trigger on its done leaf.';

select watch_jobs('jobs');

-- A new queue is one migration: select create_queue('thumbs', batch_size => 10, max_retries => 3, backoff_ms => 5000);
create function create_queue(
  queue text, batch_size integer, max_retries integer, backoff_ms integer, kind text default null
) returns void
  language plpgsql
  set search_path from current
as $$
declare
  parent text := queue || '_jobs';
begin
  insert into queues (name, batch_size, max_retries, backoff_ms)
  values (create_queue.queue, create_queue.batch_size, create_queue.max_retries, create_queue.backoff_ms);

  execute pg_catalog.format($do$
    create table %I partition of jobs (queue default %L, kind default %L)
      for values in (%2$L) partition by list (archived);
    $do$, parent, queue, kind);
  -- Half-empty pages, and no index on what start and finish write: nearly all of their updates stay on the page (HOT).
  execute pg_catalog.format($do$
    create table %1$I partition of %2$I for values in (false)
      with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05);
    create index on %1$I (run_at);
    $do$, parent || '_live', parent);
  -- The check lets the planner leave the archive out of every query for pending, processing or failed jobs.
  execute pg_catalog.format($do$
    create table %1$I partition of %2$I (check (status in ('completed', 'cancelled'))) for values in (true);
    create index on %1$I (completed_at);
    $do$, parent || '_done', parent);

  execute pg_catalog.format('comment on table %I is %L', parent, 'The jobs of queue ' || queue || '.');
  execute pg_catalog.format('comment on table %I is %L', parent || '_live',
                            'Jobs of queue ' || queue || ' that are not archived.');
  execute pg_catalog.format('comment on table %I is %L', parent || '_done',
                            'Archived jobs of queue ' || queue || ': completed or cancelled.');
  perform watch_jobs(parent::regclass, queue);
  -- The task of its tickets. If the first insert made it, everybody else's would wait for that to be committed.
  insert into :"tickets"._private_tasks (identifier) values (create_queue.queue) on conflict do nothing;
  perform after_migration(array[pg_catalog.format('table %I', parent),
                                pg_catalog.format('table %I', parent || '_live'),
                                pg_catalog.format('table %I', parent || '_done')]);
end $$;
comment on function create_queue is
  'Makes a queue: its row in queues, its table <queue>_jobs with a live and a done leaf, and their triggers.';

select create_queue('publish',      batch_size => 1,  max_retries => 5, backoff_ms => 5000, kind => 'file');
select create_queue('media',        batch_size => 1,  max_retries => 3, backoff_ms => 5000);
select create_queue('notification', batch_size => 25, max_retries => 3, backoff_ms => 5000);
select create_queue('social',       batch_size => 1,  max_retries => 5, backoff_ms => 30000);
select create_queue('analytics',    batch_size => 10, max_retries => 3, backoff_ms => 30000);
select create_queue('cleanup',      batch_size => 1,  max_retries => 3, backoff_ms => 5000);
