-- The schema, for reading: what the files of migrations/ make of an empty database. The schema of the
-- tickets, which is graphile-worker's, is not included. To change the schema, add a migration and run
-- `npm run schema`, which writes this file. test/queue/install/schema.test.ts checks it.

set check_function_bodies = off;


-- Tables --------------------------------------------------------------------------------------------------------------

create sequence job_ids;

create sequence storage_deletion_ids;

create sequence cleanup_log_ids;

create sequence rejected_messages_id_seq;

create sequence bridge_unacked_id_seq;

create sequence operator_actions_id_seq;

create sequence alerts_id_seq;

create sequence event_subscriptions_id_seq;

create sequence social_accounts_id_seq;

create sequence social_posts_id_seq;

create sequence social_attempts_id_seq;

create sequence social_post_steps_id_seq;

create sequence analytics_accounts_id_seq;

create sequence analytics_posts_id_seq;

create sequence anomalies_id_seq;

create sequence analytics_reports_id_seq;

create sequence schedule_ticks_id_seq;

create table rowmill_migrations (
  name       text        not null,
  checksum   text        not null,
  applied_at timestamptz not null default now(),
  constraint rowmill_migrations_pkey primary key (name)
);
alter table rowmill_migrations enable row level security;
comment on table rowmill_migrations is 'The migration files that this database has seen.';

create table rowmill_objects (
  object text not null,
  constraint rowmill_objects_pkey primary key (object)
);
alter table rowmill_objects enable row level security;
comment on table rowmill_objects is 'What Rowmill made in this schema. Everything else here is the user''s.';
comment on column rowmill_objects.object is 'As GRANT names it: table jobs, sequence job_ids, routine retry_delay(integer, integer).';

create table queues (
  name               text        not null,
  paused             boolean     not null default false,
  batch_size         integer     not null default 1,
  max_retries        integer     not null,
  backoff_ms         integer     not null,
  timeout_ms         integer,
  rate_limit         integer,
  max_payload_bytes  integer     not null default 1000000,
  snooze_limit       interval    not null default '7 days'::interval,
  keep_completed     interval    not null default '90 days'::interval,
  archived_completed bigint      not null default 0,
  archive_after      interval    not null default '00:00:30'::interval,
  incident_patience  interval    not null default '24:00:00'::interval,
  backoff            text        not null default 'exponential',
  keep_sensitive     interval    not null default '7 days'::interval,
  sensitive_until    timestamptz,
  alert_waiting      interval,
  paused_at          timestamptz,
  paused_by          text,
  constraint queues_pkey primary key (name),
  constraint name_too_long check (char_length(name) <= 50),
  constraint queues_alert_waiting_check check (alert_waiting >= '00:00:00'::interval),
  constraint queues_archive_after_check check (archive_after >= '00:00:00'::interval),
  constraint queues_backoff_check check (backoff = any (array['exponential', 'linear'])),
  constraint queues_backoff_ms_check check (backoff_ms >= 0),
  constraint queues_batch_size_check check (batch_size >= 1 and batch_size <= 10000),
  constraint queues_incident_patience_check check (incident_patience >= '00:00:00'::interval),
  constraint queues_keep_sensitive_check check (keep_sensitive >= '00:00:00'::interval),
  constraint queues_max_payload_bytes_check check (max_payload_bytes >= 1000000 and max_payload_bytes <= 64000000),
  constraint queues_max_retries_check check (max_retries >= 0),
  constraint queues_name_check check (name ~ '^[a-z][a-z0-9_]{0,52}$'),
  constraint queues_paused_by_check check (char_length(paused_by) <= 200),
  constraint queues_rate_limit_check check (rate_limit > 0),
  constraint queues_snooze_limit_check check (snooze_limit > '00:00:00'::interval),
  constraint queues_timeout_ms_check check (timeout_ms > 0)
);
alter table queues enable row level security;
comment on table queues is 'One row a queue: the settings that hold for the whole fleet. An UPDATE takes effect within two seconds.';
comment on column queues.paused is 'While true no job is started; rows stay pending.';
comment on column queues.batch_size is 'How many jobs of one statement, of equal kind, priority and run_at, share a ticket.';
comment on column queues.max_retries is 'Retries after the first attempt, for new jobs whose insert does not set max_retries.';
comment on column queues.backoff_ms is 'The wait before the first retry; queues.backoff says how it grows.';
comment on column queues.timeout_ms is 'Overrides the time limit of the queue''s handlers.';
comment on column queues.rate_limit is 'Jobs started a second over the whole fleet; null: no limit.';
comment on column queues.max_payload_bytes is 'The largest payload of a job, as text. A worker holds as many payloads in memory as it runs jobs at once.';
comment on column queues.snooze_limit is 'A job that has only snoozed for this long fails as snoozed_too_long. Waiting for a rate limit of Rowmill does not count.';
comment on column queues.keep_completed is 'How long completed and cancelled jobs are kept.';
comment on column queues.archived_completed is 'How many completed jobs were archived so far. Counted here so that views need not count the archive.';
comment on column queues.archive_after is 'How long a completed or cancelled job stays in the live leaf, where it can be run again without setting archived.';
comment on column queues.incident_patience is 'How long an incident holds the jobs of the queue. After that the same error counts as the job''s own failure.';
comment on column queues.backoff is 'How the wait grows. exponential: backoff_ms is doubled for each further retry. linear: backoff_ms is added.';
comment on column queues.keep_sensitive is 'Without SEAL_KEYS: how long the sensitive values of a job stay in its row after it has ended.';
comment on column queues.sensitive_until is 'Archived jobs that were completed before then have been searched for sensitive values in the clear. Null: none has. Set it to null to have the archive searched again.';
comment on column queues.alert_waiting is 'How long a due job of this queue may wait before an alert opens; null: as alert_rules says. Not while it is paused.';
comment on column queues.paused_at is 'Since when the queue is paused. Written by a trigger.';
comment on column queues.paused_by is 'Who paused it. An UPDATE that sets paused may set this too; otherwise it is the role and its application_name.';

create table jobs (
  id            bigint                not null default nextval('job_ids'::regclass),
  archived      boolean               not null default false,
  queue         text                  not null,
  kind          text                  not null,
  payload       jsonb                 not null default '{}'::jsonb,
  file_id       text,
  status        text                  not null default 'pending',
  priority      smallint              not null default 0,
  run_at        timestamptz           not null default now(),
  expires_at    timestamptz,
  attempt       integer               not null default 0,
  retry_count   integer               not null default 0,
  max_retries   integer               not null,
  error_code    text,
  error         text,
  result        jsonb,
  progress      smallint,
  dedupe_key    text,
  locked_by     uuid,
  created_at    timestamptz           not null default now(),
  started_at    timestamptz,
  snoozed_since timestamptz,
  completed_at  timestamptz,
  traceparent   character varying(55)          default 
case
    when (current_setting('rowmill.traceparent', true) ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$') then current_setting('rowmill.traceparent', true)
    else null::text
end,
  constraint jobs_pkey primary key (id, queue, archived),
  constraint jobs_attempt_check check (attempt >= 0 and attempt <= 2000000000),
  constraint jobs_file_id_check check (octet_length(file_id) <= 500),
  constraint jobs_id_check check (id >= '-9007199254740991'::bigint and id <= '9007199254740991'::bigint),
  constraint jobs_max_retries_check check (max_retries >= 0),
  constraint jobs_progress_check check (progress >= 0 and progress <= 100),
  constraint jobs_retry_count_check check (retry_count >= 0),
  constraint jobs_status_check check (status = any (array['pending', 'processing', 'completed', 'failed', 'cancelled']))
) partition by list (queue);
alter table jobs enable row level security;
comment on table jobs is 'All jobs of all queues; each queue is the partition <queue>_jobs. Insert into either.';
comment on column jobs.archived is 'True once a completed or cancelled job has been moved to the archive.';
comment on column jobs.kind is 'What the job does. Queue and kind together name the handler, such as media.image.';
comment on column jobs.file_id is 'The stored file that the job is about, by its id as text: a row of auction_files for publish, of media for media.';
comment on column jobs.status is 'pending, processing, completed, failed or cancelled. Imported history keeps the status it is inserted with, and never runs.';
comment on column jobs.priority is 'Smaller starts first.';
comment on column jobs.run_at is 'When the job becomes due.';
comment on column jobs.expires_at is 'A job that has not started by then ends cancelled, with error_code expired. Null: it never expires.';
comment on column jobs.attempt is 'Executions so far. A start adds one, and only the worker that started this attempt can finish it (fencing).';
comment on column jobs.retry_count is 'Retries used. A job fails for good when an attempt fails and retry_count = max_retries. A permanent error uses all.';
comment on column jobs.max_retries is 'Retries allowed; null at insert: the queue''s. A failed job runs again when it is raised.';
comment on column jobs.error_code is 'The last failure, as a stable lower_snake_case word.';
comment on column jobs.error is 'The last failure, in words for people. Never a secret.';
comment on column jobs.progress is '0 to 100 while the job runs; null: unknown.';
comment on column jobs.dedupe_key is 'A second insert with the same queue and key is skipped: no row, no error.';
comment on column jobs.locked_by is 'The worker that runs the job.';
comment on column jobs.snoozed_since is 'When the job first snoozed since its last failure, or since it was added.';
comment on column jobs.completed_at is 'When the job became completed, failed or cancelled.';
comment on column jobs.traceparent is 'The trace that the job belongs to: the header traceparent of W3C Trace Context, version 00. Null: none.';

create table jobs_of_no_queue partition of jobs
  default;
alter table jobs_of_no_queue enable row level security;
comment on table jobs_of_no_queue is 'Always empty: an insert for a queue that does not exist is routed here, and its trigger job_astray refuses it.';

create table job_keys (
  queue      text   not null,
  dedupe_key text   not null,
  job_id     bigint not null,
  constraint job_keys_pkey primary key (queue, dedupe_key)
);
alter table job_keys enable row level security;
comment on table job_keys is 'The dedupe keys of live and archived jobs. A unique index on jobs cannot do it: it would have to contain archived.';

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
  constraint job_errors_pkey primary key (job_id, attempt),
  constraint error_too_long check (char_length(error_code) <= 60 and char_length(error) <= 2000 and char_length(stack) <= 8000)
);
alter table job_errors enable row level security;
create index job_errors_failed_at_idx on job_errors using btree (failed_at);
comment on table job_errors is 'One row for each failed attempt.';
comment on column job_errors.stack is 'Where in the code an error arose that no handler foresaw: file names and lines, without the error''s message.';

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

create table listeners (
  id    uuid        not null,
  until timestamptz not null,
  constraint listeners_pkey primary key (id)
);
alter table listeners enable row level security;
comment on table listeners is 'One row for each client that wants to hear that jobs ended. Without any, nothing is notified.';
comment on column listeners.until is 'Until when it counts. A client renews it every 20 seconds, and deletes the rows of clients that died. infinity: the row of event_subscriptions.';

create table workers (
  id           uuid        not null,
  instance     uuid        not null default gen_random_uuid(),
  host         text        not null,
  pid          integer     not null,
  version      text        not null,
  queues       text[]      not null,
  pools        text[]      not null default '{}'::text[],
  notify       text[]      not null default '{}'::text[],
  waiting      jsonb       not null default '[]'::jsonb,
  started_at   timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp(),
  bridges      jsonb       not null default '[]'::jsonb,
  memory_bytes bigint,
  running      integer,
  constraint workers_pkey primary key (id)
);
alter table workers enable row level security;
comment on table workers is 'One row for each running worker. When its advisory lock is free, or its heartbeat is old, the other workers take it for dead, delete the row and return its jobs (they reap it).';
comment on column workers.instance is 'The worker''s process. All its sessions hold the advisory lock of this name, and are ended when the worker is reaped.';
comment on column workers.pools is 'The ids of its graphile-worker pools. The tickets that these locked are unlocked when the worker is reaped.';
comment on column workers.notify is 'The queues of which it wants to be notified when a job is inserted. While many are inserted it polls instead.';
comment on column workers.waiting is 'Running jobs that have waited for something, such as memory, for more than five seconds: [{job_id, waits_for, since}]. Their time limits do not run meanwhile.';
comment on column workers.bridges is 'The bridges that this worker runs: [{bridge, connected, since, code, reason}]. reason: why it is not connected.';
comment on column workers.memory_bytes is 'The memory of the process (its resident set), as of heartbeat_at.';
comment on column workers.running is 'How many jobs it runs, as of heartbeat_at.';

create table rate_limits (
  key            text             not null,
  tokens         double precision not null,
  updated_at     timestamptz      not null default clock_timestamp(),
  promised_until timestamptz,
  constraint rate_limits_pkey primary key (key),
  constraint finite check (tokens >= (- '1000000000000000'::numeric::double precision) and tokens <= '1000000000000000'::numeric::double precision and isfinite(updated_at) and isfinite(promised_until)),
  constraint key_too_long check (char_length(key) <= 500)
);
alter table rate_limits enable row level security;
comment on table rate_limits is 'Token buckets: for queues.rate_limit, and for the limits that handlers share under a name of their own.';
comment on column rate_limits.tokens is 'What was left at updated_at. Below zero: tokens were given out ahead of their time.';
comment on column rate_limits.promised_until is 'Callers that got no token are told when to come back, one after the other: the last of them at this time.';

create table incidents (
  id          uuid        not null default gen_random_uuid(),
  dependency  text        not null,
  host        text,
  code        text        not null,
  message     text        not null,
  kinds       text[]      not null,
  since       timestamptz not null default clock_timestamp(),
  last_seen   timestamptz not null default clock_timestamp(),
  jobs_held   bigint      not null default 0,
  probes      integer     not null default 0,
  probe_at    timestamptz not null default (clock_timestamp() + '00:00:05'::interval),
  checked_at  timestamptz not null default clock_timestamp(),
  check_ok    boolean     not null default false,
  resolved_at timestamptz,
  released    boolean     not null default false,
  constraint incidents_pkey primary key (id),
  constraint incidents_dependency_check check (dependency <> ''),
  constraint incidents_message_check check (char_length(message) <= 2000)
);
alter table incidents enable row level security;
create unique index incidents_open on incidents using btree (dependency, coalesce(host, '')) where resolved_at is null;
create index incidents_unreleased on incidents using btree (resolved_at) where not released;
comment on table incidents is 'Faults of the deployment, such as a wrong key or a full bucket. While one is open, the jobs that need this dependency wait and use no retry.';
comment on column incidents.dependency is 'What failed: storage, raid, ffmpeg, temp_space.';
comment on column incidents.host is 'The machine, where the dependency belongs to one, such as its disk; null: the dependency of the whole fleet.';
comment on column incidents.message is 'The fault, in the vendor''s words where it gave any. Never a secret.';
comment on column incidents.kinds is 'The kinds whose jobs have met the fault, as queue.kind. Their jobs are held.';
comment on column incidents.last_seen is 'When a job last met the fault.';
comment on column incidents.jobs_held is 'Due jobs that wait, as of checked_at. Counted up to 100,000.';
comment on column incidents.probe_at is 'When one of the held jobs may run next, to see whether the fault is over.';
comment on column incidents.checked_at is 'When a worker last ran the dependency''s own check.';
comment on column incidents.check_ok is 'The check has passed since the last probe.';
comment on column incidents.released is 'The held jobs have tickets again.';

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
  purged_at      timestamptz,
  constraint auction_files_pkey primary key (id),
  constraint auction_files_publish_status_check check (publish_status = any (array['pending', 'processing', 'published', 'failed']))
);
alter table auction_files enable row level security;
create index auction_files_deleted on auction_files using btree (deleted_at) where deleted_at is not null and purged_at is null;
create index auction_files_purged on auction_files using btree (purged_at) where purged_at is not null;
comment on table auction_files is 'Files of auction lots. The publish queue makes their public pictures.';
comment on column auction_files.source_key is 'The key of the original on RAID.';
comment on column auction_files.publish_status is 'Follows the status of the file''s publish job.';
comment on column auction_files.width is 'Width of the original, upright, in pixels.';
comment on column auction_files.bytes is 'Size of the original.';
comment on column auction_files.thumb_url is 'WebP, 400 pixels wide at most.';
comment on column auction_files.display_url is 'WebP, 1600 pixels wide at most.';
comment on column auction_files.deleted_at is 'Soft deletion: jobs of a deleted file publish nothing.';
comment on column auction_files.purged_at is 'Since when its pictures are being deleted from storage. The row is deleted after them, unless the file is undeleted.';

create table media (
  id            uuid        not null default gen_random_uuid(),
  created_at    timestamptz not null default now(),
  status        text        not null default 'PENDING',
  deleted_at    timestamptz,
  source_key    text,
  url           text,
  thumbnail_url text,
  thumbnails    jsonb,
  metadata      jsonb,
  processed_at  timestamptz,
  constraint media_pkey primary key (id),
  constraint media_status_check check (status = any (array['PENDING', 'PROCESSING', 'READY', 'FAILED']))
);
alter table media enable row level security;
comment on table media is 'Uploaded media. The media queue processes them.';
comment on column media.status is 'Follows the status of the file''s media job.';
comment on column media.source_key is 'The key of the original in storage.';
comment on column media.url is 'The processed file.';
comment on column media.thumbnails is 'One object a size: url, key, width, height, bytes, format.';
comment on column media.metadata is 'What was measured of the original.';

