-- A worker's start and finish run through no row trigger that could change the row. Before such a trigger Postgres locks the row and reads it
-- once more, at every update: about a seventh of what a job cost, and a quarter of its WAL. A change written by hand is made whole by a
-- statement trigger instead, in the same statement, right after it; what RETURNING shows is the row as it was written.
--
-- Statement triggers do not stand on the live leaves, whose two checks of a whole row go with the row triggers: who names a leaf in an
-- UPDATE writes the whole row, as the worker does.
--
-- Locks: ACCESS EXCLUSIVE on jobs and all its partitions, for a moment. Undo: put the two checks, job_normalise_update, job_identity and
-- the functions of 0002 back, drop what is made here.

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
  return new;
end $$;
comment on function job_normalise is 'Makes a job inserted by hand a whole one.';

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
  select o.id, o.queue into renamed
    from stale o
    left join fresh n on n.id = o.id and n.queue = o.queue and n.dedupe_key is not distinct from o.dedupe_key
   where n.id is null
   limit 1;
  if found then
    raise exception 'id, queue and dedupe_key of a job cannot be changed'
      using hint = 'Cancel or delete job ' || renamed.id || ' of queue ' || renamed.queue || ', and insert another.';
  end if;

  for part in
    select c.queue, c.archived, c.again, array_agg(c.id) as ids
      from (select n.id, n.queue, n.archived,
                   n.status = 'failed' and o.status = 'failed' and n.max_retries > o.max_retries and n.max_retries > n.retry_count as again,
                   (n.status in ('completed', 'failed', 'cancelled')) <> (n.completed_at is not null)
                     or (n.locked_by is not null and n.status <> 'processing')
                     or (n.status = 'pending' and o.status <> 'pending' and num_nonnulls(n.progress, n.result) > 0) as partial
              from fresh n
              join stale o on o.id = n.id) c
     where c.again or c.partial
     group by c.queue, c.archived, c.again
  loop
    update jobs j
       set status = case when part.again then 'pending' else j.status end,
           run_at = case when part.again then now() else j.run_at end,
           locked_by = case when j.status = 'processing' then j.locked_by end,
           completed_at = case when j.status in ('completed', 'failed', 'cancelled') and not part.again
                               then coalesce(j.completed_at, clock_timestamp()) end,
           progress = case when j.status <> 'pending' and not part.again then j.progress end,
           result = case when j.status <> 'pending' and not part.again then j.result end
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
  argument text := (select string_agg(quote_literal(a), ', ') from unnest(arguments) a);
begin
  execute format('create trigger jobs_inserted after insert on %s referencing new table as fresh
                    for each statement execute function jobs_inserted()', parent);
  execute format('create trigger jobs_mended after update on %s referencing old table as stale new table as fresh
                    for each statement execute function jobs_mended()', parent);
  execute format('create trigger jobs_updated after update on %s referencing old table as stale new table as fresh
                    for each statement execute function jobs_updated()', parent);
  execute format('create trigger jobs_deleted after delete on %s referencing old table as stale
                    for each statement execute function jobs_deleted()', parent);
  execute format('create trigger jobs_truncated after truncate on %s
                    for each statement execute function jobs_deleted(%s)', parent, coalesce(argument, ''));
  if argument is not null then
    execute format('create trigger job_archived before insert or update on %I
                      for each row when (new.archived and new.status not in (''completed'', ''cancelled'')) execute function job_archived()', arguments[1] || '_jobs_done');
  end if;
end $$;
comment on function watch_jobs is 'Puts the triggers on a table of jobs: on that of a queue, if it is given, those of its archive too.';

create trigger jobs_mended after update on jobs referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();

do $$
declare
  queue text;
begin
  for queue in select name from queues loop
    execute format('create trigger jobs_mended after update on %I referencing old table as stale new table as fresh
                      for each statement execute function jobs_mended()', queue || '_jobs');
    execute format('create trigger job_archived before insert or update on %I
                      for each row when (new.archived and new.status not in (''completed'', ''cancelled'')) execute function job_archived()', queue || '_jobs_done');
  end loop;
end $$;


-- The row of media that comes later than its job is found by the job's handler, which names it on the row.
do $$
begin
  if (select atttypid from pg_attribute where attrelid = 'media'::regclass and attname = 'id') <> 'uuid'::regtype then
    return;  -- As in 0004: file_id cannot name its rows.
  end if;
  drop trigger media_job_file on media_jobs;
  create trigger media_job_file before insert on media_jobs
    for each row when (new.file_id is null and new.payload ? 'mediaId' and not new.archived)
    execute function media_job_file();
  drop trigger media_status_update on media_jobs;
  create trigger media_status_update after update on media_jobs
    for each row when (new.file_id is not null and (new.status <> old.status or new.file_id is distinct from old.file_id))
    execute function media_status_follows();
end $$;
