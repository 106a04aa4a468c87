-- Workers, and what holds for all of them together: rate limits, and incidents.
--
-- Locks: creates only. Undo: drop everything named here.

create table workers (
  id           uuid primary key,
  instance     uuid        not null default gen_random_uuid(),
  host         text        not null,
  pid          integer     not null,
  version      text        not null,
  queues       text[]      not null,
  pools        text[]      not null default '{}',
  notify       text[]      not null default '{}',
  waiting      jsonb       not null default '[]',
  started_at   timestamptz not null default clock_timestamp(),
  heartbeat_at timestamptz not null default clock_timestamp()
);
comment on table  workers is
  'One row for each running worker. When its advisory lock is free, or its heartbeat is old, the other workers take it '
  'for dead, delete the row and return its jobs (they reap it).';
comment on column workers.instance is
  'The worker''s process. All its sessions hold the advisory lock of this name, and are ended when the worker is '
  'reaped.';
comment on column workers.waiting is
  'Running jobs that have waited for something, such as memory, for more than five seconds: [{job_id, waits_for, '
  'since}]. Their time limits do not run meanwhile.';
comment on column workers.notify is
  'The queues of which it wants to be notified when a job is inserted. While many are inserted it polls instead.';
comment on column workers.pools is
  'The ids of its graphile-worker pools. The tickets that these locked are unlocked when the worker is reaped.';

-- It reads the list of locks and does not try the lock: whoever tries it could keep the worker from taking it.
create function worker_is_alive(worker uuid) returns boolean
  language sql stable
as $$
  select exists (select from pg_locks l
                  where l.locktype = 'advisory' and l.granted and l.objsubid = 1
                    and l.database = (select oid from pg_database where datname = current_database())
                    and (l.classid::bigint << 32 | l.objid::bigint) = hashtextextended(worker::text, 0::bigint))
$$;
comment on function worker_is_alive is 'Whether the session of this row of workers holds its advisory lock.';


-- Rate limits ---------------------------------------------------------------------------------------------------------

create table rate_limits (
  key            text primary key constraint key_too_long check (char_length(key) <= 500),
  tokens         double precision not null,
  updated_at     timestamptz      not null default clock_timestamp(),
  promised_until timestamptz,
  -- A bucket with minus infinity tokens would never fill.
  constraint finite
    check (tokens between -1e15::float8 and 1e15::float8 and isfinite(updated_at) and isfinite(promised_until))
);
comment on table rate_limits is
  'Token buckets: for queues.rate_limit, and for the limits that handlers share under a name of their own.';
comment on column rate_limits.tokens is
  'What was left at updated_at. Below zero: tokens were given out ahead of their time.';
comment on column rate_limits.promised_until is
  'Callers that got no token are told when to come back, one after the other: the last of them at this time.';

-- A caller gets its tokens now, or ahead of their time, and then must wait for the milliseconds that are returned, up
-- to patience_ms. If it would have to wait longer, no token is taken and it is told when to ask again, each caller at
-- another time.
--
-- An unused bucket saves up the tokens of a fiftieth of a second, so that no second gives out more than 2 % too many.
-- Where the clock was set back, the stored times are in the future. They are set back as well: the bucket would
-- otherwise stay empty until the clock has caught up.
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
comment on function take_tokens is
  'Takes n tokens from a bucket that fills at `rate` a second. Returns the milliseconds to wait: up to patience_ms the '
  'tokens were taken, above it none was.';


-- Incidents -----------------------------------------------------------------------------------------------------------
--
-- Faults of the deployment that no job is to blame for: a wrong key, a full bucket, a missing program. A handler that
-- meets one throws DeploymentError. The first such error whose dependency also fails its own check opens a row here.
-- While the row is open, the jobs of the kinds that met the fault are held: they stay pending and have no ticket. From
-- time to time one job runs as a probe, and the dependency's check is run. When either succeeds, the row is resolved
-- and the held jobs get tickets again.
--
-- To end all incidents by hand: UPDATE incidents SET resolved_at = now() WHERE resolved_at IS NULL;

create table incidents (
  id          uuid        primary key default gen_random_uuid(),
  dependency  text        not null check (dependency <> ''),
  host        text,
  code        text        not null,
  message     text        not null check (char_length(message) <= 2000),
  kinds       text[]      not null,
  since       timestamptz not null default clock_timestamp(),
  last_seen   timestamptz not null default clock_timestamp(),
  jobs_held   bigint      not null default 0,
  probes      integer     not null default 0,
  probe_at    timestamptz not null default clock_timestamp() + interval '5 seconds',
  checked_at  timestamptz not null default clock_timestamp(),
  check_ok    boolean     not null default false,
  resolved_at timestamptz,
  released    boolean     not null default false
);
create unique index incidents_open on incidents (dependency, coalesce(host, '')) where resolved_at is null;
create index incidents_unreleased on incidents (resolved_at) where not released;
comment on table  incidents is
  'Faults of the deployment, such as a wrong key or a full bucket. While one is open, the jobs that need this '
  'dependency wait and use no retry.';
comment on column incidents.dependency is 'What failed: storage, raid, ffmpeg, temp_space.';
comment on column incidents.host is
  'The machine, where the dependency belongs to one, such as its disk; null: the dependency of the whole fleet.';
comment on column incidents.message is 'The fault, in the vendor''s words where it gave any. Never a secret.';
comment on column incidents.kinds is 'The kinds whose jobs have met the fault, as queue.kind. Their jobs are held.';
comment on column incidents.last_seen is 'When a job last met the fault.';
comment on column incidents.jobs_held is 'Due jobs that wait, as of checked_at. Counted up to 100,000.';
comment on column incidents.probe_at is 'When one of the held jobs may run next, to see whether the fault is over.';
comment on column incidents.checked_at is 'When a worker last ran the dependency''s own check.';
comment on column incidents.check_ok is 'The check has passed since the last probe.';
comment on column incidents.released is 'The held jobs have tickets again.';

-- One row for each kind and incident that holds it. `everywhere`: no living worker could run the kind now, so its jobs
-- need no tickets.
create view held_kinds as
select q.name as queue, substr(k.name, length(q.name) + 2) as kind, i.host,
       i.host is null
         or not exists (select from workers w
                         where q.name = any(w.queues)
                           and w.host not in (select h.host from incidents h
                                               where h.resolved_at is null and h.host is not null
                                                 and k.name = any(h.kinds))) as everywhere
  from incidents i
 cross join pg_catalog.unnest(i.kinds) as k (name)
  join queues q on q.name = split_part(k.name, '.', 1)
 where i.resolved_at is null and i.since > clock_timestamp() - q.incident_patience;
comment on view held_kinds is 'The kinds whose jobs wait for the end of an incident.';