create table schedules (
  name         text        not null,
  cron         text        not null,
  time_zone    text        not null default 'UTC',
  queue        text        not null,
  kind         text        not null,
  payload      jsonb       not null default '{}'::jsonb,
  enabled      boolean     not null default true,
  last_tick    timestamptz,
  priority     smallint    not null default 0,
  max_retries  integer,
  overlap      text        not null default 'queue',
  since        timestamptz not null default clock_timestamp(),
  next_tick    timestamptz,
  last_job_id  bigint,
  skipped      bigint      not null default 0,
  skipped_tick timestamptz,
  error        text,
  ping_url     text,
  constraint schedules_pkey primary key (name),
  constraint kind_with_dot check (strpos(kind, '.') = 0),
  constraint payload_too_large check (
case
    when pg_column_size(payload) > 64000 then false
    else octet_length(payload::text) <= 1000000
end),
  constraint schedules_cron_check check (cron ~ '^ *(@[A-Za-z]+|[^[:space:]]+( +[^[:space:]]+){4,5}) *$'),
  constraint schedules_max_retries_check check (max_retries >= 0),
  constraint schedules_name_check check (name ~ '^[^@]+$'),
  constraint schedules_overlap_check check (overlap = any (array['skip', 'queue'])),
  constraint schedules_ping_url_check check (ping_url ~ '^https?://[^[:space:]]+$' and char_length(ping_url) <= 1000),
  constraint schedules_time_zone_check check (('1970-01-01 00:00:00'::timestamp without time zone at time zone time_zone) is not null),
  constraint text_too_long check (char_length(name) <= 200 and char_length(cron) <= 200 and char_length(time_zone) <= 100 and char_length(kind) <= 100 and char_length(error) <= 2000)
);
alter table schedules enable row level security;
comment on table schedules is 'Jobs that are inserted by the clock.';
comment on column schedules.cron is 'Five fields: minute, hour, day of month, month, day of week. Or six, the first for the second. Or a word such as @daily.';
comment on column schedules.time_zone is 'The time zone of cron, such as Europe/Berlin.';
comment on column schedules.queue is 'The queue of its jobs.';
comment on column schedules.enabled is 'While false no job is inserted. Ticks of that time are not made up.';
comment on column schedules.last_tick is 'The last tick that inserted a job, or was skipped.';
comment on column schedules.max_retries is 'The max_retries of its jobs; null: the queue''s.';
comment on column schedules.overlap is 'What a tick does while the last job is pending or processing. queue: it inserts another. skip: it inserts none, and counts itself in skipped.';
comment on column schedules.since is 'Only later ticks count: when the schedule was made or enabled, or when its cron or time zone was changed.';
comment on column schedules.next_tick is 'Written by workers. Null until one has read the schedule, and while it is disabled.';
comment on column schedules.last_job_id is 'The last job that it inserted; or, after a cleanup that ran out of time, the job that continues it.';
comment on column schedules.skipped is 'How many ticks were skipped so far.';
comment on column schedules.skipped_tick is 'The last tick that was skipped.';
comment on column schedules.error is 'Why it inserts nothing, though it is enabled.';
comment on column schedules.ping_url is 'Is asked when a job of the schedule starts (with /start behind it), completes, and fails (/fail), as healthchecks.io has it.';

create table storage_deletions (
  id         bigint           not null default nextval('storage_deletion_ids'::regclass),
  key        text collate "C" not null,
  reason     text             not null,
  bytes      bigint           not null default 0,
  attempts   integer          not null default 0,
  error_code text,
  error      text,
  due_at     timestamptz      not null default clock_timestamp(),
  horizon    xid8,
  created_at timestamptz      not null default clock_timestamp(),
  constraint storage_deletions_pkey primary key (id),
  constraint error_too_long check (char_length(error_code) <= 60 and char_length(error) <= 2000),
  constraint storage_deletions_reason_check check (reason ~ '^[a-z][a-z0-9_]*$')
);
alter table storage_deletions enable row level security;
create index storage_deletions_due_at_idx on storage_deletions using btree (due_at);
create index storage_deletions_key_idx on storage_deletions using btree (key);
comment on table storage_deletions is 'Objects to delete from storage. Whoever deletes what uses an object inserts its key here in the same transaction.';
comment on column storage_deletions.key is 'The key of an object. With a slash at the end, of a folder: all objects in it.';
comment on column storage_deletions.reason is 'What released the object: a cleanup, or a table.';
comment on column storage_deletions.bytes is 'The size, as far as known.';
comment on column storage_deletions.due_at is 'When the deletion is tried next. Infinity: no storage can have such a key, so a person has to look.';
comment on column storage_deletions.horizon is 'The object is deleted only after all transactions up to this one have ended: they may use the key without having seen this row. Null: no worker has seen the row yet.';

create table storage_kept (
  key   text collate "C" not null,
  bytes bigint           not null,
  constraint storage_kept_pkey primary key (key)
);
alter table storage_kept enable row level security;
comment on table storage_kept is 'Objects that were to be deleted while a row still named them. When that row goes, nothing inserts their keys into storage_deletions again, so cleanups check them until no row names them.';

create table storage_holds (
  job_id bigint           not null,
  folder text collate "C" not null,
  constraint storage_holds_pkey primary key (job_id)
);
alter table storage_holds enable row level security;
comment on table storage_holds is 'Folders that media jobs write to while they run. Rows name the objects only when the job completes, so nothing in these folders is deleted until then.';

create table cleanup_logs (
  id          bigint      not null default nextval('cleanup_log_ids'::regclass),
  job_id      bigint      not null,
  kind        text        not null,
  cutoff      timestamptz not null,
  dry_run     boolean     not null,
  scanned     bigint      not null default 0,
  deleted     bigint      not null default 0,
  bytes       bigint      not null default 0,
  skipped     bigint      not null default 0,
  errors      bigint      not null default 0,
  generated   bigint      not null default 0,
  requested   bigint      not null default 0,
  remaining   boolean,
  started_at  timestamptz not null default clock_timestamp(),
  finished_at timestamptz,
  constraint cleanup_logs_pkey primary key (id)
);
alter table cleanup_logs enable row level security;
create unique index cleanup_logs_job_id_idx on cleanup_logs using btree (job_id) where finished_at is null;
create index cleanup_logs_kind_started_at_idx on cleanup_logs using btree (kind, started_at);
comment on table cleanup_logs is 'One row for each run of a cleanup. Each chunk is counted in the transaction that deletes it, so a crash loses no figure.';
comment on column cleanup_logs.cutoff is 'What is younger stays. By the database''s clock, fixed when the run began; a retry of the job keeps it.';
comment on column cleanup_logs.dry_run is 'Nothing was changed: the figures are what a run would have done.';
comment on column cleanup_logs.scanned is 'Rows or objects that were old enough.';
comment on column cleanup_logs.deleted is 'How many of these were deleted, or changed as the kind does instead.';
comment on column cleanup_logs.bytes is 'The size of the objects that storage deleted, as far as known: those of this run, and those that earlier runs had left.';
comment on column cleanup_logs.skipped is 'Rows or objects that were old enough, but are to be kept.';
comment on column cleanup_logs.errors is 'Objects that could not be deleted. They are tried again.';
comment on column cleanup_logs.generated is 'Prekeys made.';
comment on column cleanup_logs.requested is 'Devices that were asked for prekeys.';
comment on column cleanup_logs.remaining is 'Whether something was left to do.';
comment on column cleanup_logs.finished_at is 'Null while it runs, and where the job failed for good.';

create unlogged table storage_listing (
  log_id      bigint           not null,
  key         text collate "C" not null,
  bytes       bigint           not null,
  modified_at timestamptz      not null,
  orphaned    boolean          not null default false,
  constraint storage_listing_pkey primary key (log_id, key)
);
alter table storage_listing enable row level security;
comment on table storage_listing is 'What storage holds, while cleanup.orphaned_media compares it with the tables.';
comment on column storage_listing.orphaned is 'Old enough, and no row names it.';

create table orphan_sightings (
  key     text collate "C" not null,
  bytes   bigint           not null,
  seen_at timestamptz      not null default clock_timestamp(),
  constraint orphan_sightings_pkey primary key (key)
);
alter table orphan_sightings enable row level security;
comment on table orphan_sightings is 'Objects that no row named. One that is still named by no row a day later is deleted.';
comment on column orphan_sightings.seen_at is 'When the object was first seen so.';

create table error_codes (
  code     text not null,
  family   text not null,
  what     text not null,
  cause    text not null,
  solution text not null,
  constraint error_codes_pkey primary key (code),
  constraint error_codes_code_check check (char_length(code) >= 1 and char_length(code) <= 60)
);
alter table error_codes enable row level security;
comment on table error_codes is 'What each error_code means. Rowmill''s own come with its migrations; add rows for yours.';
comment on column error_codes.code is 'postgres_* is for all codes that begin so, *_timeout for all that end so, if they have no row of their own.';
comment on column error_codes.family is 'Where the error comes from: StorageError, FFmpegError, JobError, ...';
comment on column error_codes.what is 'What happened.';
comment on column error_codes.cause is 'Why it mostly happens.';
comment on column error_codes.solution is 'What to do about it.';

create table notifications (
  id             text        not null default (gen_random_uuid())::text,
  message_id     text        not null,
  job_id         bigint,
  target_user_id text,
  channel        text        not null,
  template_id    text,
  payload        jsonb,
  priority       text        not null default 'normal',
  metadata       jsonb       not null default '{}'::jsonb,
  content_hash   text,
  status         text        not null default 'pending',
  created_at     timestamptz not null default clock_timestamp(),
  sent_at        timestamptz,
  constraint notifications_pkey primary key (id),
  constraint notifications_message_id_key unique (message_id),
  constraint notifications_priority_check check (priority = any (array['low', 'normal', 'high', 'critical'])),
  constraint notifications_status_check check (status = any (array['pending', 'sent', 'failed', 'skipped'])),
  constraint too_long check (char_length(id) <= 500 and char_length(message_id) <= 500 and char_length(target_user_id) <= 500 and char_length(template_id) <= 500 and octet_length(metadata::text) <= 100000)
);
alter table notifications enable row level security;
create index notifications_clear on notifications using btree (id) where not starts_with(ltrim(payload::text, '"'), 'sealed:');
create index notifications_created_at_idx on notifications using btree (created_at);
create index notifications_target_user_id_created_at_idx on notifications using btree (target_user_id, created_at) where target_user_id is not null;
comment on table notifications is 'One row for each thing to tell. The job that first meets it makes the row, or uses the one that your API made.';
comment on column notifications.message_id is 'What makes a submission idempotent: a second job with the same message_id sends nothing. Default: job:<id of the job>.';
comment on column notifications.job_id is 'The job that last took it on.';
comment on column notifications.payload is 'What your API wrote for the job to read: it fills in what the payload of the job lacks. Jobs write nothing here. Where the workers have SEAL_KEYS, they seal it.';
comment on column notifications.content_hash is 'An HMAC of what is to be told. Another content under the same message_id is refused: message_id_reused.';

create table notification_deliveries (
  id                  uuid        not null default gen_random_uuid(),
  notification_id     text        not null,
  channel             text        not null,
  recipient_hash      text        not null,
  job_id              bigint,
  attempt             integer,
  status              text        not null default 'queued',
  provider            text,
  provider_message_id text,
  error_code          text,
  created_at          timestamptz not null default clock_timestamp(),
  sending_at          timestamptz,
  sent_at             timestamptz,
  updated_at          timestamptz not null default clock_timestamp(),
  constraint notification_deliveries_pkey primary key (id),
  constraint notification_deliveries_error_code_check check (char_length(error_code) <= 60),
  constraint notification_deliveries_notification_id_channel_recipient_h_key unique (notification_id, channel, recipient_hash),
  constraint notification_deliveries_provider_message_id_check check (char_length(provider_message_id) <= 1000),
  constraint notification_deliveries_status_check check (status = any (array['queued', 'sending', 'sent', 'delivered', 'read', 'failed', 'bounced', 'ambiguous', 'skipped']))
);
alter table notification_deliveries enable row level security;
create index notification_deliveries_ambiguous_idx on notification_deliveries using btree (updated_at) where status = 'ambiguous';
create index notification_deliveries_job_id_idx on notification_deliveries using btree (job_id);
create index notification_deliveries_provider_provider_message_id_idx on notification_deliveries using btree (provider, provider_message_id) where provider_message_id is not null;
create index notification_deliveries_updated_at_idx on notification_deliveries using btree (updated_at);
comment on table notification_deliveries is 'One row for each recipient of a notification on a channel.';
comment on column notification_deliveries.id is 'The idempotency key for providers, and what they name when they report.';
comment on column notification_deliveries.recipient_hash is 'An HMAC of the address, with HASH_KEY.';
comment on column notification_deliveries.attempt is 'Together with job_id the execution that holds the delivery: no other may begin to send it.';
comment on column notification_deliveries.error_code is 'Why it is failed, ambiguous or skipped, or was not sent yet.';

create table notification_events (
  provider          text        not null,
  provider_event_id text        not null,
  delivery_id       uuid,
  event             text        not null,
  detail            jsonb       not null default '{}'::jsonb,
  occurred_at       timestamptz,
  received_at       timestamptz not null default clock_timestamp(),
  constraint notification_events_pkey primary key (provider, provider_event_id),
  constraint notification_events_event_check check (char_length(event) <= 100),
  constraint notification_events_provider_event_id_check check (char_length(provider_event_id) <= 500)
);
alter table notification_events enable row level security;
create index notification_events_delivery_id_idx on notification_events using btree (delivery_id);
create index notification_events_received_at_idx on notification_events using btree (received_at) where delivery_id is null;
comment on table notification_events is 'What providers report. Rows are only added, and each event once.';
comment on column notification_events.detail is 'What a person may read: codes and reasons. Never an address.';

create table notification_templates (
  id         text        not null,
  channel    text        not null,
  locale     text        not null default '',
  subject    text,
  html       text,
  text       text,
  updated_at timestamptz not null default clock_timestamp(),
  constraint notification_templates_pkey primary key (id, channel, locale),
  constraint notification_templates_html_check check (char_length(html) <= 500000),
  constraint notification_templates_id_check check (char_length(id) >= 1 and char_length(id) <= 200),
  constraint notification_templates_locale_check check (locale ~ '^([a-z]{2,3}(-[A-Za-z0-9]{2,8})*)?$'),
  constraint notification_templates_subject_check check (char_length(subject) <= 2000),
  constraint notification_templates_text_check check (char_length(text) <= 500000)
);
alter table notification_templates enable row level security;
comment on table notification_templates is 'Templates of yours. A row goes before the template in the box that has the same id.';
comment on column notification_templates.locale is 'Such as de or pt-BR; empty: for all that have no row of their own.';
comment on column notification_templates.html is 'Handlebars. A job that lacks a variable which the template names fails: missing_variable.';

create table suppressions (
  channel        text        not null,
  recipient_hash text        not null,
  list           text        not null default '',
  reason         text        not null,
  since          timestamptz not null default clock_timestamp(),
  constraint suppressions_pkey primary key (channel, recipient_hash, list),
  constraint suppressions_reason_check check (char_length(reason) >= 1 and char_length(reason) <= 200)
);
alter table suppressions enable row level security;
comment on table suppressions is 'Recipients that must not be written to: hard bounces, complaints, STOP. Delete the row to write to them again.';
comment on column suppressions.list is 'Of which list the recipient does not want to hear; empty: of none.';

create table push_tokens (
  token_hash   text        not null,
  user_id      text        not null,
  token        text        not null,
  platform     text,
  last_seen_at timestamptz not null default clock_timestamp(),
  invalid_at   timestamptz,
  constraint push_tokens_pkey primary key (token_hash),
  constraint push_tokens_platform_check check (platform = any (array['android', 'ios', 'web'])),
  constraint push_tokens_token_check check (char_length(token) <= 8000),
  constraint push_tokens_user_id_check check (char_length(user_id) <= 500)
);
alter table push_tokens enable row level security;
create index push_tokens_clear on push_tokens using btree (token_hash) where not starts_with(ltrim(token, '"'), 'sealed:');
create index push_tokens_user_id_idx on push_tokens using btree (user_id);
comment on table push_tokens is 'The devices of each user. A job that names a user alone goes to all valid ones.';
comment on column push_tokens.token_hash is 'sha256 of the token, in hex: encode(sha256(convert_to(token, ''UTF8'')), ''hex'').';
comment on column push_tokens.token is 'Sealed soon after it was written, where the workers have SEAL_KEYS.';
comment on column push_tokens.invalid_at is 'When the provider said that the token is no longer valid.';

