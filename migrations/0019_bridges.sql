-- Bridges: parts of a worker that take the messages of another queue, such as RabbitMQ's, and add jobs.
--
-- A message is acknowledged after its job is committed. If the bridge dies in between, the message comes again. One
-- with an id is known then, by the job's dedupe_key. For one without an id there is bridge_unacked: a row of it is
-- written in the transaction that adds the jobs of a batch, and deleted when RabbitMQ has confirmed the acknowledgement.
--
-- Locks: ACCESS EXCLUSIVE on workers, for a moment: the new column rewrites nothing. Undo: drop the table and the column.

create table bridge_unacked (
  id           bigint      generated always as identity primary key,
  fingerprints bytea[]     not null,
  created_at   timestamptz not null default clock_timestamp()
);
-- Hashes do not compress.
alter table bridge_unacked alter column fingerprints set storage external;
comment on table bridge_unacked is
  'One row for each batch of messages without an id whose jobs are committed, and whose acknowledgement is not '
  'confirmed yet. A message that is delivered again, and is in such a row, adds no second job.';
comment on column bridge_unacked.fingerprints is 'A hash of each message: two equal messages are in it twice.';

alter table workers add column bridges jsonb not null default '[]';
comment on column workers.bridges is
  'The bridges that this worker runs: [{bridge, connected, since, code, reason}]. reason: why it is not connected.';
