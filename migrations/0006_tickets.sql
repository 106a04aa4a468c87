-- Tickets that say more, limits that hold for the fleet, and an archive whose rest can be set.
--
-- 1. A ticket names the kind of its jobs, so that a worker knows before it starts them which it may run as one batch.
-- 2. Making tickets tells the workers on their channel whose they are, so that the runners of all other queues sleep on, and
--    that jobs fall due soon, so that a worker looks for them between its polls.
-- 3. take_tokens: token buckets for queues.rate_limit, and for limits that handlers share under a name.
-- 4. queues.archive_after, and a notification when a rate limit is changed.
--
-- Locks: ACCESS EXCLUSIVE on queues and rate_limits for a moment. Undo: drop what is made here.

-- Makes the tickets for the given jobs (parallel arrays), `batch_size` jobs of equal queue, kind, priority and run_at on each.
-- Written to graphile-worker's table and not by its add_jobs, which notifies the channel jobs:insert: every worker of every application on
-- graphile-worker in this database, of whatever schema, would look for jobs at each insert of ours. Ours listen to a channel of their own.
-- Without statistics, right after a bulk load, the planner would scan whole tables: hence enable_seqscan. A trigger that
-- called us may have turned nested loops off for its own join; the joins here need them. With either off, plans look so
-- costly up to Postgres 17 that they would be compiled first (jit), which takes longer than to run them; and so costly that planning anew
-- for each call would seem worth it, which takes three quarters of a single insert (plan_cache_mode).
create function add_tickets(queues text[], kinds text[], ids bigint[], priorities smallint[], run_ats timestamptz[]) returns void
  language plpgsql
  set search_path from current
  set enable_seqscan = off
  set enable_nestloop = on
  set jit = off
  set plan_cache_mode = force_generic_plan
as $$
declare
  told bigint;
begin
  if add_tickets.ids is null then
    return;
  end if;
  insert into :"tickets"._private_tasks (identifier)
  select distinct q
    from pg_catalog.unnest(add_tickets.queues) q
   where not exists (select from :"tickets"._private_tasks t where t.identifier = q)
      on conflict do nothing;

  with specs as materialized (
    select c.queue, c.kind, c.priority, c.run_at, pg_catalog.json_agg(c.id order by c.id) as ids, min(c.id) as first_id
      from (select j.*,
                   (row_number() over (partition by j.queue, j.kind, j.priority, j.run_at order by j.id) - 1)
                     / coalesce(q.batch_size, 1) as chunk
              from unnest(add_tickets.queues, add_tickets.kinds, add_tickets.ids, add_tickets.priorities, add_tickets.run_ats)
                     as j (queue, kind, id, priority, run_at)
              left join queues q on q.name = j.queue) c
     group by c.queue, c.kind, c.priority, c.run_at, c.chunk
  ), added as (
    insert into :"tickets"._private_jobs (task_id, payload, run_at, max_attempts, priority)
    select t.id, pg_catalog.json_build_object('kind', s.kind, 'ids', s.ids), s.run_at, 32767, s.priority
      from specs s
      join :"tickets"._private_tasks t on t.identifier = s.queue
     order by s.first_id
  )
  -- Where the queue of notifications is full, every commit that adds one fails. Workers look for tickets without them too.
  -- random(): of equal notifications in one transaction but one is sent.
  select count(pg_notify(:'workers', case when n.due > 0 then pg_catalog.format('due %s %s %s', n.queue, n.due, random()) else 'soon ' || n.queue end))
    into told
    from (select s.queue, count(*) filter (where s.run_at <= clock_timestamp()) as due, min(s.run_at) as first_at
            from specs s
           group by s.queue) n
   where (n.due > 0 or n.first_at < clock_timestamp() + interval '3 seconds')
     and pg_notification_queue_usage() < 0.9::float8;
end $$;
comment on function add_tickets is 'Makes tickets for pending jobs, and tells the workers.';

create or replace function jobs_inserted() returns trigger
  language plpgsql security definer
  set search_path from current
as $$
begin
  perform add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id), pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at))
     from fresh
    where status = 'pending'
   having count(*) > 0;
  return null;
end $$;

-- The join must never be a nested loop: its plan is cached when the first UPDATE moves one row, and the next may move 100,000.
create or replace function jobs_updated() returns trigger
  language plpgsql security definer
  set search_path from current
  set enable_nestloop = off
  set jit = off
as $$
begin
  if pg_partition_root(tg_relid::regclass)::oid is distinct from 'jobs'::regclass::oid then
    raise exception 'table % holds no jobs', tg_relid::regclass using errcode = 'insufficient_privilege';
  end if;
  perform add_tickets(pg_catalog.array_agg(n.queue), pg_catalog.array_agg(n.kind), pg_catalog.array_agg(n.id), pg_catalog.array_agg(n.priority), pg_catalog.array_agg(n.run_at))
     from fresh n
     join stale o on o.id = n.id
    where n.status = 'pending'
      and (o.status <> 'pending' or o.run_at <> n.run_at or o.priority <> n.priority)
   having count(*) > 0;

  if exists (select from stale o join fresh n on n.id = o.id where o.status = 'processing' and n.status <> 'processing') then
    perform pg_notify(:'workers', 'stop') where pg_notification_queue_usage() < 0.9::float8;
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
comment on function jobs_updated is 'Jobs that became pending, or whose run_at or priority moved, get a new ticket. Workers are told when a running job was taken from them, and listeners when one ended.';


-- Rate limits ---------------------------------------------------------------------------------------------------------------

alter table rate_limits add column promised_until timestamptz;
comment on column rate_limits.tokens is 'What was left at updated_at. Below zero: tokens that were given out ahead of their time.';
comment on column rate_limits.promised_until is 'Who was sent away is told to come back by then, one after the other.';

-- A token is given out at once, or ahead of its time to who waits for it: the answer says for how many milliseconds. More than
-- `patience_ms` nobody waits: then nothing is taken, and the answer says when to ask again, to each asker another time.
-- An unused bucket saves up a fiftieth of a second, so that in no second more than 2 % too many are given out.
-- Where the clock was set back, the times that are written down lie ahead of it. They are set back as far, or the bucket would stay
-- empty until the clock is there again.
create function take_tokens(key text, n integer, rate float8, patience_ms float8 default 1000) returns float8
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
     set tokens = least(burst, r.tokens + rate * greatest(0, extract(epoch from clock_timestamp() - r.updated_at)::float8)) - n::float8,
         updated_at = clock_timestamp(),
         promised_until = r.promised_until - greatest('0', r.updated_at - clock_timestamp())
   where least(burst, r.tokens + rate * greatest(0, extract(epoch from clock_timestamp() - r.updated_at)::float8)) - n::float8 >= least_left
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
comment on function take_tokens is 'Takes n tokens from a bucket that fills at `rate` a second. Gives the milliseconds to wait: up to patience_ms they are taken, above it nothing was.';


-- Queues --------------------------------------------------------------------------------------------------------------------

alter table queues add column archive_after interval not null default '30 seconds' check (archive_after >= '0');
comment on column queues.archive_after is 'How long a completed or cancelled job stays in the live leaf, where it can be run again without taking it out of the archive.';

drop trigger queues_changed on queues;
-- Not of archived_completed, which the archiver counts up all the time.
create trigger queues_changed after update of paused, timeout_ms, rate_limit on queues
  for each statement execute function queues_changed();
comment on function queues_changed is 'Workers are told at once of a pause or a limit; they also look each second.';
comment on column queues.batch_size is 'How many jobs of one statement, of equal kind, priority and run_at, share a ticket.';