create table webhook_endpoints (
  id              text        not null default (gen_random_uuid())::text,
  url             text        not null,
  secret          text        not null default ('whsec_' || encode(sha256(convert_to(((gen_random_uuid())::text || (gen_random_uuid())::text), 'UTF8'::name)), 'base64')),
  previous_secret text,
  failing_since   timestamptz,
  disabled_at     timestamptz,
  disabled_reason text,
  created_at      timestamptz not null default clock_timestamp(),
  constraint webhook_endpoints_pkey primary key (id),
  constraint webhook_endpoints_disabled_reason_check check (char_length(disabled_reason) <= 200),
  constraint webhook_endpoints_id_check check (id ~ '^[A-Za-z0-9_.-]{1,200}$'),
  constraint webhook_endpoints_previous_secret_check check (previous_secret ~ '^(whsec_[A-Za-z0-9+/]{32,86}={0,2}|sealed:.+)$'),
  constraint webhook_endpoints_secret_check check (secret ~ '^(whsec_[A-Za-z0-9+/]{32,86}={0,2}|sealed:.+)$'),
  constraint webhook_endpoints_url_check check (url ~ '^https?://' and char_length(url) <= 2000)
);
alter table webhook_endpoints enable row level security;
comment on table webhook_endpoints is 'Receivers of webhooks. A job names one by its id. To enable one again: update webhook_endpoints set disabled_at = null, disabled_reason = null, failing_since = null where id = ...';
comment on column webhook_endpoints.secret is 'Signs each request: whsec_ and 24 to 64 bytes as base64. Default: a new one. The receiver needs the same.';
comment on column webhook_endpoints.previous_secret is 'Signs, too. Set it to null when the receiver has the new secret.';
comment on column webhook_endpoints.failing_since is 'When the first request failed after the last one that succeeded. After WEBHOOK_DISABLE_HOURS it is disabled.';
comment on column webhook_endpoints.disabled_at is 'Since when nothing is sent to it: its jobs fail.';

create table rejected_messages (
  id         bigint      not null,
  source     text        not null,
  key        text        not null,
  message_id text,
  headers    jsonb       not null default '{}'::jsonb,
  body       bytea       not null,
  reason     text        not null,
  error      text        not null,
  created_at timestamptz not null default clock_timestamp(),
  tried_at   timestamptz,
  constraint rejected_messages_pkey primary key (id),
  constraint rejected_messages_error_check check (char_length(error) <= 2000),
  constraint rejected_messages_key_check check (char_length(key) <= 1000),
  constraint rejected_messages_message_id_check check (char_length(message_id) <= 1000),
  constraint rejected_messages_reason_check check (char_length(reason) <= 60),
  constraint rejected_messages_source_check check (char_length(source) <= 500)
);
alter table rejected_messages enable row level security;
create unique index rejected_messages_source_message_id_idx on rejected_messages using btree (source, message_id) where message_id is not null;
comment on table rejected_messages is 'Messages that could not become jobs. rowmill rejected resubmit tries again, and deletes those that are jobs then.';
comment on column rejected_messages.source is 'The way in: rabbitmq:<queue>, sqs:<queue>, cloudflare:<queue>.';
comment on column rejected_messages.key is 'What should name the kind. Correct it here, and submit the message again.';
comment on column rejected_messages.message_id is 'The id that the sender gave it.';
comment on column rejected_messages.body is 'As it came. As text: convert_from(body, ''UTF8''). To correct it: set body = convert_to(''{...}'', ''UTF8'').';
comment on column rejected_messages.reason is 'unknown_queue, no_kind, not_utf8, not_json, invalid_header, or refused: by Postgres, for example as too large.';
comment on column rejected_messages.tried_at is 'When it was last submitted again, and rejected again.';

create table bridge_unacked (
  id           bigint      not null,
  fingerprints bytea[]     not null,
  created_at   timestamptz not null default clock_timestamp(),
  constraint bridge_unacked_pkey primary key (id)
);
alter table bridge_unacked enable row level security;
comment on table bridge_unacked is 'One row for each batch of messages without an id whose jobs are committed, and whose acknowledgement is not confirmed yet. A message that is delivered again, and is in such a row, adds no second job.';
comment on column bridge_unacked.fingerprints is 'A hash of each message: two equal messages are in it twice.';

create table bridge_dead (
  job_id    bigint      not null,
  failed_at timestamptz not null,
  constraint bridge_dead_pkey primary key (job_id)
);
alter table bridge_dead enable row level security;
comment on table bridge_dead is 'Dead letters that RabbitMQ has. One that is retried and fails again is published again.';
comment on column bridge_dead.failed_at is 'The completed_at of the job.';

create table job_rollups (
  minutes     smallint    not null,
  at          timestamptz not null,
  queue       text        not null,
  kind        text        not null,
  completed   bigint      not null default 0,
  failed      bigint      not null default 0,
  retried     bigint      not null default 0,
  duration_ms bigint      not null default 0,
  durations   bigint[]    not null default '{}'::bigint[],
  waited_ms   bigint      not null default 0,
  waits       bigint[]    not null default '{}'::bigint[],
  constraint job_rollups_pkey primary key (minutes, at, queue, kind),
  constraint job_rollups_minutes_check check (minutes = any (array[1, 15]))
);
alter table job_rollups enable row level security;
comment on table job_rollups is 'Attempts of the whole fleet, by the minute for a day, and by the quarter of an hour for a month. For charts: what a worker had not written when it was killed is missing.';
comment on column job_rollups.minutes is 'The length of the period: 1 or 15. Every attempt is in a row of each.';
comment on column job_rollups.at is 'When the period begins.';
comment on column job_rollups.kind is '(unknown): kinds that the worker did not know.';
comment on column job_rollups.completed is 'Attempts that completed their job.';
comment on column job_rollups.failed is 'Attempts after which the job was a dead letter.';
comment on column job_rollups.retried is 'Attempts that failed, and after which the job waited for a retry.';
comment on column job_rollups.duration_ms is 'How long these attempts ran, together.';
comment on column job_rollups.durations is 'How many of them ran for up to 1, 1.4, 2, 2.8, 4, ... milliseconds: entry n, from 0, for up to 2 ^ (n / 2).';
comment on column job_rollups.waited_ms is 'How long the jobs that started had been due, together.';
comment on column job_rollups.waits is 'How many of them had been due for how long, as in durations.';

create table queue_counted (
  queue         text        not null,
  waiting       bigint      not null,
  active        bigint      not null,
  completed     bigint      not null,
  failed        bigint      not null,
  delayed       bigint      not null,
  oldest_due_at timestamptz,
  counted_at    timestamptz not null,
  took          interval    not null,
  constraint queue_counted_pkey primary key (queue)
);
alter table queue_counted enable row level security;
comment on table queue_counted is 'The last count of each queue whose live leaf is large. Written by one worker at a time; see queue_counts().';
comment on column queue_counted.oldest_due_at is 'Since when the job that has been due for longest is due.';
comment on column queue_counted.took is 'How long it took: the next count comes after twenty times as long.';

create table operator_actions (
  id       bigint      not null,
  at       timestamptz not null default clock_timestamp(),
  who      text        not null,
  action   text        not null,
  subject  text        not null,
  settings jsonb       not null default '{}'::jsonb,
  outcome  text        not null default '',
  state    text        not null default 'done',
  jobs     bigint,
  changed  bigint      not null default 0,
  after_id bigint,
  until_id bigint,
  step_at  timestamptz,
  ended_at timestamptz,
  constraint operator_actions_pkey primary key (id),
  constraint operator_actions_action_check check (char_length(action) <= 60),
  constraint operator_actions_changed_check check (changed >= 0),
  constraint operator_actions_jobs_check check (jobs >= 0),
  constraint operator_actions_outcome_check check (char_length(outcome) <= 2000),
  constraint operator_actions_state_check check (state = any (array['running', 'done', 'stopped', 'failed'])),
  constraint operator_actions_subject_check check (char_length(subject) <= 4000),
  constraint operator_actions_who_check check (char_length(who) <= 100)
);
alter table operator_actions enable row level security;
create index operator_actions_running on operator_actions using btree (step_at) where state = 'running';
comment on table operator_actions is 'What people did with the dashboard, and actions on many jobs that are being done.';
comment on column operator_actions.who is 'The name that the browser asked for, or that a proxy gave.';
comment on column operator_actions.subject is 'To what: a job, a queue, a schedule; for an action on many jobs, the search that finds them.';
comment on column operator_actions.settings is 'With what: a new priority, a new time.';
comment on column operator_actions.outcome is 'What became of it, in words for people.';
comment on column operator_actions.state is 'running: a step is done now and then. Set it to stopped to stop it, and to running to resume it.';
comment on column operator_actions.jobs is 'How many jobs were meant, as counted before it began. Null: one thing, or too many to count.';
comment on column operator_actions.changed is 'How many jobs it has changed.';
comment on column operator_actions.after_id is 'Jobs up to this id are done.';
comment on column operator_actions.until_id is 'Jobs that were added later are not meant.';
comment on column operator_actions.step_at is 'When the last step ended.';

create table alert_rules (
  condition text     not null,
  enabled   boolean  not null default true,
  patience  interval not null default '00:00:00'::interval,
  minimum   integer  not null default 1,
  means     text     not null,
  constraint alert_rules_pkey primary key (condition),
  constraint alert_rules_minimum_check check (minimum > 0),
  constraint alert_rules_patience_check check (patience >= '00:00:00'::interval)
);
alter table alert_rules enable row level security;
comment on table alert_rules is 'One row for each condition that opens alerts. Change its bound, or set enabled to false: the next sweep follows.';
comment on column alert_rules.patience is 'How long the condition must have lasted, or which time it counts.';
comment on column alert_rules.minimum is 'How many there must be.';
comment on column alert_rules.means is 'What the condition is, and what its bound says.';

create table alerts (
  id               bigint      not null,
  fingerprint      text        not null,
  condition        text        not null,
  subject          text        not null,
  what             text        not null,
  cause            text,
  solution         text        not null,
  query            text        not null,
  count            bigint      not null,
  last_at          timestamptz not null,
  opened_at        timestamptz not null default clock_timestamp(),
  seen_at          timestamptz not null default clock_timestamp(),
  messages         integer     not null default 0,
  last_sent_at     timestamptz,
  told_count       bigint,
  resolved_at      timestamptz,
  resolved_sent_at timestamptz,
  silenced_until   timestamptz,
  silenced_by      text,
  constraint alerts_pkey primary key (id),
  constraint alerts_silenced_by_check check (char_length(silenced_by) <= 200)
);
alter table alerts enable row level security;
create unique index alerts_open on alerts using btree (fingerprint) where resolved_at is null;
create index alerts_resolved_at_idx on alerts using btree (resolved_at);
comment on table alerts is 'One row for each time that a condition opened. Open ones have no resolved_at. Kept for 90 days.';
comment on column alerts.fingerprint is 'condition and subject: one open row for each.';
comment on column alerts.subject is 'What it is about: a kind with its error_code, a queue, a schedule, a bridge.';
comment on column alerts.query is 'The SQL that shows more.';
comment on column alerts.count is 'How many jobs, messages or workers it is now.';
comment on column alerts.last_at is 'When it last happened, such as the last death of a job; for a condition that lasts: when the sweep last saw it.';
comment on column alerts.seen_at is 'When the sweep last saw the condition.';
comment on column alerts.messages is 'In how many messages it was told.';
comment on column alerts.last_sent_at is 'When it was last told. Null: not yet, or it was silenced.';
comment on column alerts.told_count is 'count, as it was last told.';
comment on column alerts.silenced_until is 'Until then nothing is sent about it, nor about the same condition if it opens again.';

create table alert_messages (
  job_id     bigint      not null,
  channel    text        not null,
  alerts     bigint[]    not null,
  created_at timestamptz not null default now(),
  constraint alert_messages_pkey primary key (job_id),
  constraint alert_messages_channel_check check (channel = any (array['email', 'slack', 'webhook']))
);
alter table alert_messages enable row level security;
create index alert_messages_created_at_idx on alert_messages using btree (created_at);
comment on table alert_messages is 'The jobs that told people of alerts. They open no alerts themselves, only alert_channel. Kept for 90 days.';
comment on column alert_messages.alerts is 'The ids of the alerts that the message is about.';

create table alert_turn (
  the_one   boolean     not null default true,
  swept_at  timestamptz not null default '-infinity'::timestamp with time zone,
  pinged_at timestamptz not null default '-infinity'::timestamp with time zone,
  constraint alert_turn_pkey primary key (the_one),
  constraint alert_turn_the_one_check check (the_one)
);
alter table alert_turn enable row level security;
comment on table alert_turn is 'One row. The worker that sweeps the alerts holds its lock, and writes when it did.';
comment on column alert_turn.pinged_at is 'When FLEET_PING_URL was last asked.';

create table event_subscriptions (
  id          bigint      not null,
  queue       text,
  kind        text,
  status      text,
  endpoint_id text        not null,
  enabled     boolean     not null default true,
  created_at  timestamptz not null default clock_timestamp(),
  constraint event_subscriptions_pkey primary key (id),
  constraint event_subscriptions_kind_check check (char_length(kind) <= 100),
  constraint event_subscriptions_status_check check (status = any (array['completed', 'failed', 'cancelled']))
);
alter table event_subscriptions enable row level security;
comment on table event_subscriptions is 'Which ends of jobs are told to which webhook endpoint. An endpoint hears of each end once, however many rows match. One that is disabled hears nothing, also not later.';
comment on column event_subscriptions.queue is 'Null: all queues.';
comment on column event_subscriptions.kind is 'Null: all kinds.';
comment on column event_subscriptions.status is 'Null: completed, failed and cancelled.';

create table schedule_pings (
  job_id   bigint      not null,
  schedule text        not null,
  url      text        not null,
  started  boolean     not null default false,
  tries    integer     not null default 0,
  next_at  timestamptz not null default clock_timestamp(),
  constraint schedule_pings_pkey primary key (job_id)
);
alter table schedule_pings enable row level security;
comment on table schedule_pings is 'The jobs of schedules with a ping_url that have not ended, or whose end is not told.';
comment on column schedule_pings.started is 'It was told that the job has started.';
comment on column schedule_pings.next_at is 'When the next ping may be sent. A worker that sends one moves it: so no two send the same, and another one repeats it if that worker dies.';

create table social_accounts (
  id                bigint      not null,
  platform          text        not null,
  external_id       text        not null,
  name              text,
  access_token      text        not null,
  refresh_token     text,
  access_expires_at timestamptz,
  refreshed_at      timestamptz not null default clock_timestamp(),
  scopes            text[]      not null default '{}'::text[],
  status            text        not null default 'active',
  status_reason     text,
  created_at        timestamptz not null default clock_timestamp(),
  updated_at        timestamptz not null default clock_timestamp(),
  constraint social_accounts_pkey primary key (id),
  constraint social_accounts_access_token_check check (access_token ~ '^sealed:.+$'),
  constraint social_accounts_external_id_check check (char_length(external_id) >= 1 and char_length(external_id) <= 200),
  constraint social_accounts_name_check check (char_length(name) <= 200),
  constraint social_accounts_platform_check check (platform = any (array['tiktok', 'youtube', 'instagram', 'facebook'])),
  constraint social_accounts_platform_external_id_key unique (platform, external_id),
  constraint social_accounts_refresh_token_check check (refresh_token ~ '^sealed:.+$'),
  constraint social_accounts_status_check check (status = any (array['active', 'needs_reconnect', 'disabled'])),
  constraint social_accounts_status_reason_check check (char_length(status_reason) <= 500)
);
alter table social_accounts enable row level security;
comment on table social_accounts is 'Accounts on social platforms. rowmill account add writes them, because the tokens must be sealed.';
comment on column social_accounts.external_id is 'The platform''s id: open_id of TikTok, the channel of YouTube, the user of Instagram, the page of Facebook.';
comment on column social_accounts.refresh_token is 'What a new access token is made of. Of Facebook: the token of the user who manages the page. Null: there is none.';
comment on column social_accounts.access_expires_at is 'Null: it does not expire.';
comment on column social_accounts.status is 'needs_reconnect: the platform no longer accepts its tokens. Its posts wait until somebody adds it again.';

create table social_connects (
  state_hash text        not null,
  platform   text        not null,
  verifier   text        not null,
  expires_at timestamptz not null,
  created_at timestamptz not null default clock_timestamp(),
  account_id bigint,
  constraint social_connects_pkey primary key (state_hash),
  constraint social_connects_platform_check check (platform = any (array['tiktok', 'youtube', 'instagram', 'facebook'])),
  constraint social_connects_verifier_check check (verifier ~ '^sealed:.+$')
);
alter table social_connects enable row level security;
create index social_connects_account_id_idx on social_connects using btree (account_id);
comment on table social_connects is 'Links that connect an account. Each is good for one account, until it expires.';
comment on column social_connects.state_hash is 'sha256 of the parameter state: whoever reads this row cannot make the link.';
comment on column social_connects.verifier is 'Of PKCE, sealed.';
comment on column social_connects.account_id is 'The account that is connected again: the owner must say yes as this account. Null: any account.';

