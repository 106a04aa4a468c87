-- The schema, for reading: what the files of migrations/ make of an empty database, one after another. graphile-worker's own
-- schema is not in here. Written by `npm run schema` and checked by test/queue/schema.test.ts; to change it, add a migration.

set check_function_bodies = off;


-- Tables ------------------------------------------------------------------------------------------------------------------

create sequence job_ids;

create table rowmill_migrations (
  name       text        not null,
  checksum   text        not null,
  applied_at timestamptz not null default now(),
  constraint rowmill_migrations_pkey primary key (name)
);
alter table rowmill_migrations enable row level security;
comment on table rowmill_migrations is 'The migration files that this database has seen.';

create table queues (
  name               text     not null,
  paused             boolean  not null default false,
  batch_size         integer  not null default 1,
  max_retries        integer  not null,
  backoff_ms         integer  not null,
  timeout_ms         integer,
  rate_limit         integer,
  keep_completed     interval not null default '90 days'::interval,
  archived_completed bigint   not null default 0,
  archive_after      interval not null default '00:00:30'::interval,
  constraint queues_pkey primary key (name),
  constraint queues_archive_after_check check (archive_after >= '00:00:00'::interval),
  constraint queues_backoff_ms_check check (backoff_ms >= 0),
  constraint queues_batch_size_check check (batch_size >= 1 and batch_size <= 10000),
  constraint queues_max_retries_check check (max_retries >= 0),
  constraint queues_name_check check (name ~ '^[a-z][a-z0-9_]*$'),
  constraint queues_rate_limit_check check (rate_limit > 0),
  constraint queues_timeout_ms_check check (timeout_ms > 0)
);
alter table queues enable row level security;
comment on table queues is 'One row a queue: the settings that hold for the whole fleet. An UPDATE takes effect within two seconds.';
comment on column queues.paused is 'Nothing new is started while true; rows stay pending.';
comment on column queues.batch_size is 'How many jobs of one statement, of equal kind, priority and run_at, share a ticket.';
comment on column queues.max_retries is 'For new jobs that do not say: retries after the first attempt.';
comment on column queues.backoff_ms is 'The wait before the first retry; doubled for each further one.';
comment on column queues.timeout_ms is 'Overrides the time limit of the queue''s handlers.';
comment on column queues.rate_limit is 'Jobs started a second over the whole fleet; null: no limit.';
comment on column queues.keep_completed is 'How long completed and cancelled jobs are kept.';
comment on column queues.archived_completed is 'Completed jobs that were moved to history so far, so that nobody has to count them.';
comment on column queues.archive_after is 'How long a completed or cancelled job stays in the live leaf, where it can be run again without taking it out of the archive.';

