-- The tables of queues and jobs.
--
-- Each queue is a partition of jobs, <queue>_jobs, and has two leaves. <queue>_jobs_live holds the jobs that are
-- waiting, running, failed or just done; <queue>_jobs_done holds the archive. A column `archived` decides which. So
-- nobody who writes SQL needs to know of the leaves, while queries by status and the worker's own statements touch only
-- a small table. There is no index on status: every start and finish would have to write to it.
--
-- Locks: creates only. Undo: drop everything named here.

create table queues (
  name               text     primary key check (name ~ '^[a-z][a-z0-9_]{0,52}$')
                              constraint name_too_long check (char_length(name) <= 50),
  paused             boolean  not null default false,
  batch_size         integer  not null default 1 check (batch_size between 1 and 10000),
  max_retries        integer  not null check (max_retries >= 0),
  backoff_ms         integer  not null check (backoff_ms >= 0),
  timeout_ms         integer  check (timeout_ms > 0),
  rate_limit         integer  check (rate_limit > 0),
  max_payload_bytes  integer  not null default 1000000 check (max_payload_bytes between 1000000 and 64000000),
  snooze_limit       interval not null default '7 days' check (snooze_limit > '0'),
  keep_completed     interval not null default '90 days',
  archived_completed bigint   not null default 0,
  archive_after      interval not null default '30 seconds' check (archive_after >= '0'),
  incident_patience  interval not null default '24 hours' check (incident_patience >= '0')
);
comment on table  queues is
  'One row a queue: the settings that hold for the whole fleet. An UPDATE takes effect within two seconds.';
comment on column queues.paused is 'While true no job is started; rows stay pending.';
comment on column queues.batch_size is
  'How many jobs of one statement, of equal kind, priority and run_at, share a ticket.';
comment on column queues.max_retries is
  'Retries after the first attempt, for new jobs whose insert does not set max_retries.';
comment on column queues.backoff_ms is 'The wait before the first retry; doubled for each further one.';
comment on column queues.timeout_ms is 'Overrides the time limit of the queue''s handlers.';
comment on column queues.rate_limit is 'Jobs started a second over the whole fleet; null: no limit.';
comment on column queues.max_payload_bytes is
  'The largest payload of a job, as text. A worker holds as many payloads in memory as it runs jobs at once.';
comment on column queues.snooze_limit is
  'A job that has only snoozed for this long fails as snoozed_too_long. Waiting for a rate limit of Rowmill does not '
  'count.';
comment on column queues.keep_completed is 'How long completed and cancelled jobs are kept.';
comment on column queues.archived_completed is
  'How many completed jobs were archived so far. Counted here so that views need not count the archive.';
comment on column queues.archive_after is
  'How long a completed or cancelled job stays in the live leaf, where it can be run again without setting archived.';
comment on column queues.incident_patience is
  'How long an incident holds the jobs of the queue. After that the same error counts as the job''s own failure.';

create sequence job_ids;

-- The ids are those that JavaScript's numbers hold exactly.
create table jobs (
  id            bigint      not null default nextval('job_ids')
                check (id between -9007199254740991 and 9007199254740991),
  archived      boolean     not null default false,
  queue         text        not null,
  kind          text        not null,
  payload       jsonb       not null default '{}',
  file_id       text        check (octet_length(file_id) <= 500),
  status        text        not null default 'pending'
                check (status in ('pending', 'processing', 'completed', 'failed', 'cancelled')),
  priority      smallint    not null default 0,
  run_at        timestamptz not null default now(),
  expires_at    timestamptz,
  attempt       integer     not null default 0 check (attempt between 0 and 2000000000),
  retry_count   integer     not null default 0 check (retry_count >= 0),
  max_retries   integer     not null check (max_retries >= 0),
  error_code    text,
  error         text,
  result        jsonb,
  progress      smallint    check (progress between 0 and 100),
  dedupe_key    text,
  locked_by     uuid,
  created_at    timestamptz not null default now(),
  started_at    timestamptz,
  snoozed_since timestamptz,
  completed_at  timestamptz,
  primary key (id, queue, archived)
) partition by list (queue);
comment on table jobs is 'All jobs of all queues; each queue is the partition <queue>_jobs. Insert into either.';
comment on column jobs.archived is 'True once a completed or cancelled job has been moved to the archive.';
comment on column jobs.kind is 'What the job does. Queue and kind together name the handler, such as media.image.';
comment on column jobs.file_id is
  'The stored file that the job is about, by its id as text: a row of auction_files for publish, of media for media.';
