-- A worker's start and finish run through no row trigger that could change the row. Before such a trigger Postgres locks the row and reads it
-- once more, at every update: about a seventh of what a job cost, and a quarter of its WAL. A change written by hand is made whole by a
-- statement trigger instead, in the same statement, right after it; what RETURNING shows is the row as it was written.
--
-- Statement triggers do not stand on the live leaves, whose two checks of a whole row go with the row triggers: who names a leaf in an
-- UPDATE writes the whole row, as the worker does.
--
-- Also here, for rows written by hand: keys follow them wherever they go.
--
-- Locks: ACCESS EXCLUSIVE on jobs and all its partitions, for a moment. Undo: put the two checks, job_normalise_update, job_identity,
-- job_normalise_insert, and the functions and triggers of 0002 and 0006 back, drop what is made here.

drop trigger job_normalise_update on jobs;
drop trigger job_identity on jobs;
drop function job_identity();
alter table jobs drop constraint jobs_check, drop constraint jobs_check1;

create or replace function job_normalise() returns trigger
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
comment on function job_normalise is 'Makes a job inserted by hand a whole one, and one that is taken out of the archive.';

drop trigger job_normalise_insert on jobs;
create trigger job_normalise_insert before insert on jobs
  for each row when ((new.status in ('completed', 'failed', 'cancelled')) <> (new.completed_at is not null)
                     or new.locked_by is not null
                     or new.status = 'failed'
                     or (new.status = 'pending' and pg_catalog.num_nonnulls(new.progress, new.result) > 0))
  execute function job_normalise();

create function job_archived() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'job % of queue % is archived and cannot become %', new.id, new.queue, new.status
    using hint = 'Take it out of the archive in the same statement: set status = ''pending'', archived = false';
end $$;
comment on function job_archived is 'The archive holds completed and cancelled jobs only.';

-- By arrays, and a leaf at a time: a join would be planned by statistics that a fresh table does not have.
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
      using hint = pg_catalog.format('Cancel or delete job %s of queue %s, and insert another.', renamed.id, renamed.queue);
  end if;

  perform check_job(n.queue, n.kind, n.payload, n.result, null, n.error_code, n.error)
     from fresh n
     join stale o on o.id = n.id and o.queue = n.queue
    where n.kind <> o.kind or n.error_code <> o.error_code or n.error <> o.error
       or pg_catalog.pg_column_size(n.payload) <> pg_catalog.pg_column_size(o.payload)
       -- Of the same size, and yet it may print as many times as much. What is larger a worker measures before it reads it.
       or (pg_catalog.pg_column_size(n.payload) <= 64000 and pg_catalog.record_image_ne(row(n.payload), row(o.payload)))
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
            hint = 'Leave it as it is, delete it, or run it again: set status = ''pending'', archived = false, retry_count = 0';
  end if;

  for part in
    select c.queue, c.archived, c.again, c.moved, pg_catalog.array_agg(c.id) as ids
      from (select n.id, n.queue, n.archived, n.run_at <> o.run_at as moved,
                   n.status = 'failed' and o.status = 'failed' and n.max_retries > o.max_retries and n.max_retries > n.retry_count as again,
                   (n.status in ('completed', 'failed', 'cancelled')) <> (n.completed_at is not null)
                     or (n.locked_by is not null and n.status <> 'processing')
                     or (n.status = 'failed' and n.retry_count < n.max_retries)
                     or (n.status = 'pending' and o.status <> 'pending' and pg_catalog.num_nonnulls(n.progress, n.result, n.snoozed_since) > 0) as partial
              from fresh n
              join stale o on o.id = n.id and o.queue = n.queue) c
     where c.again or c.partial
     group by c.queue, c.archived, c.again, c.moved
  loop
    update jobs j
       set status = case when part.again then 'pending' else j.status end,
           run_at = case when part.again and not part.moved then now() else j.run_at end,
           -- A dead letter has used all its retries, whoever made it one.
           retry_count = case when j.status = 'failed' and not part.again then greatest(j.retry_count, j.max_retries) else j.retry_count end,
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
comment on function jobs_mended is 'Makes a change written by hand a whole one, and refuses to rename a job.';

create or replace function watch_jobs(parent regclass, variadic arguments text[] default '{}') returns void
  language plpgsql
  set search_path from current
as $$
declare
  argument text := (select string_agg(quote_literal(a), ', ') from pg_catalog.unnest(arguments) a);
begin
  execute pg_catalog.format('create trigger jobs_inserted after insert on %s referencing new table as fresh
                    for each statement execute function jobs_inserted()', parent);
  execute pg_catalog.format('create trigger jobs_mended after update on %s referencing old table as stale new table as fresh
                    for each statement execute function jobs_mended()', parent);
  execute pg_catalog.format('create trigger jobs_updated after update on %s referencing old table as stale new table as fresh
                    for each statement execute function jobs_updated()', parent);
  execute pg_catalog.format('create trigger jobs_deleted after delete on %s referencing old table as stale
                    for each statement execute function jobs_deleted()', parent);
  execute pg_catalog.format('create trigger jobs_truncated after truncate on %s
                    for each statement execute function jobs_deleted(%s)', parent, coalesce(argument, ''));
  if argument is not null then
    execute pg_catalog.format('create trigger job_archived before insert or update on %I
                      for each row when (new.archived and new.status not in (''completed'', ''cancelled'')) execute function job_archived()', arguments[1] || '_jobs_done');
  end if;
end $$;
comment on function watch_jobs is 'Puts the triggers on a table of jobs: on that of a queue, if it is given, those of its archive too.';

do $$
declare
  parent regclass;
begin
  foreach parent in array array['jobs'::regclass] || array(select (name || '_jobs')::regclass from queues) loop
    execute pg_catalog.format('drop trigger jobs_inserted on %1$s; drop trigger jobs_updated on %1$s; drop trigger jobs_deleted on %1$s; drop trigger jobs_truncated on %1$s',
                   parent);
  end loop;
  perform watch_jobs('jobs');
  perform watch_jobs((name || '_jobs')::regclass, name) from queues;
end $$;


-- Keys ----------------------------------------------------------------------------------------------------------------------

-- A key whose job does not have it was left by an insert that was skipped (on conflict do nothing), or by a delete from a leaf.
create or replace function job_dedupe() returns trigger
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
  if not exists (select from jobs j where j.id = holder and j.queue = new.queue and j.dedupe_key = new.dedupe_key) then
    update job_keys k set job_id = new.id where k.queue = new.queue and k.dedupe_key = new.dedupe_key and k.job_id = holder;
    if found then
      return new;
    end if;
  end if;
  return null;
end $$;

create or replace function jobs_inserted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  perform add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id), pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at))
     from fresh
    where status = 'pending'
   having count(*) > 0;
  if exists (select from fresh where archived and dedupe_key is not null) then
    insert into job_keys (queue, dedupe_key, job_id)
    select queue, dedupe_key, id from fresh where archived and dedupe_key is not null
        on conflict do nothing;
  end if;
  return null;
end $$;
comment on function jobs_inserted is 'Every job inserted pending gets a ticket, and one inserted into the archive its key.';
