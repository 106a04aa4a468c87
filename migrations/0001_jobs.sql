-- The ledger: every job is a row, and the row is the truth.
--
-- A row is inserted `pending`. A worker that is told of it by a ticket (0002) makes it `processing`, runs its handler, and
-- makes it `completed`, `failed` (a dead letter), or `pending` again for a retry. Anybody may make it `cancelled` or
-- `pending` by a plain UPDATE. Half a minute after it was completed or cancelled it moves from its queue's live leaf to the
-- done leaf (archived = true), so that what status queries and the hot path touch stays small however long the history is.
--
-- Locks: creates only. Undo: drop everything named here.

create table queues (
  name               text primary key check (name ~ '^[a-z][a-z0-9_]{0,52}$'),
  paused             boolean not null default false,
  batch_size         integer not null default 1 check (batch_size between 1 and 10000),
  max_retries        integer not null check (max_retries >= 0),
  backoff_ms         integer not null check (backoff_ms >= 0),
  timeout_ms         integer check (timeout_ms > 0),
  rate_limit         integer check (rate_limit > 0),
  max_payload_bytes  integer not null default 1000000 check (max_payload_bytes between 1000000 and 64000000),
  snooze_limit       interval not null default '7 days' check (snooze_limit > '0'),
  keep_completed     interval not null default '90 days',
  archived_completed bigint not null default 0
);
comment on table  queues is 'One row a queue: the settings that hold for the whole fleet. An UPDATE takes effect within two seconds.';
comment on column queues.paused is 'Nothing new is started while true; rows stay pending.';
comment on column queues.batch_size is 'How many jobs of one bulk insert share a ticket.';
comment on column queues.max_retries is 'For new jobs that do not say: retries after the first attempt.';
comment on column queues.backoff_ms is 'The wait before the first retry; doubled for each further one.';
comment on column queues.timeout_ms is 'Overrides the time limit of the queue''s handlers.';
comment on column queues.rate_limit is 'Jobs started a second over the whole fleet; null: no limit.';
comment on column queues.max_payload_bytes is 'The largest payload of its jobs, as text. A worker holds as many in memory as jobs that it runs at once.';
comment on column queues.snooze_limit is 'A job that only snoozed for so long fails as snoozed_too_long. Waiting for a rate limit of ours does not count.';
comment on column queues.keep_completed is 'How long completed and cancelled jobs are kept.';
comment on column queues.archived_completed is 'Completed jobs that were moved to history so far, so that nobody has to count them.';

create sequence job_ids;

create table jobs (
  id           bigint      not null default nextval('job_ids') check (id between -9007199254740991 and 9007199254740991),
  archived     boolean     not null default false,
  queue        text        not null,
  kind         text        not null,
  payload      jsonb       not null default '{}',
  file_id      text        check (octet_length(file_id) <= 500),
  status       text        not null default 'pending'
               check (status in ('pending', 'processing', 'completed', 'failed', 'cancelled')),
  priority     smallint    not null default 0,
  run_at       timestamptz not null default now(),
  attempt      integer     not null default 0 check (attempt between 0 and 2000000000),
  retry_count  integer     not null default 0 check (retry_count >= 0),
  max_retries  integer     not null check (max_retries >= 0),
  error_code   text,
  error        text,
  result       jsonb,
  progress     smallint    check (progress between 0 and 100),
  dedupe_key   text,
  locked_by    uuid        check (locked_by is null or status = 'processing'),
  created_at   timestamptz not null default now(),
  started_at   timestamptz,
  snoozed_since timestamptz,
  completed_at timestamptz check ((completed_at is not null) = (status in ('completed', 'failed', 'cancelled'))),
  primary key (id, queue, archived)
) partition by list (queue);
comment on table  jobs is 'All jobs of all queues; each queue is the partition <queue>_jobs. Insert into either.';
comment on column jobs.archived is 'True once a completed or cancelled job has been moved to history.';
comment on column jobs.kind is 'What sort of job: queue and kind together name the handler, such as media.image.';
comment on column jobs.file_id is 'The stored file this job is about, by its id as text: of auction_files for publish, of media for media.';
comment on column jobs.status is 'pending, processing, completed, failed or cancelled. Imported history is inserted with the status it has, and never runs.';
comment on column jobs.priority is 'Smaller starts first.';
comment on column jobs.run_at is 'When the job becomes due.';
comment on column jobs.attempt is 'Executions so far. Set by start, and the fence: only the worker that started this attempt can finish it.';
comment on column jobs.retry_count is 'Retries used. A job fails for good when an attempt fails and retry_count = max_retries. A permanent error uses them all.';
comment on column jobs.max_retries is 'Retries allowed; null at insert: the queue''s. Raised on a failed job, it runs again.';
comment on column jobs.error_code is 'The last failure, as a stable lower_snake_case word.';
comment on column jobs.error is 'The last failure, in words for people. Never a secret.';
comment on column jobs.progress is '0 to 100 while it runs; null: unknown.';
comment on column jobs.dedupe_key is 'A second insert with the same queue and key is skipped: no row, no error.';
comment on column jobs.locked_by is 'The worker that runs it.';
comment on column jobs.snoozed_since is 'When it snoozed first since its last failure, or since it was added.';
comment on column jobs.completed_at is 'When it became completed, failed or cancelled.';

create table job_keys (
  queue      text   not null,
  dedupe_key text   not null,
  job_id     bigint not null,
  primary key (queue, dedupe_key)
);
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
  stack      text,
  primary key (job_id, attempt)
);
create index on job_errors (failed_at);
comment on table  job_errors is 'One row for each failed attempt.';
comment on column job_errors.stack is 'Where in the code an error arose that no handler foresaw: file names and lines, no words of the error.';

create table workers (
  id           uuid primary key,
  instance     uuid        not null default gen_random_uuid(),
  host         text        not null,
  pid          integer     not null,
  version      text        not null,
  queues       text[]      not null,
  pools        text[]      not null default '{}',
  waiting      jsonb       not null default '[]',
  started_at   timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp()
);
comment on table  workers is 'One row for each running worker process. A row whose advisory lock is free, or whose heartbeat is old, is buried by the others.';
comment on column workers.instance is 'Its process. All sessions of it hold the advisory lock of this name, and are ended when the worker is reaped.';
comment on column workers.waiting is 'Its jobs that have waited for a turn for more than five seconds, as for memory: [{job_id, waits_for, since}]. Their time limits do not run.';
comment on column workers.pools is 'Its graphile-worker pool ids: the tickets these have locked are unlocked when the worker is buried.';

create table schedules (
  name      text primary key,
  cron      text    not null,
  time_zone text    not null default 'UTC',
  queue     text    not null references queues (name),
  kind      text    not null,
  payload   jsonb   not null default '{}',
  enabled   boolean not null default true,
  last_tick timestamptz
);
comment on table schedules is 'Jobs that are inserted by the clock.';

create table rate_limits (
  key        text primary key,
  tokens     double precision not null,
  updated_at timestamptz      not null default clock_timestamp()
);
comment on table rate_limits is 'Token buckets: what is left in each, and since when.';

alter table queues      enable row level security;
alter table jobs        enable row level security;
alter table job_keys    enable row level security;
alter table job_errors  enable row level security;
alter table workers     enable row level security;
alter table schedules   enable row level security;
alter table rate_limits enable row level security;