comment on column jobs.status is
  'pending, processing, completed, failed or cancelled. Imported history keeps the status it is inserted with, and '
  'never runs.';
comment on column jobs.priority is 'Smaller starts first.';
comment on column jobs.run_at is 'When the job becomes due.';
comment on column jobs.expires_at is
  'A job that has not started by then ends cancelled, with error_code expired. Null: it never expires.';
comment on column jobs.attempt is
  'Executions so far. A start adds one, and only the worker that started this attempt can finish it (fencing).';
comment on column jobs.retry_count is
  'Retries used. A job fails for good when an attempt fails and retry_count = max_retries. A permanent error uses all.';
comment on column jobs.max_retries is
  'Retries allowed; null at insert: the queue''s. A failed job runs again when it is raised.';
comment on column jobs.error_code is 'The last failure, as a stable lower_snake_case word.';
comment on column jobs.error is 'The last failure, in words for people. Never a secret.';
comment on column jobs.progress is '0 to 100 while the job runs; null: unknown.';
comment on column jobs.dedupe_key is 'A second insert with the same queue and key is skipped: no row, no error.';
comment on column jobs.locked_by is 'The worker that runs the job.';
comment on column jobs.snoozed_since is 'When the job first snoozed since its last failure, or since it was added.';
comment on column jobs.completed_at is 'When the job became completed, failed or cancelled.';

create table jobs_of_no_queue partition of jobs default;
comment on table jobs_of_no_queue is
  'Always empty: an insert for a queue that does not exist is routed here, and its trigger job_astray refuses it.';

create table job_keys (
  queue      text   not null,
  dedupe_key text   not null,
  job_id     bigint not null,
  primary key (queue, dedupe_key)
);
comment on table job_keys is
  'The dedupe keys of live and archived jobs. A unique index on jobs cannot do it: it would have to contain archived.';

create table job_errors (
  queue      text        not null,
  job_id     bigint      not null,
  attempt    integer     not null,
  worker     uuid,
  started_at timestamptz,
  failed_at  timestamptz not null default clock_timestamp(),
  error_code text        not null,
  error      text        not null,
  stack      text,
  primary key (job_id, attempt),
  constraint error_too_long
    check (char_length(error_code) <= 60 and char_length(error) <= 2000 and char_length(stack) <= 8000)
);
create index on job_errors (failed_at);
comment on table  job_errors is 'One row for each failed attempt.';
comment on column job_errors.stack is
  'Where in the code an error arose that no handler foresaw: file names and lines, without the error''s message.';

-- backoff_ms, doubled for each retry used, six hours at most; and up to a tenth more at random, so that jobs that
-- failed together do not all come back together.
create function retry_delay(backoff_ms integer, retry_count integer) returns interval
  language sql volatile
as $$
  select pg_catalog.make_interval(
    secs => least(backoff_ms::float8 / 1000::float8 * 2::float8 ^ least(retry_count, 30)::float8, 21600)
            * (1::float8 + random() / 10::float8))
$$;
comment on function retry_delay is 'The wait before a job''s next retry.';

create view queue_depth as
select q.name as queue,
       count(*) filter (where j.status = 'pending' and j.run_at <= now())                        as waiting,
       count(*) filter (where j.status = 'processing')                                           as active,
       q.archived_completed + count(*) filter (where j.status = 'completed' and not j.archived)  as completed,
       count(*) filter (where j.status = 'failed')                                               as failed,
       count(*) filter (where j.status = 'pending' and j.run_at > now())                         as delayed,
       q.paused
  from queues q
  left join jobs j on j.queue = q.name and not j.archived
 group by q.name;
comment on view queue_depth is 'How many jobs each queue holds now. Takes the same time however long the history is.';
comment on column queue_depth.completed is 'Completed so far. Pruning the archive does not lower it.';
