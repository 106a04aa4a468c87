-- With RABBITMQ_DEAD=true dead letters are also published to RabbitMQ. Which ones have been is written down here, after
-- RabbitMQ has confirmed them: so each is published at least once, whatever dies in between.
--
-- Locks: creates only. Undo: drop the table.

create table bridge_dead (
  job_id    bigint      primary key,
  failed_at timestamptz not null
);
comment on table bridge_dead is
  'Dead letters that RabbitMQ has. One that is retried and fails again is published again.';
comment on column bridge_dead.failed_at is 'The completed_at of the job.';