create table jobs (
  id           bigint      not null default nextval('job_ids'::regclass),
  archived     boolean     not null default false,
  queue        text        not null,
  kind         text        not null,
  payload      jsonb       not null default '{}'::jsonb,
  file_id      uuid,
  status       text        not null default 'pending',
  priority     smallint    not null default 0,
  run_at       timestamptz not null default now(),
  attempt      integer     not null default 0,
  retry_count  integer     not null default 0,
  max_retries  integer     not null,
  error_code   text,
  error        text,
  result       jsonb,
  progress     smallint,
  dedupe_key   text,
  locked_by    uuid,
  created_at   timestamptz not null default now(),
  started_at   timestamptz,
  completed_at timestamptz,
  constraint jobs_pkey primary key (id, queue, archived),
  constraint jobs_attempt_check check (attempt >= 0 and attempt <= 2000000000),
  constraint jobs_check check (locked_by is null or status = 'processing'),
  constraint jobs_check1 check ((completed_at is not null) = (status = any (array['completed', 'failed', 'cancelled']))),
  constraint jobs_id_check check (id >= '-9007199254740991'::bigint and id <= '9007199254740991'::bigint),
  constraint jobs_max_retries_check check (max_retries >= 0),
  constraint jobs_progress_check check (progress >= 0 and progress <= 100),
  constraint jobs_retry_count_check check (retry_count >= 0),
  constraint jobs_status_check check (status = any (array['pending', 'processing', 'completed', 'failed', 'cancelled']))
) partition by list (queue);
alter table jobs enable row level security;
comment on table jobs is 'All jobs of all queues; each queue is the partition <queue>_jobs. Insert into either.';
comment on column jobs.archived is 'True once a completed or cancelled job has been moved to history.';
comment on column jobs.kind is 'What sort of job: queue and kind together name the handler, such as media.image.';
comment on column jobs.file_id is 'The stored file this job is about: auction_files for publish, media for media.';
comment on column jobs.priority is 'Smaller starts first.';
comment on column jobs.run_at is 'When the job becomes due.';
comment on column jobs.attempt is 'Executions so far. Set by start, and the fence: only the worker that started this attempt can finish it.';
comment on column jobs.retry_count is 'Retries used. A job fails for good when an attempt fails and retry_count = max_retries.';
comment on column jobs.max_retries is 'Retries allowed; null at insert: the queue''s. Raised on a failed job, it runs again.';
comment on column jobs.error_code is 'The last failure, as a stable lower_snake_case word.';
comment on column jobs.error is 'The last failure, in words for people. Never a secret.';
comment on column jobs.progress is '0 to 100 while it runs; null: unknown.';
comment on column jobs.dedupe_key is 'A second insert with the same queue and key is skipped: no row, no error.';
comment on column jobs.locked_by is 'The worker that runs it.';
comment on column jobs.completed_at is 'When it became completed, failed or cancelled.';

create table job_keys (
  queue      text   not null,
  dedupe_key text   not null,
  job_id     bigint not null,
  constraint job_keys_pkey primary key (queue, dedupe_key)
);
alter table job_keys enable row level security;
comment on table job_keys is 'The dedupe keys in use, over live and archived jobs: a unique index cannot span partitions without their key.';

create table job_errors (
  queue      text        not null,
  job_id     bigint      not null,
  attempt    integer     not null,
  worker     uuid,
  started_at timestamptz,
  failed_at  timestamptz not null default clock_timestamp(),
  error_code text        not null,
  error      text        not null,
  constraint job_errors_pkey primary key (job_id, attempt)
);
alter table job_errors enable row level security;
create index job_errors_failed_at_idx on job_errors using btree (failed_at);
comment on table job_errors is 'One row for each failed attempt.';

create table workers (
  id           uuid        not null,
  host         text        not null,
  pid          integer     not null,
  version      text        not null,
  queues       text[]      not null,
  pools        text[]      not null default '{}'::text[],
  started_at   timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp(),
  constraint workers_pkey primary key (id)
);
alter table workers enable row level security;
comment on table workers is 'One row for each running worker process. A row whose advisory lock is free, or whose heartbeat is old, is buried by the others.';
comment on column workers.pools is 'Its graphile-worker pool ids: the tickets these have locked are unlocked when the worker is buried.';

create table schedules (
  name      text        not null,
  cron      text        not null,
  time_zone text        not null default 'UTC',
  queue     text        not null,
  kind      text        not null,
  payload   jsonb       not null default '{}'::jsonb,
  enabled   boolean     not null default true,
  last_tick timestamptz,
  constraint schedules_pkey primary key (name)
);
alter table schedules enable row level security;
comment on table schedules is 'Jobs that are inserted by the clock.';

create table rate_limits (
  key            text             not null,
  tokens         double precision not null,
  updated_at     timestamptz      not null default clock_timestamp(),
  promised_until timestamptz,
  constraint rate_limits_pkey primary key (key)
);
alter table rate_limits enable row level security;
comment on table rate_limits is 'Token buckets: what is left in each, and since when.';
comment on column rate_limits.tokens is 'What was left at updated_at. Below zero: tokens that were given out ahead of their time.';
comment on column rate_limits.promised_until is 'Who was sent away is told to come back by then, one after the other.';

