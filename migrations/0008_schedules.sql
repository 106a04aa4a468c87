-- Jobs that are inserted by the clock.
--
-- A schedule has a next tick, which a worker works out from its cron expression and its time zone and writes down. When that moment has come by
-- the clock of the database, whichever worker is first inserts the job, under the dedupe key <schedule>@<tick>, and writes down the tick
-- after it, in one statement; the others find that the next tick is another one by then. All changes may be made by plain SQL: the triggers
-- below make a schedule that was changed start afresh, and tell the workers.
--
-- A tick that nobody was there for is made up once, the latest only, and none from before `since`.
--
-- Locks: ACCESS EXCLUSIVE on schedules for a moment. Undo: drop the view, the functions, and the columns.

alter table schedules
  add column priority     smallint    not null default 0,
  add column max_retries  integer     check (max_retries >= 0),
  add column overlap      text        not null default 'queue' check (overlap in ('skip', 'queue')),
  add column since        timestamptz not null default clock_timestamp(),
  add column next_tick    timestamptz,
  add column last_job_id  bigint,
  add column skipped      bigint      not null default 0,
  add column skipped_tick timestamptz,
  add column error        text,
  add check (name ~ '^[^@]+$'),
  add check (cron ~ '^ *(@[A-Za-z]+|[^[:space:]]+( +[^[:space:]]+){4,5}) *$'),
  -- Postgres refuses a zone that it does not know.
  add check (timestamp 'epoch' at time zone time_zone is not null);

comment on column schedules.cron is 'Five fields: minute, hour, day of month, month, day of week; or six, the first for the second; or such as @daily.';
comment on column schedules.time_zone is 'In which cron is read, such as Europe/Berlin.';
comment on column schedules.queue is 'Where its jobs go.';
comment on column schedules.max_retries is 'Of its jobs; null: the queue''s.';
comment on column schedules.overlap is 'What a tick does while the last job is pending or processing. queue: inserts another. skip: nothing, and counts itself in skipped.';
comment on column schedules.enabled is 'Nothing is inserted while false. Ticks of that time are not made up.';
comment on column schedules.since is 'Only later ticks are its own: when it was made or enabled, or when its cron or time zone was changed.';
comment on column schedules.last_tick is 'The last one that inserted a job, or was skipped.';
comment on column schedules.next_tick is 'Written by workers; null until one has looked at it, and while it is disabled.';
comment on column schedules.last_job_id is 'The last job that it inserted, or the one in which that goes on.';
comment on column schedules.skipped is 'How many ticks were skipped so far.';
comment on column schedules.skipped_tick is 'The last of them.';
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
comment on function schedule_reset is 'A schedule that was changed begins now.';

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
comment on function schedules_changed is 'Workers are told at once of a new time; they also look each second.';

-- Not of what workers write.
create trigger schedules_changed after insert or update of cron, time_zone, enabled on schedules
  for each statement execute function schedules_changed();

-- The key tells it from a tick: it has a fraction of a second.
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
  if schedule.overlap = 'skip' and exists (select from jobs j where j.id = schedule.last_job_id and j.status in ('pending', 'processing')) then
    raise exception 'job % of schedule % has not ended', schedule.last_job_id, schedule.name
      using errcode = 'object_in_use', hint = 'Its overlap is skip. Wait for the job, or cancel it.';
  end if;
  insert into jobs (id, queue, kind, payload, priority, max_retries, dedupe_key)
  values (job_id, schedule.queue, schedule.kind, schedule.payload, schedule.priority, schedule.max_retries,
          schedule.name || '@' || to_char(clock_timestamp() at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"'));
  update schedules s set last_job_id = job_id where s.name = schedule.name;
  return job_id;
end $$;
comment on function run_schedule is 'Inserts a job of a schedule now, whether it is enabled or not. Gives the id of the job.';

-- The job is found by its id, whatever the statistics say and however long the history is.
create view schedule_status as
select s.name, s.cron, s.time_zone, s.queue, s.kind, s.payload, s.priority, s.max_retries, s.enabled, s.overlap, s.last_tick, s.next_tick, s.skipped, s.skipped_tick, s.error,
       s.last_job_id, j.status as last_status, j.result as last_result, j.error_code as last_error_code, j.error as last_error,
       j.completed_at as last_completed_at
  from schedules s
  left join lateral (select * from jobs where jobs.id = s.last_job_id limit 1) j on true;
comment on view schedule_status is 'All schedules: their last tick, their next, and what became of the last job.';
comment on column schedule_status.error is 'Why it inserts nothing, though it is enabled.';
comment on column schedule_status.last_status is 'Of the last job; null: there was none, or it has been deleted.';

do $$
begin
  if current_setting('server_version_num')::int >= 150000 then
    alter view schedule_status set (security_invoker = true);
  end if;
end $$;
