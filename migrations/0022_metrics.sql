-- What charts and metrics read: attempts by the minute, and counts of large queues. And the trace of an insert.
--
-- Workers write what ended, how long it ran and how long it had waited, into job_rollups: a few rows every five
-- seconds, whatever the number of jobs. So an hour or a day is read in milliseconds, also after the jobs were pruned.
--
-- queue_counts() counts the jobs of each queue. There is no index on status, so a count reads the live leaf. Up to
-- 32 MB that takes a few milliseconds. A larger leaf is counted by one worker of the fleet, every ten seconds or less
-- often, into the table queue_counted, and queue_counts() says how old the count is.
--
-- A job that is inserted without a traceparent takes the one that its session has set:
-- select set_config('rowmill.traceparent', '00-...', true). It is a column default: it costs less than a trigger, and
-- an unsound value is no error.
--
-- Locks: ACCESS EXCLUSIVE on jobs and its partitions, for a moment: a default rewrites nothing.
-- Undo: drop what is named here; alter table jobs alter traceparent drop default.

create table job_rollups (
  minutes     smallint    not null check (minutes in (1, 15)),
  at          timestamptz not null,
  queue       text        not null,
  kind        text        not null,
  completed   bigint      not null default 0,
  failed      bigint      not null default 0,
  retried     bigint      not null default 0,
  duration_ms bigint      not null default 0,
  durations   bigint[]    not null default '{}',
  waited_ms   bigint      not null default 0,
  waits       bigint[]    not null default '{}',
  primary key (minutes, at, queue, kind)
);
comment on table job_rollups is
  'Attempts of the whole fleet, by the minute for a day, and by the quarter of an hour for a month. For charts: what '
  'a worker had not written when it was killed is missing.';
comment on column job_rollups.minutes is 'The length of the period: 1 or 15. Every attempt is in a row of each.';
comment on column job_rollups.at is 'When the period begins.';
comment on column job_rollups.kind is '(unknown): kinds that the worker did not know.';
comment on column job_rollups.completed is 'Attempts that completed their job.';
comment on column job_rollups.failed is 'Attempts after which the job was a dead letter.';
comment on column job_rollups.retried is 'Attempts that failed, and after which the job waited for a retry.';
comment on column job_rollups.duration_ms is 'How long these attempts ran, together.';
comment on column job_rollups.durations is
  'How many of them ran for up to 1, 1.4, 2, 2.8, 4, ... milliseconds: entry n, from 0, for up to 2 ^ (n / 2).';
comment on column job_rollups.waited_ms is 'How long the jobs that started had been due, together.';
comment on column job_rollups.waits is 'How many of them had been due for how long, as in durations.';

create table queue_counted (
  queue         text        primary key references queues on update cascade on delete cascade,
  waiting       bigint      not null,
  active        bigint      not null,
  completed     bigint      not null,
  failed        bigint      not null,
  delayed       bigint      not null,
  oldest_due_at timestamptz,
  counted_at    timestamptz not null,
  took          interval    not null
);
comment on table queue_counted is
  'The last count of each queue whose live leaf is large. Written by one worker at a time; see queue_counts().';
comment on column queue_counted.oldest_due_at is 'Since when the job that has been due for longest is due.';
comment on column queue_counted.took is 'How long it took: the next count comes after twenty times as long.';

-- All jobs of a queue, in one pass over its live leaf.
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

create function queue_counts() returns table (
  queue text, paused boolean, waiting bigint, active bigint, completed bigint, failed bigint, delayed bigint,
  oldest_due_s float8, counted_at timestamptz
)
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
comment on function queue_counts is
  'How many jobs each queue holds, in milliseconds also for large queues. counted_at: how old the numbers are.';

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

-- A column default of a partition is its own: ALTER TABLE writes it to all of them.
alter table jobs alter column traceparent set default
  case when current_setting('rowmill.traceparent', true)
            ~ '^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$'
       then current_setting('rowmill.traceparent', true) end;