create table publish_jobs partition of jobs (
  queue default 'publish',
  kind default 'file'
) for values in ('publish') partition by list (archived);
alter table publish_jobs enable row level security;
create index publish_jobs_file_id_idx on publish_jobs using btree (file_id) where file_id is not null;
comment on table publish_jobs is 'The jobs of queue publish.';

create table publish_jobs_live partition of publish_jobs
  for values in (false) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
alter table publish_jobs_live enable row level security;
create index publish_jobs_live_run_at_idx on publish_jobs_live using btree (run_at);
comment on table publish_jobs_live is 'Jobs of queue publish that are not archived.';

create table publish_jobs_done partition of publish_jobs (
  constraint publish_jobs_done_status_check check (status = any (array['completed', 'cancelled']))
) for values in (true);
alter table publish_jobs_done enable row level security;
create index publish_jobs_done_completed_at_idx on publish_jobs_done using btree (completed_at);
comment on table publish_jobs_done is 'Archived jobs of queue publish: completed or cancelled.';

create table media_jobs partition of jobs (
  queue default 'media'
) for values in ('media') partition by list (archived);
alter table media_jobs enable row level security;
create index media_jobs_file_id_idx on media_jobs using btree (file_id) where file_id is not null;
comment on table media_jobs is 'The jobs of queue media.';

create table media_jobs_live partition of media_jobs
  for values in (false) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
alter table media_jobs_live enable row level security;
create index media_jobs_live_run_at_idx on media_jobs_live using btree (run_at);
comment on table media_jobs_live is 'Jobs of queue media that are not archived.';

create table media_jobs_done partition of media_jobs (
  constraint media_jobs_done_status_check check (status = any (array['completed', 'cancelled']))
) for values in (true);
alter table media_jobs_done enable row level security;
create index media_jobs_done_completed_at_idx on media_jobs_done using btree (completed_at);
comment on table media_jobs_done is 'Archived jobs of queue media: completed or cancelled.';

create table notification_jobs partition of jobs (
  queue default 'notification'
) for values in ('notification') partition by list (archived);
alter table notification_jobs enable row level security;
comment on table notification_jobs is 'The jobs of queue notification.';

create table notification_jobs_live partition of notification_jobs
  for values in (false) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
alter table notification_jobs_live enable row level security;
create index notification_jobs_live_run_at_idx on notification_jobs_live using btree (run_at);
comment on table notification_jobs_live is 'Jobs of queue notification that are not archived.';

create table notification_jobs_done partition of notification_jobs (
  constraint notification_jobs_done_status_check check (status = any (array['completed', 'cancelled']))
) for values in (true);
alter table notification_jobs_done enable row level security;
create index notification_jobs_done_completed_at_idx on notification_jobs_done using btree (completed_at);
comment on table notification_jobs_done is 'Archived jobs of queue notification: completed or cancelled.';

create table social_jobs partition of jobs (
  queue default 'social'
) for values in ('social') partition by list (archived);
alter table social_jobs enable row level security;
comment on table social_jobs is 'The jobs of queue social.';

create table social_jobs_live partition of social_jobs
  for values in (false) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
alter table social_jobs_live enable row level security;
create index social_jobs_live_run_at_idx on social_jobs_live using btree (run_at);
comment on table social_jobs_live is 'Jobs of queue social that are not archived.';

create table social_jobs_done partition of social_jobs (
  constraint social_jobs_done_status_check check (status = any (array['completed', 'cancelled']))
) for values in (true);
alter table social_jobs_done enable row level security;
create index social_jobs_done_completed_at_idx on social_jobs_done using btree (completed_at);
comment on table social_jobs_done is 'Archived jobs of queue social: completed or cancelled.';

create table analytics_jobs partition of jobs (
  queue default 'analytics'
) for values in ('analytics') partition by list (archived);
alter table analytics_jobs enable row level security;
comment on table analytics_jobs is 'The jobs of queue analytics.';

