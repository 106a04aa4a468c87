-- Incidents: opened by the first job that meets one, and ended by a probe job or by the dependency's own check.
-- Everything goes by the database's clock, and each step is claimed by one worker: no certain worker needs to be alive
-- for an incident to go on or to end. If the queue of notifications is full, nobody is notified, because the commit
-- would fail: workers ask each second.

-- name: meet_incident
-- An attempt of kind :kind has met a fault whose incident is open.
update incidents i
   set last_seen = clock_timestamp(),
       kinds = case when :kind = any(i.kinds) then i.kinds else pg_catalog.array_append(i.kinds, :kind) end
  from queues q
 where q.name = :queue and i.dependency = :dependency and i.host is not distinct from :host and i.resolved_at is null
returning i.id, i.since <= clock_timestamp() - q.incident_patience as over,
          (select pg_notify(:channel, 'incidents') where pg_notification_queue_usage() < 0.9::float8)::text as told;

-- name: ended_meanwhile
-- Whether an incident ended while this attempt ran: that is what the attempt met.
select exists (select from incidents i
                where i.dependency = :dependency and i.host is not distinct from :host
                  and i.resolved_at > j.started_at) as ended
  from jobs j
 where j.id = :id and j.queue = :queue and not j.archived;

-- name: open_incident
-- Two workers may want to open one: the unique index lets one of them. It also removes old incidents.
with old as (
  delete from incidents where resolved_at < clock_timestamp() - interval '90 days'
)
insert into incidents (dependency, host, code, message, kinds)
values (:dependency, :host, :code, :message, array[:kind::text])
    on conflict do nothing
returning id;

-- name: resolve_incident
update incidents set resolved_at = clock_timestamp()
 where id = :id and resolved_at is null
returning dependency, code, extract(epoch from resolved_at - since)::float8 as lasted_s,
          (select pg_notify(:channel, 'incidents') where pg_notification_queue_usage() < 0.9::float8)::text as told;

-- name: resolve_abandoned
-- Incidents of machines without a worker for a while, such as a container that is gone: nobody could probe or check
-- them.
update incidents i set resolved_at = clock_timestamp()
 where i.resolved_at is null and i.host is not null and i.last_seen < clock_timestamp() - interval '10 minutes'
   and not exists (select from workers w where w.host = i.host)
returning i.dependency, i.host, i.code;

-- name: look_at_incidents
-- Each worker asks this each second: what its host must not run, which incidents are open, and which step is due.
select coalesce((select pg_catalog.json_agg(distinct queue || '.' || kind) from held_kinds
                  where host is null or host = :host), '[]') as held,
       coalesce((select pg_catalog.json_agg(
                          pg_catalog.json_build_object('dependency', dependency, 'host', host,
                                                       'code', code, 'since', since)
                          order by since)
                   from incidents where resolved_at is null), '[]') as open,
       exists (select from incidents where resolved_at is not null and not released) as release_due,
       exists (select from incidents
                where resolved_at is null and (host is null or host = :host)
                  and checked_at < clock_timestamp() - pg_catalog.make_interval(secs => :check_every_s)
                  and exists (select from pg_catalog.unnest(kinds) k
                               where split_part(k, '.', 1) = any(:queues))) as check_due,
       exists (select from incidents
                where resolved_at is null and (host is null or host = :host) and probe_at <= clock_timestamp()
                  and exists (select from pg_catalog.unnest(kinds) k
                               where split_part(k, '.', 1) = any(:queues))) as probe_due;

-- name: claim_check
-- One worker runs a dependency's check. The next one does when the time has passed again, whatever the result was.
-- Only a worker that serves a queue which needs the dependency: another one would load sharp to check it.
with due as (
  select id from incidents
   where resolved_at is null and (host is null or host = :host) and dependency = any(:dependencies)
     and checked_at < clock_timestamp() - pg_catalog.make_interval(secs => :check_every_s)
     and exists (select from pg_catalog.unnest(kinds) k where split_part(k, '.', 1) = any(:queues))
   order by checked_at
   limit 1
     for update skip locked
)
update incidents i
   set checked_at = clock_timestamp(),
       jobs_held = (select count(*)
                      from (select from jobs j
                             where not j.archived and j.status = 'pending' and j.run_at <= clock_timestamp()
                               and j.queue = any(array(select split_part(k, '.', 1) from pg_catalog.unnest(i.kinds) k))
                               and j.queue || '.' || j.kind = any(i.kinds)
                             limit 100000) held)
  from due
 where i.id = due.id
returning i.id, i.dependency;

-- name: allow_probe
-- The check has passed: one job may run at once.
update incidents set check_ok = true, probe_at = clock_timestamp()
 where id = :id and resolved_at is null
returning (select pg_notify(:channel, 'incidents') where pg_notification_queue_usage() < 0.9::float8)::text as told;

-- name: claim_probe
-- The waits grow from five seconds to five minutes. A worker that dies with its probe delays the next probe by that at
-- most.
with due as (
  select id, check_ok from incidents
   where resolved_at is null and (host is null or host = :host) and probe_at <= clock_timestamp()
     and exists (select from pg_catalog.unnest(kinds) k where split_part(k, '.', 1) = any(:queues))
   order by probe_at
   limit 1
     for update skip locked
)
update incidents i
   set probes = i.probes + 1, check_ok = false,
       probe_at = clock_timestamp()
                    + pg_catalog.make_interval(secs => least(300, 5::float8 * 2::float8 ^ least(i.probes, 10)::float8))
  from due
 where i.id = due.id
returning i.id, i.code, i.kinds, due.check_ok as checked;

-- name: find_probe
-- Preferably a job that has not met the incident itself: it may have been that job's own fault.
select id, kind, priority from :"live"
 where status = 'pending' and run_at <= clock_timestamp()
   and queue || '.' || kind = any(:kinds) and id <> all(:except::bigint[])
 order by error_code is not distinct from :code, priority, id
 limit 1;

-- name: claim_release
-- If a worker dies before all have tickets, the reconciler makes the rest.
with due as (
  select id from incidents
   where resolved_at is not null and not released
   order by resolved_at limit 1
     for update skip locked
)
update incidents i set released = true
  from due
 where i.id = due.id
returning array(select distinct q.name from queues q
                  join pg_catalog.unnest(i.kinds) k on q.name = split_part(k, '.', 1)) as queues,
          i.kinds;

-- name: release_jobs
-- Tickets for the due jobs of a chunk, unless another incident holds them. Jobs that are not due yet have kept theirs.
with chunk as (
  select id, queue, kind, priority, run_at from :"live"
   where id > :after and status = 'pending' and run_at <= clock_timestamp() and queue || '.' || kind = any(:kinds)
   order by id
   limit 2000
), free as (
  select c.* from chunk c
   where not exists (select from held_kinds h where h.queue = c.queue and h.kind = c.kind and h.everywhere)
)
select (select max(id) from chunk) as last,
       (select add_tickets(pg_catalog.array_agg(queue), pg_catalog.array_agg(kind), pg_catalog.array_agg(id),
                           pg_catalog.array_agg(priority), pg_catalog.array_agg(run_at))
          from free having count(*) > 0) as ticketed;
