-- Ways in: messages of other queues become jobs.
--
-- A message that is JSON and names a queue is a job, whatever is in it: a worker judges it. Everything else is a row of
-- rejected_messages, as it came, so that the queue it came from can forget it. `rowmill rejected` shows these rows, and
-- submits them again after they were corrected.
--
-- Also here: the trace that a job belongs to.
--
-- Locks: ACCESS EXCLUSIVE on jobs, for a moment: the new column rewrites nothing, and no row is read.
-- Undo: drop the table and the column.

alter table jobs add column traceparent varchar(55);
comment on column jobs.traceparent is
  'The trace that the job belongs to: the header traceparent of W3C Trace Context, version 00. Null: none.';

create table rejected_messages (
  id         bigint      generated always as identity primary key,
  source     text        not null check (char_length(source) <= 500),
  key        text        not null check (char_length(key) <= 1000),
  message_id text        check (char_length(message_id) <= 1000),
  headers    jsonb       not null default '{}',
  body       bytea       not null,
  reason     text        not null check (char_length(reason) <= 60),
  error      text        not null check (char_length(error) <= 2000),
  created_at timestamptz not null default clock_timestamp(),
  tried_at   timestamptz
);
-- A message with an id that comes again is rejected once.
create unique index on rejected_messages (source, message_id) where message_id is not null;
comment on table  rejected_messages is
  'Messages that could not become jobs. rowmill rejected resubmit tries again, and deletes those that are jobs then.';
comment on column rejected_messages.source is 'The way in: rabbitmq:<queue>, sqs:<queue>, cloudflare:<queue>.';
comment on column rejected_messages.key is 'What should name the kind. Correct it here, and submit the message again.';
comment on column rejected_messages.message_id is 'The id that the sender gave it.';
comment on column rejected_messages.body is
  'As it came. As text: convert_from(body, ''UTF8''). To correct it: set body = convert_to(''{...}'', ''UTF8'').';
comment on column rejected_messages.reason is
  'unknown_queue, no_kind, not_utf8, not_json, invalid_header, or refused: by Postgres, for example as too large.';
comment on column rejected_messages.tried_at is 'When it was last submitted again, and rejected again.';