create table analytics_jobs_live partition of analytics_jobs
  for values in (false) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
alter table analytics_jobs_live enable row level security;
create index analytics_jobs_live_run_at_idx on analytics_jobs_live using btree (run_at);
comment on table analytics_jobs_live is 'Jobs of queue analytics that are not archived.';

create table analytics_jobs_done partition of analytics_jobs (
  constraint analytics_jobs_done_status_check check (status = any (array['completed', 'cancelled']))
) for values in (true);
alter table analytics_jobs_done enable row level security;
create index analytics_jobs_done_completed_at_idx on analytics_jobs_done using btree (completed_at);
comment on table analytics_jobs_done is 'Archived jobs of queue analytics: completed or cancelled.';

create table cleanup_jobs partition of jobs (
  queue default 'cleanup'
) for values in ('cleanup') partition by list (archived);
alter table cleanup_jobs enable row level security;
comment on table cleanup_jobs is 'The jobs of queue cleanup.';

create table cleanup_jobs_live partition of cleanup_jobs
  for values in (false) with (fillfactor=50, autovacuum_vacuum_scale_factor=0.05, autovacuum_analyze_scale_factor=0.05);
alter table cleanup_jobs_live enable row level security;
create index cleanup_jobs_live_run_at_idx on cleanup_jobs_live using btree (run_at);
comment on table cleanup_jobs_live is 'Jobs of queue cleanup that are not archived.';

create table cleanup_jobs_done partition of cleanup_jobs (
  constraint cleanup_jobs_done_status_check check (status = any (array['completed', 'cancelled']))
) for values in (true);
alter table cleanup_jobs_done enable row level security;
create index cleanup_jobs_done_completed_at_idx on cleanup_jobs_done using btree (completed_at);
comment on table cleanup_jobs_done is 'Archived jobs of queue cleanup: completed or cancelled.';

create table auction_files (
  id             uuid        not null default gen_random_uuid(),
  created_at     timestamptz not null default now(),
  source_key     text,
  publish_status text        not null default 'pending',
  width          integer,
  height         integer,
  bytes          bigint,
  thumb_url      text,
  thumb_width    integer,
  thumb_height   integer,
  thumb_bytes    bigint,
  display_url    text,
  display_width  integer,
  display_height integer,
  display_bytes  bigint,
  published_at   timestamptz,
  deleted_at     timestamptz,
  constraint auction_files_pkey primary key (id),
  constraint auction_files_publish_status_check check (publish_status = any (array['pending', 'processing', 'published', 'failed']))
);
alter table auction_files enable row level security;
comment on table auction_files is 'Files of auction lots. The publish queue makes their public pictures.';
comment on column auction_files.source_key is 'The key of the original on RAID.';
comment on column auction_files.publish_status is 'Follows the file''s publish job.';
comment on column auction_files.width is 'Of the original, upright, in pixels.';
comment on column auction_files.bytes is 'Of the original.';
comment on column auction_files.thumb_url is 'WebP, 400 pixels wide at most.';
comment on column auction_files.display_url is 'WebP, 1600 pixels wide at most.';
comment on column auction_files.deleted_at is 'Soft deletion: jobs of a deleted file publish nothing.';

create table media (
  id         uuid        not null default gen_random_uuid(),
  created_at timestamptz not null default now(),
  status     text        not null default 'PENDING',
  deleted_at timestamptz,
  constraint media_pkey primary key (id),
  constraint media_status_check check (status = any (array['PENDING', 'PROCESSING', 'READY', 'FAILED']))
);
alter table media enable row level security;
comment on table media is 'Uploaded media. The media queue processes them.';
comment on column media.status is 'Follows the file''s media job.';

create table listeners (
  id    uuid        not null,
  until timestamptz not null,
  constraint listeners_pkey primary key (id)
);
alter table listeners enable row level security;
comment on table listeners is 'One row for each client that wants to hear that jobs ended: without any, nothing is notified.';
comment on column listeners.until is 'When it stops to count. Clients renew it every 20 seconds; rows of those that died are deleted by the next that comes.';

