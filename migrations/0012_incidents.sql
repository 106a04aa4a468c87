-- Incidents: faults of the deployment, which no job is to blame for.
--
-- A wrong key, a full bucket, a missing program: a handler that meets one throws DeploymentError. The first such error whose dependency also
-- fails its own check opens a row here. While it is open, jobs of the kinds it was met by are held: their rows stay `pending` and have no
-- ticket. From time to time one job runs as a probe, and the dependency's check is asked. When either says that all is well, the row is
-- resolved, and the jobs it held get tickets again.
--
-- To end an incident by hand: UPDATE incidents SET resolved_at = now() WHERE resolved_at IS NULL;
--
-- Locks: ACCESS EXCLUSIVE on queues for a moment. Undo: drop what is named here.

alter table queues add column incident_patience interval not null default '24 hours' check (incident_patience >= '0');
comment on column queues.incident_patience is 'How long an incident holds the jobs of the queue; after that its errors are the jobs'' own failures.';

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
comment on table  incidents is 'Faults of the deployment, such as a wrong key or a full bucket. While one is open, the jobs that need this dependency wait and use no retry.';
comment on column incidents.dependency is 'What failed: storage, raid, ffmpeg, temp_space.';
comment on column incidents.host is 'The machine whose own dependency it is, such as its disk; null: of the whole fleet.';
comment on column incidents.message is 'In the vendor''s words where it said any. Never a secret.';
comment on column incidents.kinds is 'The kinds whose jobs have met it, as queue.kind: these are held.';
comment on column incidents.last_seen is 'When a job last met it.';
comment on column incidents.jobs_held is 'Due jobs that wait, as of checked_at; of more than 100,000 no more are counted.';
comment on column incidents.probe_at is 'When one of the held jobs may run next, to see whether it is over.';
comment on column incidents.checked_at is 'When a worker last asked the dependency''s own check.';
comment on column incidents.check_ok is 'The check has passed since the last probe.';
comment on column incidents.released is 'The held jobs have tickets again.';

-- One row for each kind and incident that holds it. `everywhere`: no living worker could run it now, so its jobs need no tickets.
create view held_kinds as
select q.name as queue, substr(k.name, length(q.name) + 2) as kind, i.host,
       i.host is null
         or not exists (select from workers w
                         where q.name = any(w.queues)
                           and w.host not in (select h.host from incidents h
                                               where h.resolved_at is null and h.host is not null and k.name = any(h.kinds))) as everywhere
  from incidents i
 cross join pg_catalog.unnest(i.kinds) as k (name)
  join queues q on q.name = split_part(k.name, '.', 1)
 where i.resolved_at is null and i.since > clock_timestamp() - q.incident_patience;
comment on view held_kinds is 'The kinds whose jobs wait for the end of an incident.';

do $$
begin
  if current_setting('server_version_num')::int >= 150000 then
    alter view held_kinds set (security_invoker = true);
  end if;
end $$;
