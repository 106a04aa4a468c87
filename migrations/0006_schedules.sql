-- Jobs that are inserted by the clock.
--
-- A worker computes a schedule's next tick from its cron expression and time zone, and writes it into next_tick. When
-- that time has come by the database's clock, the first worker inserts the job, under the dedupe key <schedule>@<tick>,
-- and writes the tick after it, in one statement. The other workers then find another next_tick. Schedules may be
-- changed by plain SQL: the triggers below start a changed schedule afresh, and notify the workers.
--
-- A tick that no worker was running for is made up once: only the latest, and none from before `since`.
--
-- Locks: creates only. Undo: drop everything named here.

create table schedules (
  name         text primary key check (name ~ '^[^@]+$'),
  cron         text        not null check (cron ~ '^ *(@[A-Za-z]+|[^[:space:]]+( +[^[:space:]]+){4,5}) *$'),
  -- The check is an error, from Postgres, for a time zone that it does not know.
  time_zone    text        not null default 'UTC' check (timestamp 'epoch' at time zone time_zone is not null),
  queue        text        not null references queues (name),
  kind         text        not null constraint kind_with_dot check (strpos(kind, '.') = 0),
  payload      jsonb       not null default '{}',
  enabled      boolean     not null default true,
  last_tick    timestamptz,
  priority     smallint    not null default 0,
  max_retries  integer     check (max_retries >= 0),
  overlap      text        not null default 'queue' check (overlap in ('skip', 'queue')),
  since        timestamptz not null default clock_timestamp(),
  next_tick    timestamptz,
  last_job_id  bigint,
  skipped      bigint      not null default 0,
  skipped_tick timestamptz,
  error        text,
  constraint text_too_long
    check (char_length(name) <= 200 and char_length(cron) <= 200 and char_length(time_zone) <= 100
           and char_length(kind) <= 100 and char_length(error) <= 2000),
  constraint payload_too_large
    check (case when pg_catalog.pg_column_size(payload) > 64000 then false
                else octet_length(payload::text) <= 1000000 end)
);
comment on table  schedules is 'Jobs that are inserted by the clock.';
comment on column schedules.cron is
  'Five fields: minute, hour, day of month, month, day of week. Or six, the first for the second. Or a word such as '
  '@daily.';
comment on column schedules.time_zone is 'The time zone of cron, such as Europe/Berlin.';
comment on column schedules.queue is 'The queue of its jobs.';
comment on column schedules.max_retries is 'The max_retries of its jobs; null: the queue''s.';
comment on column schedules.overlap is
  'What a tick does while the last job is pending or processing. queue: it inserts another. skip: it inserts none, and '
  'counts itself in skipped.';
comment on column schedules.enabled is 'While false no job is inserted. Ticks of that time are not made up.';
comment on column schedules.since is
  'Only later ticks count: when the schedule was made or enabled, or when its cron or time zone was changed.';
comment on column schedules.last_tick is 'The last tick that inserted a job, or was skipped.';
comment on column schedules.next_tick is
  'Written by workers. Null until one has read the schedule, and while it is disabled.';
comment on column schedules.last_job_id is
  'The last job that it inserted; or, after a cleanup that ran out of time, the job that continues it.';
comment on column schedules.skipped is 'How many ticks were skipped so far.';
comment on column schedules.skipped_tick is 'The last tick that was skipped.';
comment on column schedules.error is 'Why it inserts nothing, though it is enabled.';

create function schedule_reset() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.since := clock_timestamp();
  new.next_tick := null;
  new.error := null;
  return new;
end $$;
comment on function schedule_reset is 'A schedule that was changed starts afresh.';

create trigger schedule_reset before update on schedules
  for each row when ((new.cron, new.time_zone, new.enabled) is distinct from (old.cron, old.time_zone, old.enabled))
  execute function schedule_reset();

create function schedules_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  perform pg_notify(:'workers', 'schedules') where pg_notification_queue_usage() < 0.9::float8;
  return null;
end $$;
comment on function schedules_changed is 'Notifies workers of a changed schedule. They also poll each second.';

-- Not for the columns that workers write.
create trigger schedules_changed after insert or update of cron, time_zone, enabled on schedules
  for each statement execute function schedules_changed();

-- The job's dedupe key has a fraction of a second, so that it is never the key of a tick.
create function run_schedule(name text) returns bigint
  language plpgsql
  set search_path from current
as $$
#variable_conflict use_column
declare
  schedule schedules;
  job_id bigint := nextval('job_ids'::regclass);
begin
  select * into schedule from schedules s where s.name = run_schedule.name for update;
  if not found then
    raise exception 'there is no schedule %', run_schedule.name using errcode = 'no_data_found';
  end if;
  if schedule.overlap = 'skip'
     and exists (select from jobs j where j.id = schedule.last_job_id and j.status in ('pending', 'processing')) then
    raise exception 'job % of schedule % has not ended', schedule.last_job_id, schedule.name
      using errcode = 'object_in_use', hint = 'Its overlap is skip. Wait for the job, or cancel it.';
  end if;
  insert into jobs (id, queue, kind, payload, priority, max_retries, dedupe_key)
  values (job_id, schedule.queue, schedule.kind, schedule.payload, schedule.priority, schedule.max_retries,
          schedule.name || '@' || to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
  update schedules s set last_job_id = job_id where s.name = schedule.name;
  return job_id;
end $$;
comment on function run_schedule is
  'Inserts a job of a schedule now, whether it is enabled or not. Returns the id of the job.';

-- The lateral join finds the job by its id, whatever the statistics say and however long the history is.
create view schedule_status as
select s.name, s.cron, s.time_zone, s.queue, s.kind, s.payload, s.priority, s.max_retries, s.enabled, s.overlap,
       s.last_tick, s.next_tick, s.skipped, s.skipped_tick, s.error,
       s.last_job_id, j.status as last_status, j.result as last_result, j.error_code as last_error_code,
       j.error as last_error, j.completed_at as last_completed_at
  from schedules s
  left join lateral (select status, result, error_code, error, completed_at
                       from jobs
                      where id = s.last_job_id
                      limit 1) j on true;
comment on view schedule_status is 'All schedules: their last tick, their next, and how the last job ended.';
comment on column schedule_status.error is 'Why it inserts nothing, though it is enabled.';
comment on column schedule_status.last_status is
  'The status of the last job; null: there was none, or it has been deleted.';