alter table media_jobs add constraint media_jobs_file_id_fkey foreign key (file_id) references media(id) on delete set null;
alter table publish_jobs add constraint publish_jobs_file_id_fkey foreign key (file_id) references auction_files(id) on delete set null;
alter table schedules add constraint schedules_queue_fkey foreign key (queue) references queues(name);

-- No policies: only the owner, and roles that bypass row level security, get in.


-- Functions ---------------------------------------------------------------------------------------------------------------

create function retry_delay(backoff_ms integer, retry_count integer) returns interval
  language sql
as $$
  select make_interval(secs => least(backoff_ms / 1000.0 * 2 ^ least(retry_count, 30), 21600) * (1 + random() / 10))
$$;
comment on function retry_delay is 'The wait before a job''s next retry.';

create function jobs_inserted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  perform add_tickets(array_agg(queue), array_agg(kind), array_agg(id), array_agg(priority), array_agg(run_at))
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
  select coalesce(new.max_retries, q.max_retries) into new.max_retries from queues q where q.name = new.queue;
  return new;
end $$;
comment on function job_defaults is 'max_retries left out at insert is the queue''s. (A column default of a partition does not apply to inserts through jobs.)';

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

create function jobs_updated() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_nestloop = off
  set jit = off
as $$
begin
  perform add_tickets(array_agg(n.queue), array_agg(n.kind), array_agg(n.id), array_agg(n.priority), array_agg(n.run_at))
     from fresh n
     join stale o on o.id = n.id
    where n.status = 'pending'
      and (o.status <> 'pending' or o.run_at <> n.run_at or o.priority <> n.priority)
   having count(*) > 0;

  if exists (select from stale o join fresh n on n.id = o.id where o.status = 'processing' and n.status <> 'processing') then
    perform pg_notify('rowmill', 'stop');
  end if;

  if exists (select from listeners where until > clock_timestamp()) then
    perform announce(array_agg(n.queue), array_agg(n.id), array_agg(n.status))
       from fresh n
       join stale o on o.id = n.id
      where n.status in ('completed', 'failed', 'cancelled') and o.status <> n.status
     having count(*) > 0;
  end if;
  return null;
end $$;
comment on function jobs_updated is 'Jobs that became pending, or whose run_at or priority moved, get a new ticket. Workers are told when a running job was taken from them, and listeners when one ended.';

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

create function job_identity() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'id, queue and dedupe_key of a job cannot be changed'
    using hint = 'Cancel or delete job ' || old.id || ' of queue ' || old.queue || ', and insert another.';
end $$;
comment on function job_identity is 'Tickets, keys and errors name a job by these.';

create function jobs_deleted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
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

create function queues_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  perform pg_notify('rowmill', 'queues');
  return null;
end $$;
comment on function queues_changed is 'Workers are told at once of a pause or a limit; they also look each second.';

create function watch_jobs(parent regclass, variadic arguments text[] default '{}'::text[]) returns void
  language plpgsql
  set search_path from current
as $$
declare
  argument text := (select string_agg(quote_literal(a), ', ') from unnest(arguments) a);