create table social_posts (
  id           bigint      not null,
  account_id   bigint,
  platform     text,
  content      jsonb       not null,
  settings     jsonb       not null default '{}'::jsonb,
  scheduled_at timestamptz not null default clock_timestamp(),
  status       text        not null default 'scheduled',
  step         text        not null default 'prepare',
  state        jsonb       not null default '{}'::jsonb,
  upload_url   text,
  job_id       bigint,
  job_attempt  integer,
  external_id  text,
  url          text,
  reason       text,
  error_code   text,
  error        text,
  created_at   timestamptz not null default clock_timestamp(),
  updated_at   timestamptz not null default clock_timestamp(),
  published_at timestamptz,
  constraint social_posts_pkey primary key (id),
  constraint social_posts_content_check check (octet_length(content::text) <= 100000),
  constraint social_posts_error_check check (char_length(error) <= 2000),
  constraint social_posts_error_code_check check (char_length(error_code) <= 60),
  constraint social_posts_external_id_check check (char_length(external_id) <= 200),
  constraint social_posts_job_id_key unique (job_id),
  constraint social_posts_platform_check check (platform = any (array['tiktok', 'youtube', 'instagram', 'facebook'])),
  constraint social_posts_reason_check check (char_length(reason) <= 500),
  constraint social_posts_settings_check check (octet_length(settings::text) <= 20000),
  constraint social_posts_status_check check (status = any (array['draft', 'scheduled', 'publishing', 'processing', 'published', 'failed', 'unconfirmed', 'cancelled'])),
  constraint social_posts_step_check check (step = any (array['prepare', 'upload', 'submit', 'poll', 'done'])),
  constraint social_posts_url_check check (char_length(url) <= 2000)
);
alter table social_posts enable row level security;
create index social_posts_account_id_published_at_idx on social_posts using btree (account_id, published_at);
create index social_posts_clear on social_posts using btree ((id::text)) where not starts_with(ltrim(upload_url, '"'), 'sealed:');
create index social_posts_scheduled_at_idx on social_posts using btree (scheduled_at) where status = any (array['draft', 'scheduled', 'publishing', 'processing']);
create index social_posts_status_updated_at_idx on social_posts using btree (status, updated_at) where status = any (array['failed', 'unconfirmed']);
comment on table social_posts is 'What is to be published, and what became of it.';
comment on column social_posts.account_id is 'Null: the payload of the job has the token, or the account was removed.';
comment on column social_posts.platform is 'That of the account. A trigger fills it in.';
comment on column social_posts.scheduled_at is 'When it is published: run_at of its job follows.';
comment on column social_posts.step is 'Where publishing goes on.';
comment on column social_posts.state is 'What the platform named: the id of an upload, of a container, how much it has.';
comment on column social_posts.upload_url is 'Where its bytes go while it is uploaded. Whoever has it can upload: sealed where the workers have SEAL_KEYS.';
comment on column social_posts.job_id is 'The job that publishes it.';
comment on column social_posts.job_attempt is 'Together with job_id the execution that holds the post: no other may change it.';
comment on column social_posts.reason is 'What it waits for, such as a rate limit.';

create table social_attempts (
  id          bigint      not null,
  post_id     bigint      not null,
  operation   text        not null default 'submit',
  status      text        not null,
  fingerprint text        not null,
  job_id      bigint      not null,
  job_attempt integer     not null,
  error_code  text,
  error       text,
  resolved_by text,
  created_at  timestamptz not null default clock_timestamp(),
  sent_at     timestamptz,
  ended_at    timestamptz,
  constraint social_attempts_pkey primary key (id),
  constraint social_attempts_error_check check (char_length(error) <= 2000),
  constraint social_attempts_error_code_check check (char_length(error_code) <= 60),
  constraint social_attempts_operation_check check (char_length(operation) <= 40),
  constraint social_attempts_resolved_by_check check (char_length(resolved_by) <= 200),
  constraint social_attempts_status_check check (status = any (array['sending', 'accepted', 'definite_failure', 'ambiguous']))
);
alter table social_attempts enable row level security;
create unique index social_attempts_one on social_attempts using btree (post_id, operation) where status <> 'definite_failure';
create index social_attempts_post_id_idx on social_attempts using btree (post_id);
create index social_attempts_sent_at_idx on social_attempts using btree (sent_at);
comment on table social_attempts is 'One row for each request that cannot be taken back. One attempt of a post may exist that is no definite failure.';
comment on column social_attempts.fingerprint is 'sha256 of what was sent, without tokens.';
comment on column social_attempts.resolved_by is 'The person who said what became of it.';

create table social_post_steps (
  id      bigint      not null,
  post_id bigint      not null,
  status  text        not null,
  step    text        not null,
  reason  text,
  at      timestamptz not null default clock_timestamp(),
  constraint social_post_steps_pkey primary key (id)
);
alter table social_post_steps enable row level security;
create index social_post_steps_post_id_id_idx on social_post_steps using btree (post_id, id);
comment on table social_post_steps is 'The way of each post: a row for each change of status, step or reason. A trigger writes them.';

create table social_limits (
  key        text        not null,
  until      timestamptz not null,
  reason     text        not null,
  updated_at timestamptz not null default clock_timestamp(),
  constraint social_limits_pkey primary key (key),
  constraint social_limits_key_check check (char_length(key) <= 200),
  constraint social_limits_reason_check check (char_length(reason) <= 500)
);
alter table social_limits enable row level security;
comment on table social_limits is 'Until when an account, or all accounts of a platform, are left alone, because the platform said so. Delete the row to try at once.';
comment on column social_limits.key is '`account 7` or `app youtube`; with an operation behind it, only that.';

create table analytics_accounts (
  id          bigint      not null,
  platform    text        not null,
  external_id text        not null,
  name        text,
  time_zone   text        not null default 'UTC',
  final_days  smallint    not null default 3,
  stale_from  date,
  created_at  timestamptz not null default clock_timestamp(),
  constraint analytics_accounts_pkey primary key (id),
  constraint analytics_accounts_external_id_check check (char_length(external_id) >= 1 and char_length(external_id) <= 200),
  constraint analytics_accounts_final_days_check check (final_days >= 0 and final_days <= 30),
  constraint analytics_accounts_name_check check (char_length(name) <= 200),
  constraint analytics_accounts_platform_check check (platform ~ '^[a-z][a-z0-9_]{0,49}$'),
  constraint analytics_accounts_platform_external_id_key unique (platform, external_id),
  constraint analytics_accounts_time_zone_check check (('1970-01-01 00:00:00'::timestamp without time zone at time zone time_zone) is not null)
);
alter table analytics_accounts enable row level security;
comment on table analytics_accounts is 'Accounts of which there are metrics. An account of social_accounts has the same platform and external_id.';
comment on column analytics_accounts.external_id is 'The id that the platform gave the account.';
comment on column analytics_accounts.time_zone is 'Where its days begin. After a change, run analytics.aggregate with `from`.';
comment on column analytics_accounts.final_days is 'A day is final when so many days have passed since: platforms correct figures of the days before.';
comment on column analytics_accounts.stale_from is 'The first day with points that came in since the last analytics.aggregate. Null: none.';

create table analytics_posts (
  id           bigint      not null,
  account_id   bigint      not null,
  external_id  text        not null,
  published_at timestamptz,
  title        text,
  url          text,
  created_at   timestamptz not null default clock_timestamp(),
  constraint analytics_posts_pkey primary key (id),
  constraint analytics_posts_account_id_external_id_key unique (account_id, external_id),
  constraint analytics_posts_external_id_check check (char_length(external_id) >= 1 and char_length(external_id) <= 200),
  constraint analytics_posts_title_check check (char_length(title) <= 500),
  constraint analytics_posts_url_check check (char_length(url) <= 2000)
);
alter table analytics_posts enable row level security;
comment on table analytics_posts is 'Posts of which there are metrics, whoever published them.';
comment on column analytics_posts.external_id is 'The id that the platform gave the post.';
comment on column analytics_posts.published_at is 'Counters stood at 0 before. Null: unknown; then the first day of a post has no value.';

create table analytics_metrics (
  name     text    not null,
  is_level boolean not null default false,
  adds_up  boolean not null default true,
  what     text    not null,
  constraint analytics_metrics_pkey primary key (name),
  constraint analytics_metrics_check check (not (is_level and adds_up)),
  constraint analytics_metrics_name_check check (name ~ '^[a-z][a-z0-9_]{0,59}$')
);
alter table analytics_metrics enable row level security;
comment on table analytics_metrics is 'What the metrics are. One without a row here is a counter that adds up, such as views.';
comment on column analytics_metrics.is_level is 'It is what it is at the end of the day, such as followers, and not what was added during the day.';
comment on column analytics_metrics.adds_up is 'The sum over posts, or over days, means something. Not that of reach: one person may see two posts.';

create table metric_points (
  account_id  bigint      not null,
  post_id     bigint      not null default 0,
  metric      text        not null,
  observed_at timestamptz not null,
  value       bigint,
  cumulative  boolean     not null,
  constraint metric_points_pkey primary key (account_id, post_id, metric, observed_at),
  constraint metric_points_metric_check check (char_length(metric) <= 60),
  constraint metric_points_observed_at_check check (isfinite(observed_at)),
  constraint metric_points_value_check check (value >= '-9007199254740991'::bigint and value <= '9007199254740991'::bigint)
) partition by range (observed_at);
alter table metric_points enable row level security;
comment on table metric_points is 'What platforms said, as they said it. Points that are older than three days are aggregated when stale_from of their account says so, or by analytics.aggregate with `from`.';
comment on column metric_points.post_id is 'A row of analytics_posts; 0: the account itself.';
comment on column metric_points.metric is 'The name of a row of analytics_metrics.';
comment on column metric_points.observed_at is 'When a counter or a level was read. For the amount of a day: that day, at 00:00 UTC whatever the time zone.';
comment on column metric_points.value is 'Null: the platform was asked and did not say.';
comment on column metric_points.cumulative is 'True: the reading of a counter or a level. False: the amount of a day.';

create table metric_points_other partition of metric_points
  default;
alter table metric_points_other enable row level security;
comment on table metric_points_other is 'Points of months that have no partition yet. make_metric_partitions moves them.';

create table metric_daily (
  account_id bigint  not null,
  post_id    bigint  not null default 0,
  metric     text    not null,
  day        date    not null,
  value      bigint,
  decrease   bigint  not null default 0,
  posts      integer,
  missing    integer,
  constraint metric_daily_pkey primary key (account_id, post_id, metric, day),
  constraint metric_daily_decrease_check check (decrease >= 0)
);
alter table metric_daily enable row level security;
comment on table metric_daily is 'The days that analytics.aggregate makes of metric_points. No row, or value null: unknown, which is not 0.';
comment on column metric_daily.post_id is 'A row of analytics_posts; 0: the account.';
comment on column metric_daily.day is 'A day of the account''s time zone.';
comment on column metric_daily.value is 'What a counter grew by on this day; the amount of the day; the level at its end. The account has what the platform says of it, else the sum of its posts.';
comment on column metric_daily.decrease is 'What a counter went down by: platforms take back what was no real view. Such a day''s value is 0. The sum of values less that of decreases is what the counter grew by, if no day is missing.';
comment on column metric_daily.posts is 'Value is the sum of so many posts. Null: it is the platform''s own figure.';
comment on column metric_daily.missing is 'So many posts were known the day before, or are known now, and are not in the sum.';

create table metric_weekly (
  account_id bigint   not null,
  post_id    bigint   not null default 0,
  metric     text     not null,
  week       date     not null,
  value      bigint,
  days       smallint not null,
  constraint metric_weekly_pkey primary key (account_id, post_id, metric, week),
  constraint metric_weekly_days_check check (days >= 0 and days <= 7),
  constraint metric_weekly_week_check check (extract(isodow from week) = 1::numeric)
);
alter table metric_weekly enable row level security;
comment on table metric_weekly is 'Weeks, from Monday. The sum of the days that are known; of a level, the last one. Metrics that do not add up have none.';
comment on column metric_weekly.days is 'How many days of the week are known.';

create table anomalies (
  id          bigint           not null,
  account_id  bigint           not null,
  metric      text             not null,
  day         date             not null,
  value       bigint           not null,
  expected    double precision not null,
  z           double precision not null,
  change      double precision not null,
  days        smallint         not null,
  detected_at timestamptz      not null default clock_timestamp(),
  constraint anomalies_pkey primary key (id),
  constraint anomalies_account_id_metric_day_key unique (account_id, metric, day)
);
alter table anomalies enable row level security;
create index anomalies_day_idx on anomalies using btree (day);
comment on table anomalies is 'Days of accounts that stand out. The method: worker/jobs/analytics/README.md.';
comment on column anomalies.expected is 'The median of the days before, with the usual difference of this weekday.';
comment on column anomalies.z is 'How far the value is from what was expected, in robust standard deviations.';
comment on column anomalies.change is 'The same as a part of what was expected: -0.4 is 40 % less.';
comment on column anomalies.days is 'How many days before it were known, of 56.';

create table analytics_reports (
  id         bigint      not null,
  job_id     bigint,
  first_day  date        not null,
  last_day   date        not null,
  facts      jsonb       not null,
  markdown   text        not null,
  html       text        not null,
  created_at timestamptz not null default clock_timestamp(),
  constraint analytics_reports_pkey primary key (id),
  constraint analytics_reports_check check (first_day <= last_day),
  constraint analytics_reports_job_id_key unique (job_id)
);
alter table analytics_reports enable row level security;
create index analytics_reports_created_at_idx on analytics_reports using btree (created_at);
comment on table analytics_reports is 'What analytics.report wrote.';
comment on column analytics_reports.job_id is 'The job that wrote it. Its repeat writes the same row again.';
comment on column analytics_reports.facts is 'All figures, each with the SQL that it comes from.';

create table schedule_ticks (
  id       bigint      not null,
  schedule text        not null,
  tick     timestamptz,
  at       timestamptz not null default clock_timestamp(),
  job_id   bigint,
  constraint schedule_ticks_pkey primary key (id)
);
alter table schedule_ticks enable row level security;
create index schedule_ticks_schedule_id_idx on schedule_ticks using btree (schedule, id);
comment on table schedule_ticks is 'The last 100 ticks of each schedule.';
comment on column schedule_ticks.tick is 'Null: it was run by hand.';
comment on column schedule_ticks.at is 'When a worker noticed the tick. Later than tick: no worker ran at that time.';
comment on column schedule_ticks.job_id is 'Null: the tick was skipped, because the job before had not ended.';

alter table analytics_posts add constraint analytics_posts_account_id_fkey foreign key (account_id) references analytics_accounts(id) on delete cascade;
alter table anomalies add constraint anomalies_account_id_fkey foreign key (account_id) references analytics_accounts(id) on delete cascade;
alter table event_subscriptions add constraint event_subscriptions_endpoint_id_fkey foreign key (endpoint_id) references webhook_endpoints(id) on update cascade on delete cascade;
alter table event_subscriptions add constraint event_subscriptions_queue_fkey foreign key (queue) references queues(name) on delete cascade;
alter table notification_deliveries add constraint notification_deliveries_notification_id_fkey foreign key (notification_id) references notifications(id) on delete cascade;
alter table notification_events add constraint notification_events_delivery_id_fkey foreign key (delivery_id) references notification_deliveries(id) on delete cascade;
alter table queue_counted add constraint queue_counted_queue_fkey foreign key (queue) references queues(name) on update cascade on delete cascade;
alter table schedule_ticks add constraint schedule_ticks_schedule_fkey foreign key (schedule) references schedules(name) on update cascade on delete cascade;
alter table schedules add constraint schedules_queue_fkey foreign key (queue) references queues(name);
alter table social_attempts add constraint social_attempts_post_id_fkey foreign key (post_id) references social_posts(id) on delete cascade;
alter table social_connects add constraint social_connects_account_id_fkey foreign key (account_id) references social_accounts(id) on delete cascade;
alter table social_post_steps add constraint social_post_steps_post_id_fkey foreign key (post_id) references social_posts(id) on delete cascade;
alter table social_posts add constraint social_posts_account_id_fkey foreign key (account_id) references social_accounts(id) on delete set null;

-- No policies: only the owner, and roles that bypass row level security, get in.


-- Functions -----------------------------------------------------------------------------------------------------------

create function close_objects(objects text[] default null::text[]) returns void
  language plpgsql
  set search_path from current
as $$
declare
  object text;
  roles  text := 'public';
  role   text;
  kept   oid;
begin
  for role in select r.rolname::text from pg_roles r where r.rolname in ('anon', 'authenticated') loop
    roles := pg_catalog.format('%s, %I', roles, role);
  end loop;
  foreach object in array array(select o.object from rowmill_objects o
                                 where objects is null or o.object = any(objects)) loop
    if object like 'routine %' then
      kept := to_regprocedure(substr(object, 9))::oid;
      continue when kept is null;
      if exists (select from pg_depend d
                  where d.refclassid = 'pg_proc'::regclass::oid and d.refobjid = kept
                    and d.classid = 'pg_class'::regclass::oid) then
        execute pg_catalog.format('grant execute on %s to public', object);
        continue;
      end if;
    else
      kept := to_regclass(substr(object, position(' ' in object) + 1))::oid;
      continue when kept is null;
      if exists (select from pg_class c where c.oid = kept and c.relkind in ('r', 'p') and not c.relrowsecurity) then
        execute pg_catalog.format('alter %s enable row level security', object);
      end if;
      if exists (select from pg_class c where c.oid = kept and c.relkind = 'v')
         and current_setting('server_version_num')::int >= 150000 then
        execute pg_catalog.format('alter view %s set (security_invoker = true)', substr(object, 7));
      end if;
    end if;
    execute pg_catalog.format('revoke all on %s from %s cascade', object, roles);
  end loop;
end $$;
comment on function close_objects is 'Revokes every right on what Rowmill made, or on the given objects, from PUBLIC and from Supabase''s anon and authenticated. Enables row level security on tables; views run with the rights of who reads them.';

create function after_migration(made text[]) returns void
  language plpgsql
  set search_path from current
as $$
declare
  lacking record;
begin
  insert into rowmill_objects (object) select m from pg_catalog.unnest(made) m on conflict do nothing;
  perform close_objects(made);
  for lacking in
    select p.relid, a.attname, col_description(j.attrelid, j.attnum::integer) as comment
      from pg_partition_tree(to_regclass('jobs')) p
      join pg_attribute j on j.attrelid = to_regclass('jobs')::oid and j.attnum > 0 and not j.attisdropped
      join pg_attribute a on a.attrelid = p.relid::oid and a.attname = j.attname
     where col_description(a.attrelid, a.attnum::integer)
           is distinct from col_description(j.attrelid, j.attnum::integer)
  loop
    execute pg_catalog.format('comment on column %s.%I is %L', lacking.relid, lacking.attname, lacking.comment);
  end loop;
