-- One sweep of the alerts: all statements in one transaction. See migrations/0024_alerts.sql.

-- name: take_turn
-- The lock lasts as long as the transaction. No row: another worker sweeps. `due`: nobody has swept lately. A sweep
-- that waits for a locked table is given up.
select t.swept_at < clock_timestamp() - pg_catalog.make_interval(secs => :every_s::float8) as due,
       set_config('statement_timeout', '60s', true), set_config('lock_timeout', '2s', true)
  from alert_turn t
   for update of t skip locked;

-- name: note_conditions
-- Opens, keeps and resolves. A condition that comes back within the time of a digest is the same alert. A condition has
-- passed when it was not seen for half a minute: one that comes and goes does not resolve each time.
with turn as (
  update alert_turn set swept_at = clock_timestamp()
), seen as materialized (
  select distinct on (fingerprint) *
    from (select c.condition || ':' || left(c.subject, 600) as fingerprint, c.* from alert_conditions c) f
   order by fingerprint, count desc
), known as materialized (
  select distinct on (a.fingerprint) a.id, a.fingerprint
    from alerts a
   where a.resolved_at is null
      or a.resolved_at > clock_timestamp() - pg_catalog.make_interval(secs => :digest_s::float8)
   order by a.fingerprint, a.resolved_at desc nulls first, a.id desc
), kept as (
  update alerts a
     set what = s.what, cause = s.cause, solution = s.solution, query = s.query, count = s.count, last_at = s.last_at,
         seen_at = clock_timestamp(), resolved_at = null
    from known k
    join seen s on s.fingerprint = k.fingerprint
   where a.id = k.id
), opened as (
  insert into alerts (fingerprint, condition, subject, what, cause, solution, query, count, last_at, silenced_until,
                      silenced_by)
  select s.fingerprint, s.condition, s.subject, s.what, s.cause, s.solution, s.query, s.count, s.last_at,
         b.silenced_until, b.silenced_by
    from seen s
    left join lateral (select a.silenced_until, a.silenced_by from alerts a
                        where a.fingerprint = s.fingerprint and a.silenced_until > clock_timestamp()
                        order by a.id desc
                        limit 1) b on true
   where not exists (select from known k where k.fingerprint = s.fingerprint)
), resolved as (
  update alerts a set resolved_at = clock_timestamp()
   where a.resolved_at is null
     and a.seen_at < clock_timestamp() - pg_catalog.make_interval(secs => :absent_s::float8)
     and not exists (select from seen s where s.fingerprint = a.fingerprint)
), forgotten as (
  delete from alert_messages where created_at < clock_timestamp() - interval '90 days'
)
delete from alerts where resolved_at < clock_timestamp() - interval '90 days';

-- name: alerts_to_tell
-- A new alert is told at once. An open one is told again when the time of a digest has passed, if something has
-- happened since. A resolved one is told if people were told of it while it was open; if it opens again after that, it
-- is told with the next digest. That a channel is down is told once. At most :most messages in the time of a digest,
-- whatever happens.
select a.id, a.condition, a.subject, a.what, a.cause, a.solution, a.query, a.count, a.opened_at, a.resolved_at,
       case when a.resolved_at is not null then 'resolved' when a.last_sent_at is null then 'opened' else 'open' end
         as state
  from alerts a
 where coalesce(a.silenced_until <= clock_timestamp(), true)
   and case when a.resolved_at is not null then a.last_sent_at is not null and a.resolved_sent_at is null
            when a.last_sent_at is null then true
            when a.last_sent_at > clock_timestamp() - pg_catalog.make_interval(secs => :digest_s::float8) then false
            when a.resolved_sent_at is not null then true
            else a.condition <> 'alert_channel' and (a.last_at > a.last_sent_at or a.count > a.told_count) end
   and (select pg_catalog.count(distinct m.created_at) from alert_messages m
         where m.created_at > clock_timestamp() - pg_catalog.make_interval(secs => :digest_s::float8)) < :most
 order by a.resolved_at nulls first, a.last_sent_at nulls first, a.opened_at
   for update of a;

-- name: note_told
update alerts
   set last_sent_at = clock_timestamp(), told_count = count, messages = messages + 1,
       resolved_sent_at = case when resolved_at is not null then clock_timestamp() end
 where id = any(:ids);

-- name: note_messages
insert into alert_messages (job_id, channel, alerts)
select m.job_id, m.channel, m.alerts
  from jsonb_to_recordset(:messages::jsonb) as m (job_id bigint, channel text, alerts bigint[]);