begin
  execute format('create trigger jobs_inserted after insert on %s referencing new table as fresh
                    for each statement execute function jobs_inserted()', parent);
  execute format('create trigger jobs_updated after update on %s referencing old table as stale new table as fresh
                    for each statement execute function jobs_updated()', parent);
  execute format('create trigger jobs_deleted after delete on %s referencing old table as stale
                    for each statement execute function jobs_deleted()', parent);
  execute format('create trigger jobs_truncated after truncate on %s
                    for each statement execute function jobs_deleted(%s)', parent, coalesce(argument, ''));
end $$;
comment on function watch_jobs is 'Puts the statement triggers on a table of jobs.';

create function create_queue(queue text, batch_size integer, max_retries integer, backoff_ms integer, kind text default null::text) returns void
  language plpgsql
  set search_path from current
as $$
declare
  parent text := queue || '_jobs';
begin
  insert into queues (name, batch_size, max_retries, backoff_ms)
  values (create_queue.queue, create_queue.batch_size, create_queue.max_retries, create_queue.backoff_ms);

  execute format('create table %I partition of jobs (queue default %L, kind default %L) for values in (%2$L) partition by list (archived)',
                 parent, queue, kind);
  -- Half-empty pages and no index on what start and finish write: nearly all of their updates stay on the page (HOT).
  execute format('create table %I partition of %I for values in (false)
                    with (fillfactor = 50, autovacuum_vacuum_scale_factor = 0.05, autovacuum_analyze_scale_factor = 0.05)',
                 parent || '_live', parent);
  execute format('create index on %I (run_at)', parent || '_live');
  -- The check lets the planner leave the archive out of every query for pending, processing or failed jobs.
  execute format('create table %I partition of %I (check (status in (''completed'', ''cancelled''))) for values in (true)',
                 parent || '_done', parent);
  execute format('create index on %I (completed_at)', parent || '_done');

  execute format('comment on table %I is %L', parent, 'The jobs of queue ' || queue || '.');
  execute format('comment on table %I is %L', parent || '_live', 'Jobs of queue ' || queue || ' that are not archived.');
  execute format('comment on table %I is %L', parent || '_done', 'Archived jobs of queue ' || queue || ': completed or cancelled.');
  execute format('alter table %I enable row level security', parent);
  execute format('alter table %I enable row level security', parent || '_live');
  execute format('alter table %I enable row level security', parent || '_done');
  perform watch_jobs(parent::regclass, queue);
end $$;
comment on function create_queue is 'Makes a queue: its row in queues, its table <queue>_jobs with a live and a done leaf, its triggers.';

create function publish_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
declare
  file    uuid := case tg_op when 'DELETE' then old.file_id else new.file_id end;
  latest  text := (select j.status from publish_jobs j where j.file_id = file and j.status <> 'cancelled' order by j.id desc limit 1);
  follows auction_files.publish_status%type := case
    when latest = 'completed'                                              then 'published'
    when latest is not null                                                then latest
    when (select published_at is not null from auction_files where id = file) then 'published'
    else                                                                        'pending'
  end;
begin
  update auction_files set publish_status = follows where id = file and publish_status is distinct from follows;
  return null;
end $$;
comment on function publish_status_follows is 'auction_files.publish_status is the status of the file''s latest publish job. Cancelled jobs do not count.';

create function media_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
declare
  file    uuid := case tg_op when 'DELETE' then old.file_id else new.file_id end;
  latest  text := (select j.status from media_jobs j where j.file_id = file and j.status <> 'cancelled' order by j.id desc limit 1);
  follows media.status%type := case
    when latest = 'completed' then 'READY'
    when latest is not null   then upper(latest)
    else (select case when status::text in ('READY', 'FAILED') then status::text else 'PENDING' end from media where id = file)
  end;
begin
  update media set status = follows where id = file and status is distinct from follows;
  return null;
end $$;
comment on function media_status_follows is 'media.status is the status of the file''s latest media job. Cancelled jobs do not count.';

create function announce(queues text[], ids bigint[], statuses text[]) returns void
  language plpgsql security definer
  set search_path from current
  set jit = off
as $$
begin
  if exists (select from listeners where until > clock_timestamp()) then
    perform pg_notify('rowmill_ended',
                      json_build_object('queue', c.queue, 'status', c.status, 'ids', json_agg(c.id order by c.id))::text)
       from (select e.queue, e.status, e.id, (row_number() over (partition by e.queue, e.status order by e.id) - 1) / 400 as chunk
               from unnest(announce.queues, announce.ids, announce.statuses) as e (queue, id, status)) c
      group by c.queue, c.status, c.chunk;
  end if;
end $$;
comment on function announce is 'Tells listeners, if there are any, that jobs ended: on channel rowmill_ended, at commit.';

create function add_tickets(queues text[], kinds text[], ids bigint[], priorities smallint[], run_ats timestamp with time zone[]) returns void
  language plpgsql
  set search_path from current
  set enable_seqscan = off
  set enable_nestloop = on
  set jit = off
  set plan_cache_mode = force_generic_plan
as $$
declare
  specs graphile_worker.job_spec[];
begin
  select array_agg(
           row(t.queue, json_build_object('kind', t.kind, 'ids', t.ids), null, t.run_at, 32767, null, t.priority, null)::graphile_worker.job_spec
           order by t.first_id)
    into specs
    from (select c.queue, c.kind, c.priority, c.run_at, json_agg(c.id order by c.id) as ids, min(c.id) as first_id
            from (select j.*,
                         (row_number() over (partition by j.queue, j.kind, j.priority, j.run_at order by j.id) - 1)
                           / coalesce(q.batch_size, 1) as chunk
                    from unnest(add_tickets.queues, add_tickets.kinds, add_tickets.ids, add_tickets.priorities, add_tickets.run_ats)
                           as j (queue, kind, id, priority, run_at)
                    left join queues q on q.name = j.queue) c
           group by c.queue, c.kind, c.priority, c.run_at, c.chunk) t;
  if specs is null then
    return;
  end if;
  perform count(*) from graphile_worker.add_jobs(specs);
  -- random(): of equal notifications in one transaction but one is sent.
  perform pg_notify('rowmill', case when n.due > 0 then format('due %s %s %s', n.queue, n.due, random()) else 'soon ' || n.queue end)
     from (select t.identifier as queue, count(*) filter (where t.run_at <= clock_timestamp()) as due, min(t.run_at) as first_at
             from unnest(specs) t
            group by t.identifier) n
    where n.due > 0 or n.first_at < clock_timestamp() + interval '3 seconds';
end $$;
comment on function add_tickets is 'Makes tickets for pending jobs, and tells the workers.';

create function take_tokens(key text, n integer, rate double precision, patience_ms double precision default 1000) returns double precision
  language plpgsql
  set search_path from current
as $$
#variable_conflict use_column
declare
  burst float8 := greatest(1, rate / 50);
  least_left float8 := - rate * patience_ms / 1000;
  tokens_left float8;
  back_at timestamptz;
begin
  if not rate > 0 or n < 1 or burst - n < least_left then
    raise exception 'take_tokens: % tokens at % a second cannot be had within % ms', n, rate, patience_ms
      using errcode = 'invalid_parameter_value';
  end if;

  insert into rate_limits as r (key, tokens, updated_at)
  values (take_tokens.key, burst - n, clock_timestamp())
      on conflict (key) do update
     set tokens = least(burst, r.tokens + rate * extract(epoch from clock_timestamp() - r.updated_at)) - n,
         updated_at = clock_timestamp()
   where least(burst, r.tokens + rate * extract(epoch from clock_timestamp() - r.updated_at)) - n >= least_left
  returning tokens into tokens_left;
  if found then
    return greatest(0, - tokens_left / rate * 1000);
  end if;

  update rate_limits r
     set promised_until = greatest(promised_until, clock_timestamp() + make_interval(secs => patience_ms / 1000)) + make_interval(secs => n / rate)
   where r.key = take_tokens.key
  returning promised_until into back_at;
  return extract(epoch from back_at - clock_timestamp()) * 1000;
end $$;
comment on function take_tokens is 'Takes n tokens from a bucket that fills at `rate` a second. Gives the milliseconds to wait: up to patience_ms they are taken, above it nothing was.';


-- Triggers ----------------------------------------------------------------------------------------------------------------

create trigger queues_changed after update of paused, timeout_ms, rate_limit on queues
  for each statement execute function queues_changed();

create trigger job_defaults before insert on jobs
  for each row when (new.max_retries is null)
  execute function job_defaults();
create trigger job_dedupe before insert on jobs
  for each row when (new.dedupe_key is not null and not new.archived)
  execute function job_dedupe();
create trigger job_normalise_insert before insert on jobs
  for each row when ((new.status = any (array['completed', 'failed', 'cancelled'])) <> (new.completed_at is not null) or new.locked_by is not null)
  execute function job_normalise();
create trigger job_normalise_update before update on jobs
  for each row when ((new.status = any (array['completed', 'failed', 'cancelled'])) <> (new.completed_at is not null) or new.locked_by is not null and new.status <> 'processing' or new.status = 'failed' and old.status = 'failed' and new.max_retries > old.max_retries or new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_normalise();
create trigger job_identity before update on jobs
  for each row when (new.id <> old.id or new.queue <> old.queue or new.dedupe_key is distinct from old.dedupe_key)
  execute function job_identity();
create trigger jobs_inserted after insert on jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on jobs
  for each statement execute function jobs_deleted();

create trigger jobs_inserted after insert on publish_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on publish_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on publish_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on publish_jobs
  for each statement execute function jobs_deleted('publish');
create trigger publish_status_insert after insert on publish_jobs
  for each row when (new.file_id is not null and not new.archived)
  execute function publish_status_follows();
create trigger publish_status_update after update on publish_jobs
  for each row when (new.file_id is not null and new.status <> old.status)
  execute function publish_status_follows();
create trigger publish_status_delete after delete on publish_jobs
  for each row when (old.file_id is not null and (old.status = any (array['pending', 'processing', 'failed'])))
  execute function publish_status_follows();

create trigger jobs_inserted after insert on media_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on media_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on media_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on media_jobs
  for each statement execute function jobs_deleted('media');
create trigger media_status_insert after insert on media_jobs
  for each row when (new.file_id is not null and not new.archived)
  execute function media_status_follows();
create trigger media_status_update after update on media_jobs
  for each row when (new.file_id is not null and new.status <> old.status)
  execute function media_status_follows();
create trigger media_status_delete after delete on media_jobs
  for each row when (old.file_id is not null and (old.status = any (array['pending', 'processing', 'failed'])))
  execute function media_status_follows();

create trigger jobs_inserted after insert on notification_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on notification_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on notification_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on notification_jobs
  for each statement execute function jobs_deleted('notification');

create trigger jobs_inserted after insert on social_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on social_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on social_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on social_jobs
  for each statement execute function jobs_deleted('social');

create trigger jobs_inserted after insert on analytics_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on analytics_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on analytics_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on analytics_jobs
  for each statement execute function jobs_deleted('analytics');

create trigger jobs_inserted after insert on cleanup_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_updated after update on cleanup_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on cleanup_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on cleanup_jobs
  for each statement execute function jobs_deleted('cleanup');


-- Views -------------------------------------------------------------------------------------------------------------------

create view dead_letters with (security_invoker=true) as
select id,
    archived,
    queue,
    kind,
    payload,
    file_id,
    status,
    priority,
    run_at,
    attempt,
    retry_count,
    max_retries,
    error_code,
    error,
    result,
    progress,
    dedupe_key,
    locked_by,
    created_at,
    started_at,
    completed_at,
    queue || '.dead' as dead_queue
   from jobs j
  where status = 'failed';
comment on view dead_letters is 'Jobs that failed for good and wait for a person.';

create view queue_depth with (security_invoker=true) as
select q.name as queue,
    count(*) filter (where j.status = 'pending' and j.run_at <= now()) as waiting,
    count(*) filter (where j.status = 'processing') as active,
    q.archived_completed + count(*) filter (where j.status = 'completed' and not j.archived) as completed,
    count(*) filter (where j.status = 'failed') as failed,
    count(*) filter (where j.status = 'pending' and j.run_at > now()) as delayed,
    q.paused
   from queues q
     left join jobs j on j.queue = q.name and not j.archived
  group by q.name;
comment on view queue_depth is 'What each queue holds now. Its time does not grow with the history.';
comment on column queue_depth.completed is 'Completed so far; pruning the history does not lower it.';