end $$;
comment on function after_migration is 'Writes down what a migration made, and closes it. Copies the comments on the columns of jobs to each partition.';

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
comment on function json_bytes is 'The length of a value as text. A gigabyte for one that is many times longer than `most`, or that Postgres cannot print.';

create function check_job(queue text, kind text, payload jsonb, result jsonb, dedupe_key text, error_code text, error text) returns void
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

create function jobs_inserted() returns trigger
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
    insert into "rowmill_tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', f.kind, 'ids', array[f.id]), f.run_at, 32767, f.priority
      from fresh f
      join "rowmill_tickets"._private_tasks t on t.identifier = f.queue
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
      perform pg_notify('rowmill_workers', case when ticket.due then pg_catalog.format('due %s 1 %s', ticket.queue, random())
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
comment on function jobs_inserted is 'Makes a ticket for every job inserted pending, and a key for every one inserted into the archive.';

create function job_archived() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  raise exception 'job % of queue % is archived and cannot become %', new.id, new.queue, new.status
    using hint = 'Take it out of the archive in the same statement: set status = ''pending'', archived = false';
end $$;
comment on function job_archived is 'The archive holds only completed and cancelled jobs.';

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
comment on function jobs_mended is 'Makes the columns of a job that was changed by hand agree with its status. Refuses a change of its identity, values that are too large, and the cancelling of a completed job.';

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
    perform pg_notify('rowmill_workers', 'stop') where pg_notification_queue_usage() < 0.9::float8;
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
comment on function jobs_updated is 'Makes new tickets for jobs that became pending, or whose run_at or priority changed. Notifies workers when a running job was taken from them, and clients when a job ended.';

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

create function queues_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  perform pg_notify('rowmill_workers', 'queues') where pg_notification_queue_usage() < 0.9::float8;
  return null;
end $$;
comment on function queues_changed is 'Notifies workers of a pause or a limit. They also poll for it each second.';

create function watch_jobs(parent regclass, queue text default null::text) returns void
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
comment on function watch_jobs is 'Puts the statement triggers on a table of jobs. With the name of a queue, also the row trigger on its done leaf.';

create function create_queue(queue text, batch_size integer, max_retries integer, backoff_ms integer, kind text default null::text) returns void
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
  insert into "rowmill_tickets"._private_tasks (identifier) values (create_queue.queue) on conflict do nothing;
  perform after_migration(array[pg_catalog.format('table %I', parent),
                                pg_catalog.format('table %I', parent || '_live'),
                                pg_catalog.format('table %I', parent || '_done')]);
end $$;
comment on function create_queue is 'Makes a queue: its row in queues, its table <queue>_jobs with a live and a done leaf, and their triggers.';

create function add_tickets(queues text[], kinds text[], ids bigint[], priorities smallint[], run_ats timestamp with time zone[]) returns void
  language plpgsql
  set search_path from current
  set enable_seqscan = off
  set enable_nestloop = on
  set jit = off
  set plan_cache_mode = force_generic_plan
as $$
declare
  always boolean := current_setting('transaction_isolation') in ('repeatable read', 'serializable');
  told   bigint;
begin
  -- The transaction gets its id before the next statement takes its snapshot. A `select add_tickets(...)` has none yet.
  if add_tickets.ids is null or pg_current_xact_id() is null then
    return;
  end if;

  -- One job, which is most inserts, at two thirds of the cost.
  if pg_catalog.cardinality(add_tickets.ids) = 1 then
    insert into "rowmill_tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', kinds[1], 'ids', add_tickets.ids), run_ats[1], 32767,
           priorities[1]
      from "rowmill_tickets"._private_tasks t
     where t.identifier = add_tickets.queues[1];
    if found then
      if run_ats[1] < clock_timestamp() + interval '3 seconds'
         and (always or exists (select from workers w where add_tickets.queues[1] = any(w.notify)))
         and pg_notification_queue_usage() < 0.9::float8 then
        -- random(): Postgres sends only one of several equal notifications of a transaction.
        perform pg_notify('rowmill_workers', case when run_ats[1] <= clock_timestamp()
                                             then pg_catalog.format('due %s 1 %s', add_tickets.queues[1], random())
                                           else 'soon ' || add_tickets.queues[1] end);
      end if;
      return;
    end if;
  end if;

  insert into "rowmill_tickets"._private_tasks (identifier)
  select distinct q
    from pg_catalog.unnest(add_tickets.queues) q
   where not exists (select from "rowmill_tickets"._private_tasks t where t.identifier = q)
      on conflict do nothing;

  with specs as materialized (
    select c.queue, c.kind, c.priority, c.run_at, pg_catalog.json_agg(c.id order by c.id) as ids, min(c.id) as first_id
      from (select j.*,
                   (row_number() over (partition by j.queue, j.kind, j.priority, j.run_at order by j.id) - 1)
                     / coalesce(q.batch_size, 1) as chunk
              from unnest(add_tickets.queues, add_tickets.kinds, add_tickets.ids,
                          add_tickets.priorities, add_tickets.run_ats) as j (queue, kind, id, priority, run_at)
              left join queues q on q.name = j.queue) c
     group by c.queue, c.kind, c.priority, c.run_at, c.chunk
  ), added as (
    insert into "rowmill_tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', s.kind, 'ids', s.ids), s.run_at, 32767, s.priority
      from specs s
      join "rowmill_tickets"._private_tasks t on t.identifier = s.queue
     order by s.first_id
  )
  select count(pg_notify('rowmill_workers', case when n.due > 0
                                            then pg_catalog.format('due %s %s %s', n.queue, n.due, random())
                                          else 'soon ' || n.queue end))
    into told
    from (select s.queue, count(*) filter (where s.run_at <= clock_timestamp()) as due, min(s.run_at) as first_at
            from specs s
           group by s.queue) n
   where (n.due > 0 or n.first_at < clock_timestamp() + interval '3 seconds')
     and (always or exists (select from workers w where n.queue = any(w.notify)))
     and pg_notification_queue_usage() < 0.9::float8;
end $$;
comment on function add_tickets is 'Makes tickets for pending jobs, and notifies the workers that want to be notified.';

create function announce(queues text[], ids bigint[], statuses text[]) returns void
  language plpgsql
  set search_path from current
  set jit = off
as $$
begin
  if exists (select from listeners where until > clock_timestamp() and until < 'infinity')
     and pg_notification_queue_usage() < 0.9::float8 then
    perform pg_notify('rowmill_ended',
                      pg_catalog.json_build_object('queue', c.queue, 'status', c.status,
                                                   'ids', pg_catalog.json_agg(c.id order by c.id))::text)
       from (select e.queue, e.status, e.id,
                    (row_number() over (partition by e.queue, e.status order by e.id) - 1) / 400 as chunk
               from unnest(announce.queues, announce.ids, announce.statuses) as e (queue, id, status)) c
      group by c.queue, c.status, c.chunk;
  end if;
  if exists (select from listeners where until = 'infinity') then
    perform add_events(announce.queues, announce.ids, announce.statuses);
  end if;
end $$;
comment on function announce is 'Notifies clients, if there are any, that jobs ended: at commit, on the channel <schema>_ended (in public: rowmill_ended).';

create function worker_is_alive(worker uuid) returns boolean
  language sql stable
as $$
  select exists (select from pg_locks l
                  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                    and l.database = (select oid from pg_database where datname = current_database())
                    and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(worker::text, 0::bigint))
$$;
comment on function worker_is_alive is 'Whether the session of this row of workers holds its advisory lock.';

create function take_tokens(key text, n integer, rate double precision, patience_ms double precision default 1000) returns double precision
  language plpgsql
  set search_path from current
as $$
#variable_conflict use_column
declare
  burst float8 := greatest(1, rate / 50::float8);
  least_left float8 := - rate * patience_ms / 1000::float8;
  tokens_left float8;
  back_at timestamptz;
begin
  if not rate > 0::float8 or n < 1 or burst - n::float8 < least_left then
    raise exception 'take_tokens: % tokens at % a second cannot be had within % ms', n, rate, patience_ms
      using errcode = 'invalid_parameter_value';
  end if;

  insert into rate_limits as r (key, tokens, updated_at)
  values (take_tokens.key, burst - n::float8, clock_timestamp())
      on conflict (key) do update
     set tokens = least(burst,
                        r.tokens + rate * greatest(0, extract(epoch from clock_timestamp() - r.updated_at)::float8))
                  - n::float8,
         updated_at = clock_timestamp(),
         promised_until = r.promised_until - greatest('0', r.updated_at - clock_timestamp())
   where least(burst, r.tokens + rate * greatest(0, extract(epoch from clock_timestamp() - r.updated_at)::float8))
         - n::float8 >= least_left
  returning tokens into tokens_left;
  if found then
    return greatest(0, - tokens_left / rate * 1000::float8);
  end if;

  update rate_limits r
     set promised_until = greatest(promised_until - greatest('0', updated_at - clock_timestamp()),
                                   clock_timestamp() + pg_catalog.make_interval(secs => patience_ms / 1000::float8))
                          + pg_catalog.make_interval(secs => n::float8 / rate),
         updated_at = least(updated_at, clock_timestamp())
   where r.key = take_tokens.key
  returning promised_until into back_at;
  return extract(epoch from back_at - clock_timestamp())::float8 * 1000::float8;
end $$;
comment on function take_tokens is 'Takes n tokens from a bucket that fills at `rate` a second. Returns the milliseconds to wait: up to patience_ms the tokens were taken, above it none was.';

create function auction_file_id(file text) returns uuid
  language sql immutable
as $$select case when file ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then file::uuid end$$;
comment on function auction_file_id is 'The id of auction_files that a file_id names; null: it can be none.';

create function publish_file_id() returns trigger
  language plpgsql
  set search_path from current
as $$ begin new.file_id := coalesce((case when new.file_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then new.file_id::uuid end)::text, new.file_id); return new; end $$;
comment on function publish_file_id is 'Writes a file_id as Postgres would, such as a uuid in small letters.';

create function media_id(file text) returns uuid
  language sql immutable
as $$select case when file ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then file::uuid end$$;
comment on function media_id is 'The id of media that a file_id names; null: it can be none.';

create function media_file_id() returns trigger
  language plpgsql
  set search_path from current
as $$ begin new.file_id := coalesce((case when new.file_id ~* '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$' then new.file_id::uuid end)::text, new.file_id); return new; end $$;
comment on function media_file_id is 'Writes a file_id as Postgres would, such as a uuid in small letters.';

create function media_job_file() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  select id::text into new.file_id from media where id operator(pg_catalog.=) media_id(new.payload ->> 'mediaId'::text);
  return new;
end $$;
comment on function media_job_file is 'Sets the file_id of a media job from the mediaId of its payload.';

create function publish_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
declare
  file    text;
  known   record;
  latest  text;
  follows auction_files.publish_status%type;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  foreach file in array pg_catalog.array_remove(array[nullif(old.file_id, new.file_id), new.file_id], null) loop
    select f.id, f.publish_status, f.published_at into known
      from auction_files f
     where f.id operator(pg_catalog.=) auction_file_id(file) and f.id::text = file
       for no key update;
    if not found then
      continue when file is not distinct from old.file_id;
      raise exception 'there is no file % in auction_files', file
        using errcode = 'foreign_key_violation',
              detail = pg_catalog.format('Key (file_id)=(%s) is not present in table "auction_files".', file);
    end if;
    latest := (array(select j.status from publish_jobs j
                      where j.file_id = file and j.status <> 'cancelled'
                      order by j.id + 0 desc))[1];
    follows := case
      when latest = 'completed'           then 'published'
      when latest is not null             then latest
      when known.published_at is not null then 'published'
      else                                     'pending'
    end;
    if known.publish_status::text is distinct from follows::text then
      update auction_files set publish_status = follows where id operator(pg_catalog.=) known.id;
    end if;
  end loop;
  return null;
end $$;
comment on function publish_status_follows is 'auction_files.publish_status is the status of the file''s latest publish job. Cancelled jobs do not count. A job of a file that does not exist is refused.';

create function media_status_follows() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
declare
  file    text;
  known   record;
  latest  text;
  follows media.status%type;
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  foreach file in array pg_catalog.array_remove(array[nullif(old.file_id, new.file_id), new.file_id], null) loop
    select m.id, m.status into known
      from media m
     where m.id operator(pg_catalog.=) media_id(file) and m.id::text = file
       for no key update;
    if not found then
      continue when file is not distinct from old.file_id;
      raise exception 'there is no file % in media', file
        using errcode = 'foreign_key_violation',
              detail = pg_catalog.format('Key (file_id)=(%s) is not present in table "media".', file);
    end if;
    latest := (array(select j.status from media_jobs j
                      where j.file_id = file and j.status <> 'cancelled'
                      order by j.id + 0 desc))[1];
    follows := case
      when latest = 'completed' then 'READY'
      when latest is not null   then upper(latest)
      when known.status::text in ('READY', 'FAILED') then known.status::text
      else 'PENDING'
    end;
    if known.status::text is distinct from follows::text then
      update media set status = follows where id operator(pg_catalog.=) known.id;
    end if;
  end loop;
  return null;
end $$;
comment on function media_status_follows is 'media.status is the status of the file''s latest media job. Cancelled jobs do not count. A job of a file that does not exist is refused.';

create function files_truncated() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_argv[0] = 'publish' then
    update auction_files set publish_status = 'pending'
     where publish_status::text in ('processing', 'failed') and published_at is null;
    update auction_files set publish_status = 'published'
     where publish_status::text in ('pending', 'processing', 'failed') and published_at is not null;
  else
    update media set status = 'PENDING' where status::text = 'PROCESSING';
  end if;
  return null;
end $$;
comment on function files_truncated is 'Does to the files what the deletion of every job of the queue would do.';

create function file_gone() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if coalesce(pg_partition_root(tg_relid::regclass)::oid, tg_relid)
     not in ('auction_files'::regclass::oid, 'media'::regclass::oid) then
    raise exception 'table % holds no files of jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  if tg_op = 'UPDATE' then
    if exists (select from jobs j where j.queue = tg_argv[0] and j.file_id = old.id::text) then
      raise exception 'the id of file % cannot be changed: jobs name it', old.id
        using errcode = 'foreign_key_violation';
    end if;
  elsif tg_op = 'TRUNCATE' then
    execute pg_catalog.format('update %I set file_id = null where file_id is not null', tg_argv[0] || '_jobs');
  elsif tg_argv[0] = 'publish' then
    update publish_jobs set file_id = null where file_id = old.id::text;
  else
    update media_jobs set file_id = null where file_id = old.id::text;
  end if;
  return null;
end $$;
comment on function file_gone is 'Jobs outlive their file: its deletion sets their file_id to null. Its id cannot be changed while jobs name it.';

create function on_media_processed(kind text, payload jsonb, result jsonb) returns void
  language plpgsql
  set search_path from current
as $$
declare
  message  text     := payload ->> 'messageId'::text;
  messages regclass := to_regclass('messages');
  keeper   oid      := (select c.relowner from pg_class c where c.oid = messages::oid);
  id_type  text     := (select format_type(atttypid, atttypmod) from pg_attribute
                         where attrelid = messages::oid and attname = 'id' and not attisdropped);
  changes  text;
begin
  if message is null or id_type is null then
    return;
  end if;
  -- The table's triggers, and the checks of its types, run with our rights.
  if not pg_has_role(keeper, current_user, 'member') then
    raise exception 'table messages belongs to %, whose triggers would have the rights of %',
                    keeper::regrole, current_user
      using errcode = 'insufficient_privilege',
            hint = pg_catalog.format('Grant %s to %s, or replace on_media_processed.', current_user, keeper::regrole);
  end if;
  begin
    execute pg_catalog.format('select %L::%s', message, id_type);
  exception
    when invalid_text_representation or numeric_value_out_of_range then
      return;
  end;
  -- Each value in the type of its column: as JSON, as an array, or as text.
  select string_agg(pg_catalog.format('%I = ', a.attname) ||
                    case when a.atttypid in ('json'::regtype::oid, 'jsonb'::regtype::oid)
                           then pg_catalog.format('$1 -> %L::text', w.key)
                         when t.typcategory = 'A'
                           then pg_catalog.format('array(select jsonb_array_elements_text($1 -> %L::text))::%s',
                                                  w.key, a.atttypid::regtype)
                         else pg_catalog.format('$1 ->> %L::text', w.key) end, ', ')
    into changes
    from (values ('media_url',     'url'),
                 ('thumbnail_url', 'thumbnail_url'),
                 ('waveform',      'waveform'),
                 ('metadata',      'metadata')) w (attname, key)
    join pg_attribute a on a.attrelid = messages::oid and a.attname = w.attname::name and not a.attisdropped
    join pg_type t on t.oid = a.atttypid
   where jsonb_typeof(result -> w.key) <> 'null';
  if exists (select from pg_attribute
              where attrelid = messages::oid and attname = 'processed_at' and not attisdropped) then
    changes := pg_catalog.concat_ws(', ', changes, 'processed_at = clock_timestamp()');
  end if;
  if changes is not null then
    -- An untyped literal takes the type of the column, be it uuid, bigint or text.
    execute pg_catalog.format('update messages set %s where id = %L', changes, message) using result;
  end if;
end $$;
comment on function on_media_processed is 'Called when a media job completes, in its transaction. The default updates the table messages, where one exists. Replace it to do anything else.';

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

create function schedules_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  perform pg_notify('rowmill_workers', 'schedules') where pg_notification_queue_usage() < 0.9::float8;
  return null;
end $$;
comment on function schedules_changed is 'Notifies workers of a changed schedule. They also poll each second.';

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
  perform note_tick(schedule.name, null, job_id);
  return job_id;
end $$;
comment on function run_schedule is 'Inserts a job of a schedule now, whether it is enabled or not. Returns the id of the job.';

create function deletion_impossible() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.error := pg_catalog.format('The key is %s bytes long, and no storage has keys above 1024', octet_length(new.key));
  new.error_code := 'key_too_long';
  new.key := left(new.key, 200) || '…';
  new.due_at := 'infinity';
  return new;
end $$;
comment on function deletion_impossible is 'Keeps a key that no storage can have, for a person to see: the index could not take it, and the whole cleanup would fail.';

create function object_units(keys text[]) returns TABLE(key text, unit text, below text)
  language sql immutable
  set search_path from current
as $$
  select k.key, coalesce(f.folder, k.key),
         case when f.folder is null then k.key || chr(1) else left(f.folder, -1) || '0' end
    from pg_catalog.unnest(keys) k (key)
   cross join lateral (select substring(k.key from '^processed/.*-[0-9a-f]{20}/')) f (folder)
$$;
comment on function object_units is 'The unit of each key. Its keys are not less than `unit`, and less than `below`.';

create function object_names(addresses text[], listed jsonb default null::jsonb) returns text[]
  language plpgsql immutable
  set search_path = pg_catalog, pg_temp
as $$
declare
  names   text[] := '{}';
  tries   text[];
  address text;
  path    text;
  folder  text;
begin
  if listed is not null then
    addresses := addresses || array(select s #>> '{}'
                                      from jsonb_path_query(listed, 'lax $.** ? (@.type() == "string")') s);
  end if;
  foreach address in array coalesce(addresses, '{}') loop
    continue when address is null or address like 'data:%';
    path := substring(address from '^[a-zA-Z][a-zA-Z0-9+.-]*://[^/?#]*/(.*)$');
    tries := array[substring(coalesce(path, address) from '^[^?#]*')];
    if path is null then
      -- A key may have any character.
      tries := tries || address;
    end if;
    if tries[1] ~ '%[0-9a-fA-F]{2}' then
      begin
        tries := tries || convert_from(decode((
          select string_agg(case when m.part[1] ~ '^%[0-9a-fA-F]{2}$' then substr(m.part[1], 2)
                                 else encode(convert_to(m.part[1], 'UTF8'), 'hex') end, '' order by m.n)
            from regexp_matches(right(tries[1], 4000), '%[0-9a-fA-F]{2}|[^%]+|%', 'g') with ordinality m (part, n)
        ), 'hex'), 'UTF8');
      exception
        when others then
          null;
      end;
    end if;
    for path in select distinct right(ltrim(t, '/'), 2000) from unnest(tries) t loop
      folder := substring(path from '^(?:.*/)?processed/.*-[0-9a-f]{20}/');
      path := coalesce(folder, path);
      while path <> '' loop
        if octet_length(path) <= 1024 and (folder is null or path like 'processed/%') then
          names := array_append(names, path);
        end if;
        exit when strpos(path, '/') = 0;
        path := substr(path, strpos(path, '/') + 1);
      end loop;
    end loop;
  end loop;
  return names;
end $$;
comment on function object_names is 'The units that addresses, and all strings in a JSON list, may name. For an index on the columns of a table that hold addresses.';

create function messenger_object_uses(keys text[]) returns TABLE(key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
as $$ select null::text, null::text, null::text, false where false $$;
comment on function messenger_object_uses is 'Rows of the messenger''s tables: none until they are made.';

create function application_object_uses(keys text[]) returns TABLE(key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
as $$ select null::text, null::text, null::text, false where false $$;
comment on function application_object_uses is 'Rows of your own tables: replace it. sql/cleanup/README.md has an example.';

create function object_uses(keys text[]) returns TABLE(key text, used_by text, id text, keeps boolean)
  language sql stable
  set search_path from current
  set row_security = off
  set enable_seqscan = off
  set enable_bitmapscan = on
  set enable_hashjoin = on
  set jit = off
as $$
  with units as materialized (select u.key, u.unit, u.below from object_units(keys) u)
  select u.key, 'media'::text, m.id::text, m.deleted_at is null
    from media m
   cross join lateral pg_catalog.unnest(
           object_names(array[m.source_key::text, m.url::text, m.thumbnail_url::text], m.thumbnails)) n (name)
    join units u on u.unit = n.name
   where object_names(array[m.source_key::text, m.url::text, m.thumbnail_url::text], m.thumbnails)
         operator(pg_catalog.&&) array(select unit from units)
   union all
  select u.key, 'auction_files', f.id::text, f.purged_at is null
    from auction_files f
   cross join lateral pg_catalog.unnest(
           object_names(array[f.source_key::text, f.display_url::text, f.thumb_url::text])) n (name)
    join units u on u.unit = n.name
   where object_names(array[f.source_key::text, f.display_url::text, f.thumb_url::text])
         operator(pg_catalog.&&) array(select unit from units)
   union all
  -- Pictures of an earlier original go with the file: their keys begin with its id.
  select u.key, 'auction_files', f.id::text, f.purged_at is null
    from units u
    join auction_files f on f.id operator(pg_catalog.=) auction_file_id(substring(u.key from '^(.*)/[^/]*$'))
   union all
  select u.key, 'media_jobs', j.id::text, j.status <> 'failed'
    from media_jobs j
   cross join lateral pg_catalog.unnest(array[j.payload ->> 's3Key'::text, j.payload ->> 'key'::text,
                                              ltrim(j.payload ->> 'inputPath'::text, '/')]) n (name)
    join units u on u.unit = coalesce(substring(n.name from '^processed/.*-[0-9a-f]{20}/'), n.name)
   where not j.archived and j.status in ('pending', 'processing', 'failed')
   union all
  select u.key, 'storage_holds', h.job_id::text, true
    from storage_holds h
    join media_jobs_live j on j.id = h.job_id and j.status = 'processing'
    join units u on starts_with(u.key, h.folder || '/')
   union all
  select u.key, 'storage_deletions', d.id::text, false
    from units u
    join storage_deletions d on d.key >= u.unit and d.key < u.below
   union all
  select m.key, m.used_by, m.id, m.keeps from messenger_object_uses(keys) m
   union all
  select a.key, a.used_by, a.id, a.keeps from application_object_uses(keys) a
$$;
comment on function object_uses is 'Each row that names one of the objects. `keeps` is false for rows that are deleted, failed or waiting for deletion: a cleanup whose time has come deletes the object all the same.';

create function objects_freed(keys text[], sizes bigint[], users text[]) returns TABLE(bytes bigint, folders text[])
  language sql stable
  set search_path from current
  set enable_hashjoin = on
as $$
  with kept as materialized (
    select distinct s.key
      from object_uses(keys) s
     where s.keeps and s.used_by || ' ' || s.id not in (select u from pg_catalog.unnest(users) u)
  ), freed as materialized (
    select k.key, max(k.bytes) as bytes
      from unnest(keys, sizes) k (key, bytes)
     where k.key not in (select t.key from kept t)
     group by k.key
  ), folders as materialized (
    select f.key from freed f where starts_with(reverse(f.key), '/')
  )
  select coalesce(sum(f.bytes) filter (where u.unit not in (select o.key from folders o)), 0)::bigint,
         array(select o.key from folders o)
    from freed f
    join object_units(array(select g.key from freed g)) u on u.key = f.key
$$;
comment on function objects_freed is 'For a dry run: what storage would lose if the `users`, such as "messages 7", no longer used these keys. `bytes` leaves out the folders.';

create function oldest_transaction() returns xid8
  language sql stable
as $$
  select coalesce((select x
                     from pg_snapshot_xip(pg_current_snapshot()) x
                    where not exists (select from pg_stat_activity a
                                       where a.backend_xid = x::xid and a.datname <> current_database())
                      and not exists (select from pg_prepared_xacts p
                                       where p.transaction = x::xid and p.database <> current_database())
                    order by x limit 1),
                  pg_snapshot_xmax(pg_current_snapshot()))
$$;
comment on function oldest_transaction is 'The oldest transaction that writes and has not ended, unless it is known to be of another database. Where there is none: the next one.';

create function keep_object() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if not pg_has_role((select c.relowner from pg_class c where c.oid = tg_relid), current_user, 'member') then
    raise exception 'table % belongs to another role than keep_object', tg_relid::regclass
      using errcode = 'insufficient_privilege';
  end if;
  perform pg_current_xact_id();
  delete from storage_deletions d using object_units(array[pg_catalog.to_jsonb(new) ->> tg_argv[0]]) u
   where d.key >= u.unit and d.key < u.below;
  return new;
end $$;
comment on function keep_object is 'A trigger for tables that name objects; its argument is the column with the key. A key that is used again is not deleted.';

create function file_undeleted() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  new.purged_at := null;
  return new;
end $$;
comment on function file_undeleted is 'A file that is no longer deleted is not purged.';

create function file_recovered() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_seqscan = off
as $$
begin
  if tg_relid <> 'auction_files'::regclass::oid then
    raise exception 'table % is not auction_files', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  delete from storage_deletions
   where key >= pg_catalog.format('%s/', new.id) collate "C" and key < pg_catalog.format('%s0', new.id) collate "C";
  if new.source_key is not null then
    insert into publish_jobs (file_id) values (new.id);
  end if;
  return null;
end $$;
comment on function file_recovered is 'Keeps the pictures that are still there, and has the others made again.';

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
comment on function take_key is 'Whether a new job has its dedupe_key. A key may be held by a job that does not exist or does not have it: an insert that was skipped by `on conflict do nothing` leaves its key, and so does a DELETE that names a leaf. Such a key is taken over.';

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
comment on function job_new is 'Refuses a new row that is too large, skips a job whose key is taken, and fills in the row: the queue''s max_retries, and what belongs to its status.';

create function notification_terms() returns trigger
  language plpgsql
  set search_path from current
as $$
declare
  seconds numeric;
begin
  if new.priority = 0 then
    new.priority := case new.payload ->> 'priority' when 'critical' then -20 when 'high' then -10 when 'low' then 10
                                                    else 0 end;
  end if;
  if new.expires_at is null and jsonb_typeof(new.payload -> 'ttl') = 'number' then
    seconds := (new.payload ->> 'ttl')::numeric;
    if seconds > 0::numeric and seconds < 31536000::numeric then
      new.expires_at := greatest(new.created_at, new.run_at) + pg_catalog.make_interval(secs => seconds::float8);
    end if;
  end if;
  return new;
end $$;
comment on function notification_terms is 'Sets a new job''s priority by the word in its payload, and expires_at by its ttl in seconds, where the insert sets none.';

create function notification_ends() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  update notifications n set status = case new.status when 'failed' then 'failed' else 'skipped' end
   where n.status = 'pending'
     and (n.id = new.payload ->> 'notification_id'
          or n.id in (select d.notification_id from notification_deliveries d where d.job_id = new.id));
  update notification_deliveries d
     set status = case when d.status = 'sending' then 'ambiguous' when new.status = 'failed' then 'failed'
                       else 'skipped' end,
         error_code = new.error_code, updated_at = clock_timestamp()
   where d.job_id = new.id and d.status in ('queued', 'sending');
  return null;
end $$;
comment on function notification_ends is 'What was not sent when its job failed has failed, and is skipped when the job was cancelled, also because it expired. What was being sent is ambiguous: in the same statement, so that only a person tries it again.';

create function retry_delay(backoff_ms integer, retry_count integer, backoff text default 'exponential') returns interval
  language sql
as $$
  select pg_catalog.make_interval(
    secs => least(backoff_ms::float8 / 1000::float8
                  * case backoff when 'linear' then retry_count::float8 + 1::float8
                                 else 2::float8 ^ least(retry_count, 30)::float8 end, 21600)
            * (1::float8 + random() / 10::float8))
$$;
comment on function retry_delay is 'The wait before a job''s next retry.';

create function pause_tokens(key text, rate double precision, pause_ms double precision) returns void
  language plpgsql
  set search_path from current
as $$
#variable_conflict use_column
begin
  insert into rate_limits as r (key, tokens, updated_at, promised_until)
  values (pause_tokens.key, - rate * pause_ms / 1000::float8, clock_timestamp(),
          clock_timestamp() + pg_catalog.make_interval(secs => pause_ms / 1000::float8))
      on conflict (key) do update
     set tokens = least(excluded.tokens,
                        r.tokens + rate * greatest(0, extract(epoch from clock_timestamp() - r.updated_at)::float8)),
         updated_at = excluded.updated_at,
         promised_until = greatest(r.promised_until, excluded.promised_until);
end $$;
comment on function pause_tokens is 'Lets nobody take tokens from a bucket for so many milliseconds: for a service that says when to come back.';

create function put_values(document jsonb, changes jsonb) returns jsonb
  language plpgsql immutable
  set search_path from current
as $$
declare
  change record;
begin
  for change in
    select c.place, c.was, c.value
      from pg_catalog.jsonb_to_recordset(changes) as c (place text[], was jsonb, value jsonb)
  loop
    if change.was is null or document #> change.place = change.was then
      document := case when pg_catalog.cardinality(change.place) = 0 then change.value
                       else pg_catalog.jsonb_set(document, change.place, change.value, false) end;
    end if;
  end loop;
  return document;
end $$;
comment on function put_values is 'A document with other values in some places. A change with `was` is made only if that is the value there.';

create function count_queue(queue text) returns queue_counted
  language plpgsql
  set search_path from current
  set jit = off
as $$
declare
  began timestamptz := clock_timestamp();
  counted queue_counted;
begin
  execute pg_catalog.format($q$
    select %1$L,
           count(*) filter (where status = 'pending' and run_at <= now()),
           count(*) filter (where status = 'processing'),
           count(*) filter (where status = 'completed')
             + coalesce((select archived_completed from queues where name = %1$L), 0),
           count(*) filter (where status = 'failed'),
           count(*) filter (where status = 'pending' and run_at > now()),
           min(case when isfinite(run_at) then run_at else created_at end)
             filter (where status = 'pending' and run_at <= now())
      from %2$I
    $q$, count_queue.queue, count_queue.queue || '_jobs_live') into counted;
  counted.counted_at := began;
  counted.took := clock_timestamp() - began;
  return counted;
end $$;
comment on function count_queue is 'Counts the jobs of one queue. Its time grows with the queue''s live leaf.';

create function queue_counts() returns TABLE(queue text, paused boolean, waiting bigint, active bigint, completed bigint, failed bigint, delayed bigint, oldest_due_s double precision, counted_at timestamp with time zone)
  language sql
  set search_path from current
as $$
  select q.name, q.paused, c.waiting, c.active, c.completed, c.failed, c.delayed,
         case when c.oldest_due_at < clock_timestamp()
              then extract(epoch from clock_timestamp() - c.oldest_due_at)::float8 end,
         c.counted_at
    from queues q
    left join queue_counted k on k.queue = q.name
     and k.counted_at > clock_timestamp() - greatest('2 minutes', k.took * 60::float8)
     and pg_relation_size(to_regclass(quote_ident(q.name || '_jobs_live'))) > 32 * 1024 * 1024
  cross join lateral (select k.* where k.queue is not null
                       union all
                      select c.* from count_queue(q.name) c where k.queue is null) c
   where to_regclass(quote_ident(q.name || '_jobs_live')) is not null
   order by q.name
$$;
comment on function queue_counts is 'How many jobs each queue holds, in milliseconds also for large queues. counted_at: how old the numbers are.';

create function count_large_queues() returns bigint
  language sql
  set search_path from current
as $$
  with counted as (
    insert into queue_counted as k
    select c.*
      from queues q
      left join queue_counted k on k.queue = q.name
     cross join lateral count_queue(q.name) c
     where pg_relation_size(to_regclass(quote_ident(q.name || '_jobs_live'))) > 32 * 1024 * 1024
       and (k.queue is null
            or clock_timestamp() not between k.counted_at
                                         and k.counted_at + greatest('10 seconds', k.took * 20::float8))
        on conflict (queue) do update
       set waiting = excluded.waiting, active = excluded.active, completed = excluded.completed,
           failed = excluded.failed, delayed = excluded.delayed, oldest_due_at = excluded.oldest_due_at,
           counted_at = excluded.counted_at, took = excluded.took
    returning true
  )
  select count(*) from counted
$$;
comment on function count_large_queues is 'Counts the queues whose live leaf is above 32 MB, if it is time.';

create function explain_code(code text, out what text, out cause text, out solution text) returns record
  language sql stable
  set search_path from current
as $$
  select e.what, e.cause, e.solution from error_codes e
   where e.code in (explain_code.code, split_part(explain_code.code, '_', 1) || '_*',
                    '*' || substr(explain_code.code, strpos(explain_code.code, '_')))
   order by e.code = explain_code.code desc, e.code like '%*' desc
   limit 1
$$;
comment on function explain_code is 'What error_codes says of an error_code, or of the family that it belongs to.';

create function counted(many bigint, one text) returns text
  language sql immutable
  set search_path from current
as $$
  select pg_catalog.format('%s %s%s', pg_catalog.ltrim(to_char(many, '999,999,999,999')), one,
                           case when many = 1 then '' else 's' end)
$$;
comment on function counted is '3 jobs, 1 job.';

create function minute_of(moment timestamp with time zone) returns text
  language sql immutable
  set search_path from current
as $$
  select to_char(moment at time zone 'UTC', 'YYYY-MM-DD HH24:MI "UTC"')
$$;
comment on function minute_of is 'A time for people.';

create function add_events(queues text[], ids bigint[], statuses text[]) returns void
  language plpgsql
  set search_path from current
  set enable_seqscan = off
  set jit = off
as $$
begin
  insert into notification_jobs (kind, priority, dedupe_key, payload)
  select 'webhook', 10, 'rowmill:event:' || gen_random_uuid()::text,
         jsonb_build_object('webhook', jsonb_build_object(
           'endpoint', s.endpoint_id,
           'event', 'job.' || e.status,
           'body', jsonb_build_object(
             'type', 'job.' || e.status,
             'timestamp', j.completed_at,
             'data', jsonb_build_object(
               'id', j.id, 'queue', j.queue, 'kind', j.kind, 'status', e.status, 'attempt', j.attempt,
               'error_code', j.error_code, 'file_id', j.file_id, 'dedupe_key', j.dedupe_key,
               'created_at', j.created_at, 'started_at', j.started_at, 'completed_at', j.completed_at))))
    from unnest(add_events.queues, add_events.ids, add_events.statuses) with ordinality as e (queue, id, status, n)
   cross join lateral (select * from jobs where queue = e.queue and id = e.id limit 1) j
   cross join lateral (select distinct b.endpoint_id
                         from event_subscriptions b
                         join webhook_endpoints w on w.id = b.endpoint_id
                        where b.enabled and w.disabled_at is null
                          and (b.queue is null or b.queue = j.queue) and (b.kind is null or b.kind = j.kind)
                          and (b.status is null or b.status = e.status)) s
   where j.dedupe_key is null or j.dedupe_key not like 'rowmill:%'
   order by e.n;
end $$;
comment on function add_events is 'Adds a job notification.webhook for each endpoint that wants to hear that a job ended.';

create function event_subscriptions_changed() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  -- One at a time: of two that run at once, each would not see the rows of the other.
  perform pg_advisory_xact_lock(hashtextextended('rowmill events ' || current_schema()::text, 0::bigint));
  if exists (select from event_subscriptions where enabled) then
    insert into listeners (id, until) values ('00000000-0000-0000-0000-000000000000', 'infinity')
        on conflict do nothing;
  else
    delete from listeners where until = 'infinity';
  end if;
  return null;
end $$;
comment on function event_subscriptions_changed is 'Keeps the row of the subscriptions in listeners.';

create function schedule_pinged() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  insert into schedule_pings (job_id, schedule, url) values (new.last_job_id, new.name, new.ping_url)
      on conflict do nothing;
  return null;
end $$;
comment on function schedule_pinged is 'Remembers to ping the ping_url of a schedule that has a new job.';

create function social_post_job() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  if new.account_id is not null then
    select a.platform into new.platform from social_accounts a where a.id = new.account_id;
  end if;
  new.updated_at := clock_timestamp();
  if tg_op = 'UPDATE' then
    if new.status = 'cancelled' and old.status <> 'cancelled' and old.status <> 'draft' then
      if old.status in ('published', 'processing', 'unconfirmed')
         or exists (select from social_attempts a where a.post_id = new.id and a.status <> 'definite_failure') then
        raise exception 'post % has been submitted: it can no longer be cancelled', new.id
          using errcode = 'object_not_in_prerequisite_state';
      end if;
    end if;
    if new.status = 'scheduled' and old.status in ('published', 'processing', 'unconfirmed') then
      raise exception 'post % is %: it cannot be scheduled again', new.id, old.status
        using errcode = 'object_not_in_prerequisite_state',
              hint = 'Insert another row, or say what became of it: rowmill post resolve.';
    end if;
  end if;
  if new.status = 'scheduled' and new.job_id is null then
    insert into social_jobs (kind, payload, run_at)
    values ('publish', pg_catalog.jsonb_build_object('postId', new.id), new.scheduled_at)
    returning id into new.job_id;
  end if;
  return new;
end $$;
comment on function social_post_job is 'Adds the job of a post that is scheduled, and refuses to cancel one that was submitted.';

create function social_post_moved() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  if tg_op = 'INSERT' or (new.status, new.step, new.reason) is distinct from (old.status, old.step, old.reason) then
    insert into social_post_steps (post_id, status, step, reason) values (new.id, new.status, new.step, new.reason);
  end if;
  if tg_op = 'INSERT' then
    return null;
  end if;
  if new.status = 'cancelled' and old.status <> 'cancelled' then
    update social_jobs set status = 'cancelled' where id = new.job_id and status in ('pending', 'processing');
  elsif new.status = 'scheduled' and old.status in ('failed', 'cancelled') then
    update social_jobs set status = 'pending', archived = false, retry_count = 0, run_at = new.scheduled_at
     where id = new.job_id and status in ('failed', 'cancelled', 'completed');
  elsif new.status = 'scheduled' and new.scheduled_at is distinct from old.scheduled_at then
    update social_jobs set run_at = new.scheduled_at where id = new.job_id and status = 'pending';
  end if;
  return null;
end $$;
comment on function social_post_moved is 'Writes the way of a post down. Its job follows scheduled_at and status.';

create function social_job_ends() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  update social_attempts a
     set status = 'ambiguous', error_code = coalesce(a.error_code, new.error_code), ended_at = clock_timestamp()
    from social_posts p
   where p.job_id = new.id and a.post_id = p.id and a.status = 'sending';
  update social_posts p
     set status = case when exists (select from social_attempts a
                                     where a.post_id = p.id and a.status in ('sending', 'ambiguous', 'accepted'))
                       then 'unconfirmed' when new.status = 'failed' then 'failed' else 'cancelled' end,
         error_code = coalesce(new.error_code, p.error_code), error = coalesce(new.error, p.error), reason = null
   where p.job_id = new.id and p.status in ('scheduled', 'publishing', 'processing');
  return null;
end $$;
comment on function social_job_ends is 'A post whose job failed has failed, or is unconfirmed if the platform may have it. In the same statement, so that only a person tries it again.';

create function social_account_moved() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  update social_jobs j set run_at = clock_timestamp()
    from social_posts p
   where p.account_id = new.id and p.status in ('scheduled', 'publishing', 'processing')
     and p.scheduled_at <= clock_timestamp() and j.id = p.job_id and j.status = 'pending';
  return null;
end $$;
comment on function social_account_moved is 'The posts of an account that was connected again go on at once.';

create function make_metric_partitions(first timestamp with time zone, last timestamp with time zone) returns integer
  language plpgsql
  set search_path from current
as $$
declare
  month timestamp;
  leaf  text;
  made  integer := 0;
begin
  for month in select m from pg_catalog.generate_series(date_trunc('month', first at time zone 'UTC'),
                                                        last at time zone 'UTC', interval '1 month') m loop
    leaf := 'metric_points_' || to_char(month, 'YYYY_MM');
    continue when to_regclass(leaf) is not null;
    perform pg_advisory_xact_lock(hashtextextended('metric_points', 0::bigint));
    -- to_regclass would still say what it said before the wait.
    continue when exists (select from pg_class c
                           where c.relname = leaf::name
                             and c.relnamespace = (select p.relnamespace from pg_class p
                                                    where p.oid = 'metric_points'::regclass::oid));
    execute pg_catalog.format('create table %I (like metric_points including all)', leaf);
    execute pg_catalog.format(
      'with moved as (delete from metric_points_other where observed_at >= %L and observed_at < %L returning *) '
      'insert into %I select * from moved',
      month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC', leaf);
    execute pg_catalog.format('alter table metric_points attach partition %I for values from (%L) to (%L)',
                              leaf, month at time zone 'UTC', (month + interval '1 month') at time zone 'UTC');
    execute pg_catalog.format('comment on table %I is %L', leaf, 'Points of ' || to_char(month, 'YYYY-MM') || '.');
    perform after_migration(array[pg_catalog.format('table %I', leaf)]);
    made := made + 1;
  end loop;
  return made;
end $$;
comment on function make_metric_partitions is 'Makes the partitions of metric_points for the months of a period. Returns how many were missing.';

create function drop_metric_partition(leaf text) returns boolean
  language plpgsql
  set search_path from current
  set lock_timeout = 5000
as $$
begin
  if not exists (select from pg_inherits i
                  where i.inhparent = 'metric_points'::regclass::oid and i.inhrelid = to_regclass(leaf)::oid
                    and leaf ~ '^metric_points_[0-9]{4}_[0-9]{2}$') then
    return false;
  end if;
  execute pg_catalog.format('drop table %I', leaf);
  delete from rowmill_objects o where o.object = 'table ' || pg_catalog.quote_ident(leaf);
  return true;
end $$;
comment on function drop_metric_partition is 'Drops a monthly partition of metric_points. Returns false if there is none of this name.';

create function forget_metrics() returns trigger
  language plpgsql
  set search_path from current
as $$
declare
  one_post bigint := case when tg_argv[0] = 'post' then old.id end;
  account  bigint := case when tg_argv[0] = 'post' then (to_jsonb(old) ->> 'account_id')::bigint else old.id end;
begin
  delete from metric_points where account_id = account and (one_post is null or post_id = one_post);
  delete from metric_daily  where account_id = account and (one_post is null or post_id = one_post);
  delete from metric_weekly where account_id = account and (one_post is null or post_id = one_post);
  return null;
end $$;
comment on function forget_metrics is 'Deletes the metrics of a deleted account or post.';

create function engagement(first_day date, last_day date, accounts bigint[] default null::bigint[]) returns TABLE(account_id bigint, post_id bigint, views bigint, likes bigint, comments bigint, shares bigint, saves bigint, engagements bigint, rate double precision, formula text)
  language sql stable
  set search_path from current
as $$
  select s.account_id, s.post_id, s.views, s.likes, s.comments, s.shares, s.saves, e.engagements,
         case when s.views > 0::bigint then e.engagements::float8 / s.views::float8 end,
         '(' || pg_catalog.concat_ws(' + ',
           case when s.likes is not null then 'likes'::text end,
           case when s.comments is not null then 'comments'::text end,
           case when s.shares is not null then 'shares'::text end,
           case when s.saves is not null then 'saves'::text end) || ') / views'
    from (select d.account_id, d.post_id,
                 (sum(d.value) filter (where d.metric = 'views'))::bigint as views,
                 (sum(d.value) filter (where d.metric = 'likes'))::bigint as likes,
                 (sum(d.value) filter (where d.metric = 'comments'))::bigint as comments,
                 (sum(d.value) filter (where d.metric = 'shares'))::bigint as shares,
                 (sum(d.value) filter (where d.metric = 'saves'))::bigint as saves
            from metric_daily d
           where d.day between engagement.first_day and engagement.last_day
             and (engagement.accounts is null or d.account_id = any(engagement.accounts))
             and d.metric in ('views', 'likes', 'comments', 'shares', 'saves')
           group by d.account_id, d.post_id) s
   cross join lateral (
     select case when pg_catalog.num_nonnulls(s.likes, s.comments, s.shares, s.saves) > 0 then
              coalesce(s.likes, 0::bigint) + coalesce(s.comments, 0::bigint)
              + coalesce(s.shares, 0::bigint) + coalesce(s.saves, 0::bigint) end as engagements) e
$$;
comment on function engagement is 'Engagement of a period, by account and post (post_id 0: the account): sums over sums, with the formula. Rate is null without views. What a platform does not say is not in the formula.';

create function queue_paused() returns trigger
  language plpgsql
  set search_path from current
as $$
begin
  if not new.paused then
    new.paused_at := null;
    new.paused_by := null;
    return new;
  end if;
  new.paused_at := clock_timestamp();
  if new.paused_by is null then
    new.paused_by := substr(pg_catalog.concat_ws(' with ', session_user,
                                                 nullif(current_setting('application_name'), '')), 1, 200);
  end if;
  return new;
end $$;
comment on function queue_paused is 'Writes down who paused a queue, and when.';

create function note_tick(schedule text, tick timestamp with time zone, job_id bigint) returns void
  language sql
  set search_path from current
as $$
  delete from schedule_ticks t
   where t.schedule = $1
     and t.id <= (select k.id from schedule_ticks k where k.schedule = $1 order by k.id desc offset 99 limit 1);
  insert into schedule_ticks (schedule, tick, job_id) values ($1, $2, $3)
$$;
comment on function note_tick is 'Adds a tick to schedule_ticks, and forgets the oldest of a hundred.';

create index auction_files_addresses on auction_files using gin (object_names(array[source_key, display_url, thumb_url])) with (fastupdate=off);
create index media_addresses on media using gin (object_names(array[source_key, url, thumbnail_url], thumbnails)) with (fastupdate=off);


-- Triggers ------------------------------------------------------------------------------------------------------------

create trigger queues_changed after update of paused, timeout_ms, rate_limit on queues
  for each statement execute function queues_changed();
create trigger queue_paused before update of paused on queues
  for each row when (new.paused <> old.paused)
  execute function queue_paused();

create trigger jobs_inserted after insert on jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on jobs
  for each statement execute function jobs_deleted();
create trigger job_new before insert on jobs
  for each row when (not new.archived or new.max_retries is null or new.completed_at is null or new.locked_by is not null)
  execute function job_new();

create trigger job_astray before insert on jobs_of_no_queue
  for each row execute function job_astray();

create trigger jobs_inserted after insert on publish_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on publish_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on publish_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on publish_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on publish_jobs
  for each statement execute function jobs_deleted('publish');
create trigger publish_file_id before insert on publish_jobs
  for each row when (new.file_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
  execute function publish_file_id();
create trigger publish_status_insert after insert on publish_jobs
  for each row when (new.file_id is not null and not new.archived)
  execute function publish_status_follows();
create trigger publish_status_update after update on publish_jobs
  for each row when (num_nonnulls(new.file_id, old.file_id) > 0 and (new.status <> old.status or new.file_id is distinct from old.file_id))
  execute function publish_status_follows();
create trigger publish_status_delete after delete on publish_jobs
  for each row when (old.file_id is not null and (old.status = any (array['pending', 'processing', 'failed'])))
  execute function publish_status_follows();
create trigger publish_status_truncate after truncate on publish_jobs
  for each statement execute function files_truncated('publish');

create trigger job_archived before insert or update on publish_jobs_done
  for each row when (new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_archived();

create trigger jobs_inserted after insert on media_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on media_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on media_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on media_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on media_jobs
  for each statement execute function jobs_deleted('media');
create trigger media_file_id before insert on media_jobs
  for each row when (new.file_id !~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$')
  execute function media_file_id();
create trigger media_job_file before insert on media_jobs
  for each row when (new.file_id is null and new.payload ? 'mediaId' and not new.archived)
  execute function media_job_file();
create trigger media_status_insert after insert on media_jobs
  for each row when (new.file_id is not null and not new.archived)
  execute function media_status_follows();
create trigger media_status_update after update on media_jobs
  for each row when (num_nonnulls(new.file_id, old.file_id) > 0 and (new.status <> old.status or new.file_id is distinct from old.file_id))
  execute function media_status_follows();
create trigger media_status_delete after delete on media_jobs
  for each row when (old.file_id is not null and (old.status = any (array['pending', 'processing', 'failed'])))
  execute function media_status_follows();
create trigger media_status_truncate after truncate on media_jobs
  for each statement execute function files_truncated('media');

create trigger job_archived before insert or update on media_jobs_done
  for each row when (new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_archived();

create trigger jobs_inserted after insert on notification_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on notification_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on notification_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on notification_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on notification_jobs
  for each statement execute function jobs_deleted('notification');
create trigger notification_terms before insert on notification_jobs
  for each row when (not new.archived and (new.payload ? 'priority' or new.payload ? 'ttl'))
  execute function notification_terms();
create trigger notification_ends after update on notification_jobs
  for each row when ((new.status = any (array['failed', 'cancelled'])) and old.status <> new.status)
  execute function notification_ends();

create trigger job_archived before insert or update on notification_jobs_done
  for each row when (new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_archived();

create trigger jobs_inserted after insert on social_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on social_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on social_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on social_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on social_jobs
  for each statement execute function jobs_deleted('social');
create trigger social_job_ends after update on social_jobs
  for each row when (new.kind = 'publish' and (new.status = any (array['failed', 'cancelled'])) and old.status <> new.status)
  execute function social_job_ends();

create trigger job_archived before insert or update on social_jobs_done
  for each row when (new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_archived();

create trigger jobs_inserted after insert on analytics_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on analytics_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on analytics_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on analytics_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on analytics_jobs
  for each statement execute function jobs_deleted('analytics');

create trigger job_archived before insert or update on analytics_jobs_done
  for each row when (new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_archived();

create trigger jobs_inserted after insert on cleanup_jobs
  referencing new table as fresh
  for each statement execute function jobs_inserted();
create trigger jobs_mended after update on cleanup_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_mended();
create trigger jobs_updated after update on cleanup_jobs
  referencing old table as stale new table as fresh
  for each statement execute function jobs_updated();
create trigger jobs_deleted after delete on cleanup_jobs
  referencing old table as stale
  for each statement execute function jobs_deleted();
create trigger jobs_truncated after truncate on cleanup_jobs
  for each statement execute function jobs_deleted('cleanup');

create trigger job_archived before insert or update on cleanup_jobs_done
  for each row when (new.archived and (new.status <> all (array['completed', 'cancelled'])))
  execute function job_archived();

create trigger file_gone after delete on auction_files
  for each row execute function file_gone('publish');
create trigger file_renamed after update of id on auction_files
  for each row when (new.id is distinct from old.id)
  execute function file_gone('publish');
create trigger files_gone after truncate on auction_files
  for each statement execute function file_gone('publish');
create trigger file_undeleted before update on auction_files
  for each row when (old.purged_at is not null and new.deleted_at is null)
  execute function file_undeleted();
create trigger file_recovered after update on auction_files
  for each row when (old.purged_at is not null and new.purged_at is null and new.deleted_at is null)
  execute function file_recovered();

create trigger file_gone after delete on media
  for each row execute function file_gone('media');
create trigger file_renamed after update of id on media
  for each row when (new.id is distinct from old.id)
  execute function file_gone('media');
create trigger files_gone after truncate on media
  for each statement execute function file_gone('media');

create trigger schedule_reset before update on schedules
  for each row when (new.cron is distinct from old.cron or new.time_zone is distinct from old.time_zone or new.enabled is distinct from old.enabled)
  execute function schedule_reset();
create trigger schedules_changed after insert or update of cron, time_zone, enabled on schedules
  for each statement execute function schedules_changed();
create trigger schedule_pinged after update of last_job_id on schedules
  for each row when (new.ping_url is not null and new.last_job_id is distinct from old.last_job_id)
  execute function schedule_pinged();

create trigger deletion_impossible before insert on storage_deletions
  for each row when (octet_length(new.key) > 1024)
  execute function deletion_impossible();

create trigger event_subscriptions_changed after insert or delete or update or truncate on event_subscriptions
  for each statement execute function event_subscriptions_changed();

create trigger social_account_moved after update on social_accounts
  for each row when (new.status = 'active' and old.status <> 'active')
  execute function social_account_moved();

create trigger social_post_job before insert or update on social_posts
  for each row execute function social_post_job();
create trigger social_post_moved after insert or update on social_posts
  for each row execute function social_post_moved();

create trigger forget_metrics after delete on analytics_accounts
  for each row execute function forget_metrics('account');

create trigger forget_metrics after delete on analytics_posts
  for each row execute function forget_metrics('post');


-- Views ---------------------------------------------------------------------------------------------------------------

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
comment on view queue_depth is 'How many jobs each queue holds now. Takes the same time however long the history is.';
comment on column queue_depth.completed is 'Completed so far. Pruning the archive does not lower it.';

create view held_kinds with (security_invoker=true) as
select q.name as queue,
    substr(k.name, length(q.name) + 2) as kind,
    i.host,
    i.host is null or not (exists ( select
           from workers w
          where (q.name = any (w.queues)) and not (w.host in ( select h.host
                   from incidents h
                  where h.resolved_at is null and h.host is not null and (k.name = any (h.kinds)))))) as everywhere
   from incidents i
     cross join lateral unnest(i.kinds) k(name)
     join queues q on q.name = split_part(k.name, '.', 1)
  where i.resolved_at is null and i.since > (clock_timestamp() - q.incident_patience);
comment on view held_kinds is 'The kinds whose jobs wait for the end of an incident.';

create view schedule_status with (security_invoker=true) as
select s.name,
    s.cron,
    s.time_zone,
    s.queue,
    s.kind,
    s.payload,
    s.priority,
    s.max_retries,
    s.enabled,
    s.overlap,
    s.last_tick,
    s.next_tick,
    s.skipped,
    s.skipped_tick,
    s.error,
    s.last_job_id,
    j.status as last_status,
    j.result as last_result,
    j.error_code as last_error_code,
    j.error as last_error,
    j.completed_at as last_completed_at
   from schedules s
     left join lateral ( select jobs.status,
            jobs.result,
            jobs.error_code,
            jobs.error,
            jobs.completed_at
           from jobs
          where jobs.id = s.last_job_id
         limit 1) j on true;
comment on view schedule_status is 'All schedules: their last tick, their next, and how the last job ended.';
comment on column schedule_status.error is 'Why it inserts nothing, though it is enabled.';
comment on column schedule_status.last_status is 'The status of the last job; null: there was none, or it has been deleted.';

create view dead_letters with (security_invoker=true) as
select j.id,
    j.archived,
    j.queue,
    j.kind,
    j.payload,
    j.file_id,
    j.status,
    j.priority,
    j.run_at,
    j.expires_at,
    j.attempt,
    j.retry_count,
    j.max_retries,
    j.error_code,
    j.error,
    j.result,
    j.progress,
    j.dedupe_key,
    j.locked_by,
    j.created_at,
    j.started_at,
    j.snoozed_since,
    j.completed_at,
    j.queue || '.dead' as dead_queue,
    coalesce(e.cause, others.cause, service.cause) as cause,
    coalesce(e.solution, others.solution, service.solution) as solution
   from jobs j
     left join error_codes e on e.code = j.error_code
     left join error_codes others on others.code = (split_part(j.error_code, '_', 1) || '_*')
     left join error_codes service on service.code = ('*' || substr(j.error_code, strpos(j.error_code, '_')))
  where j.status = 'failed';
comment on view dead_letters is 'Jobs that failed for good and wait for a person, with the cause and the solution that error_codes has for them.';

create view alert_conditions with (security_invoker=true) as
with rules as (
         select alert_rules.condition,
            alert_rules.enabled,
            alert_rules.patience,
            alert_rules.minimum,
            alert_rules.means
           from alert_rules
          where alert_rules.enabled
        ), due as materialized (
         select j.queue,
            count(*) as jobs,
            min(
                case
                    when isfinite(j.run_at) then j.run_at
                    else j.created_at
                end) as oldest
           from jobs j
          where not j.archived and j.status = 'pending' and j.run_at < clock_timestamp() and not (exists ( select
                   from held_kinds h
                  where h.queue = j.queue and h.kind = j.kind and h.everywhere)) and (j.dedupe_key is null or j.dedupe_key !~~ 'rowmill:alert:%')
          group by j.queue
        ), unpaused as (
         select d.queue,
            d.jobs,
            d.oldest,
            q.alert_waiting,
            (exists ( select
                   from workers w
                  where d.queue = any (w.queues))) as served
           from due d
             join queues q on q.name = d.queue
          where not q.paused
        ), dead as materialized (
         select g.queue,
            g.kind,
            g.error_code,
            g.jobs,
            g.last_at,
            row_number() over (partition by g.queue order by g.jobs desc, g.kind, g.error_code) as place
           from ( select j.queue,
                    j.kind,
                    coalesce(j.error_code, '') as error_code,
                    count(*) as jobs,
                    max(j.completed_at) as last_at
                   from jobs j
                  where not j.archived and j.status = 'failed' and (j.dedupe_key is null or j.dedupe_key !~~ 'rowmill:alert:%')
                  group by j.queue, j.kind, (coalesce(j.error_code, ''))) g
        ), told as (
         select distinct on (m.channel) m.channel,
            m.created_at,
            j.status,
            j.error_code
           from alert_messages m
             left join lateral ( select jobs.status,
                    jobs.error_code
                   from jobs
                  where jobs.id = m.job_id and jobs.queue = 'notification'
                 limit 1) j on true
          where m.created_at > (clock_timestamp() - '1 day'::interval)
          order by m.channel, m.created_at desc, m.job_id desc
        )
 select 'dead_letters' as condition,
    format('%s.%s %s', d.queue, d.kind, coalesce(nullif(d.error_code, ''), 'without a code')) as subject,
    d.jobs as count,
    d.last_at,
    format('%s of %s.%s, %s', counted(d.jobs, 'dead letter'), d.queue, d.kind, coalesce(nullif(d.error_code, ''), 'without a code')) as what,
    x.cause,
    format('%s Then: rowmill retry --failed --queue %s --kind %s%s', coalesce(x.solution, 'Read what the jobs say.'), d.queue, d.kind,
        case
            when d.error_code <> '' then ' --error-code ' || d.error_code
            else ''
        end) as solution,
    format('select * from %I where status = ''failed'' and kind = %L and error_code %s limit 20', d.queue || '_jobs', d.kind,
        case
            when d.error_code = '' then 'is null'
            else '= ' || quote_literal(d.error_code)
        end) as query
   from dead d
     cross join lateral explain_code(d.error_code) x(what, cause, solution)
     join rules r on r.condition = 'dead_letters' and d.jobs >= r.minimum
  where d.place <= 20
union all
 select 'dead_letters' as condition,
    d.queue || ' others' as subject,
    sum(d.jobs)::bigint as count,
    max(d.last_at) as last_at,
    format('%s of queue %s, of %s other kinds and codes', counted(sum(d.jobs)::bigint, 'dead letter'), d.queue, count(*)) as what,
    null::text as cause,
    'Read what the jobs say.' as solution,
    format('select kind, error_code, count(*) from %I where status = ''failed'' group by 1, 2 order by 3 desc', d.queue || '_jobs') as query
   from dead d
     join rules r on r.condition = 'dead_letters'
  where d.place > 20
  group by d.queue, r.minimum
 having sum(d.jobs) >= r.minimum::numeric
union all
 select 'waiting' as condition,
    u.queue as subject,
    u.jobs as count,
    clock_timestamp() as last_at,
    format('The oldest of %s that wait in queue %s has been due since %s', counted(u.jobs, 'job'), u.queue, minute_of(u.oldest)) as what,
    'The workers of the queue are too busy, or its jobs do not end.' as cause,
        case
            when u.queue = 'publish' then 'Start more workers, or raise CONCURRENCY.'
            else 'Start more workers, or raise WORKER_CONCURRENCY.'
        end as solution,
    format('select * from %I where status = ''pending'' and run_at < now() order by run_at limit 20', u.queue || '_jobs') as query
   from unpaused u
     join rules r on r.condition = 'waiting' and u.jobs >= r.minimum
  where u.served and u.oldest < (clock_timestamp() - coalesce(u.alert_waiting, r.patience))
union all
 select 'no_worker' as condition,
    u.queue as subject,
    u.jobs as count,
    clock_timestamp() as last_at,
    format('No worker serves queue %s, where %s wait', u.queue, counted(u.jobs, 'job')) as what,
    'Its workers have stopped, or QUEUES of those that run does not name it.' as cause,
    format('Start a worker with %s in QUEUES, or with QUEUES unset.', u.queue) as solution,
    'select host, pid, queues, heartbeat_at from workers' as query
   from unpaused u
     join rules r on r.condition = 'no_worker' and u.jobs >= r.minimum
  where not u.served and u.oldest < (clock_timestamp() - r.patience)
union all
 select 'late_schedule' as condition,
    s.name as subject,
    1 as count,
    clock_timestamp() as last_at,
        case
            when s.error is null then format('Schedule %s is late: its tick of %s has added no job', s.name, minute_of(s.next_tick))
            else format('Schedule %s cannot tick: %s', s.name, s.error)
        end as what,
    null::text as cause,
    format('Correct it: rowmill schedule set %1$s. Or end it: rowmill schedule disable %1$s', s.name) as solution,
    format('select * from schedule_status where name = %L', s.name) as query
   from schedules s
     join rules r on r.condition = 'late_schedule'
  where s.enabled and (s.error is not null or s.next_tick < (clock_timestamp() - r.patience))
union all
 select 'worker_lost' as condition,
    e.name as subject,
    count(*) as count,
    max(e.failed_at) as last_at,
    format('%s of %s ended because the worker died', counted(count(*), 'attempt'), e.name) as what,
    'The job uses too much memory, or a native library crashes on it; or the machine is restarted often.' as cause,
    'Read the log of the workers that died. Cancel the job that kills them, or give them more memory.' as solution,
    format('select * from job_errors where error_code = ''worker_lost'' and failed_at > now() - %L::interval order by failed_at desc limit 20', e.patience) as query
   from ( select (j.queue || '.') || j.kind as name,
            l.failed_at,
            r.patience,
            r.minimum
           from rules r
             join job_errors l on l.error_code = 'worker_lost' and l.failed_at > (clock_timestamp() - r.patience)
             cross join lateral ( select jobs.queue,
                    jobs.kind
                   from jobs
                  where jobs.id = l.job_id and jobs.queue = l.queue and (jobs.dedupe_key is null or jobs.dedupe_key !~~ 'rowmill:alert:%')
                 limit 1) j
          where r.condition = 'worker_lost') e
  group by e.name, e.patience, e.minimum
 having count(*) >= e.minimum
union all
 select 'bridge_off' as condition,
    b.bridge as subject,
    count(*) as count,
    clock_timestamp() as last_at,
    format('Bridge %s is not connected on %s: %s', b.bridge, counted(count(*), 'worker'), coalesce(max(b.reason), 'it is starting')) as what,
    'The other queue is down or refuses the settings, or the network between has a fault.' as cause,
    'It tries again by itself. rowmill doctor, with the settings of that worker, says more.' as solution,
    'select host, pid, bridges from workers' as query
   from ( select e.value ->> 'bridge' as bridge,
            e.value ->> 'reason' as reason,
            r.minimum
           from rules r,
            workers w,
            lateral jsonb_array_elements(
                case
                    when jsonb_typeof(w.bridges) = 'array' then w.bridges
                    else '[]'::jsonb
                end) e(value)
          where r.condition = 'bridge_off' and (e.value ->> 'connected') = 'false' and (e.value ->> 'since') < to_char(((clock_timestamp() - r.patience) at time zone 'UTC'), 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')) b
  where b.bridge is not null
  group by b.bridge, b.minimum
 having count(*) >= b.minimum
union all
 select 'rejected_message' as condition,
    (m.source || ' ') || m.reason as subject,
    count(*) as count,
    max(m.created_at) as last_at,
    format('%s of %s could not become jobs: %s', counted(count(*), 'message'), m.source, m.reason) as what,
    null::text as cause,
    'Correct what the reason names. Then: rowmill rejected resubmit --all' as solution,
    format('select id, key, error, created_at from rejected_messages where source = %L and reason = %L order by id desc limit 20', m.source, m.reason) as query
   from rejected_messages m
     join rules r on r.condition = 'rejected_message'
  group by m.source, m.reason, r.minimum
 having count(*) >= r.minimum
union all
 select 'incident' as condition,
    i.dependency || coalesce(' of ' || i.host, '') as subject,
    i.jobs_held as count,
    i.last_seen as last_at,
    format('Incident: %s, %s; %s wait: %s', i.dependency || coalesce(' of ' || i.host, ''), i.code, counted(i.jobs_held, 'job'), i.message) as what,
    x.cause,
    coalesce(x.solution, 'Correct what it names.') || ' The jobs that wait go on by themselves, with no retry used.' as solution,
    'select * from incidents where resolved_at is null' as query
   from incidents i
     cross join lateral explain_code(i.code) x(what, cause, solution)
     join rules r on r.condition = 'incident'
  where i.resolved_at is null and i.since < (clock_timestamp() - r.patience)
union all
 select 'webhook_disabled' as condition,
    w.id as subject,
    1 as count,
    w.disabled_at as last_at,
    format('Webhook endpoint %s is disabled: %s', w.id, w.disabled_reason) as what,
    'The receiver is gone, or its program has a fault.' as cause,
    'Ask the receiver. To go on, set disabled_at, disabled_reason and failing_since to null.' as solution,
    format('select id, url, failing_since, disabled_at, disabled_reason from webhook_endpoints where id = %L', w.id) as query
   from webhook_endpoints w
     join rules r on r.condition = 'webhook_disabled'
  where w.disabled_at is not null and w.disabled_reason is not null
union all
 select 'unknown_outcome' as condition,
    d.channel as subject,
    count(*) as count,
    max(d.updated_at) as last_at,
    format('Of %s over %s nobody knows whether they were sent', counted(count(*), 'message'), d.channel) as what,
    'The connection broke after the request had gone out, or the worker died while it was sending.' as cause,
    'Look whether they arrived. To send one again, retry its job.' as solution,
    format('select * from notification_deliveries where status = ''ambiguous'' and channel = %L order by updated_at desc limit 20', d.channel) as query
   from notification_deliveries d
     join rules r on r.condition = 'unknown_outcome'
  where d.status = 'ambiguous' and not (exists ( select
           from alert_messages m
          where m.job_id = d.job_id))
  group by d.channel, r.minimum
 having count(*) >= r.minimum
union all
 select 'alert_channel' as condition,
    t.channel as subject,
    1 as count,
    t.created_at as last_at,
    format('Alerts do not arrive over %s: %s', t.channel,
        case
            when t.status is null then 'the job is gone'
            when t.error_code is null then 'the job has not ended since ' || minute_of(t.created_at)
            else t.error_code
        end) as what,
    x.cause,
    coalesce(x.solution, 'See whether a worker serves the queue notification, and whether it is paused.') as solution,
    'select m.channel, j.* from alert_messages m join notification_jobs j on j.id = m.job_id order by j.id desc limit 20' as query
   from told t
     cross join lateral explain_code(t.error_code) x(what, cause, solution)
     join rules r on r.condition = 'alert_channel'
  where (t.status = any (array['failed', 'cancelled'])) or (t.status = any (array['pending', 'processing'])) and t.created_at < (clock_timestamp() - r.patience);
comment on view alert_conditions is 'What needs a person now, as alert_rules says. The table alerts remembers it.';
