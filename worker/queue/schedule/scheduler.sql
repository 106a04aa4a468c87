-- What workers do with schedules. See migrations/0006_schedules.sql.

-- name: schedules_at_hand
-- Schedules without a next tick, those whose tick is due, and those whose tick is due before the next query.
select name, cron, time_zone, greatest(since, last_tick)::text as began_at, next_tick::text as planned, error,
       now()::text as now
  from schedules
 where enabled and case when next_tick is null then error is null else next_tick < now() + interval '2 s' end;

-- name: tick
-- Inserts the jobs of these ticks, and records the next ticks; for a new schedule, the first. A schedule that ticked,
-- or was changed, in the meantime is skipped, because its next tick is no longer the planned one; so is one that
-- another worker has locked.
with due as materialized (
  select s.*, t.tick, t.next, nextval('job_ids'::regclass) as job_id,
         s.overlap = 'skip'
           and exists (select from jobs j where j.id = s.last_job_id and j.status in ('pending', 'processing')) as skip
    from jsonb_to_recordset(:ticks::jsonb)
      as t (name text, cron text, time_zone text, planned timestamptz, tick timestamptz, next timestamptz)
    join schedules s on s.name = t.name and s.cron = t.cron and s.time_zone = t.time_zone
                    and s.next_tick is not distinct from t.planned
   where s.enabled
     for update of s skip locked
), added as (
  insert into jobs (id, queue, kind, payload, priority, max_retries, dedupe_key)
  select job_id, queue, kind, payload, priority, max_retries,
         name || '@' || to_char(tick at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')
    from due
   where tick is not null and not skip
  returning id
), noted as (
  select note_tick(d.name, d.tick, a.id)
    from due d
    left join added a on a.id = d.job_id
   where d.tick is not null
)
update schedules s
   set last_tick = coalesce(d.tick, s.last_tick),
       next_tick = d.next,
       last_job_id = coalesce(a.id, s.last_job_id),
       skipped = s.skipped + case when d.skip and d.tick is not null then 1 else 0 end,
       skipped_tick = case when d.skip and d.tick is not null then d.tick else s.skipped_tick end,
       error = null
  from due d
  left join added a on a.id = d.job_id
 where s.name = d.name
returning s.name, d.tick, a.id as job_id, (select count(*) from noted) as noted;

-- name: refuse
update schedules set error = :error
 where name = :name and cron = :cron and time_zone = :time_zone and error is distinct from :error
returning name;
