-- What people do with schedules from the command line. The triggers on the table tell the workers.

-- name: list_schedules
select name, cron, time_zone, queue, kind, payload, priority, max_retries, enabled, overlap, last_tick, next_tick,
       skipped, skipped_tick, error, last_job_id, last_status, last_result, last_error_code, last_error,
       last_completed_at
  from schedule_status
 order by name;

-- name: schedule_names
select name from schedules order by name;

-- name: read_schedule
select name, cron, time_zone, queue, kind, payload, priority, max_retries, overlap, enabled
  from schedules where name = :name;

-- name: schedule_history
-- The newest first. The lateral join finds a job by its id, whatever the statistics say.
select t.tick, t.at, t.job_id, j.status, j.error_code, j.started_at, j.completed_at
  from schedule_ticks t
  left join lateral (select status, error_code, started_at, completed_at
                       from jobs where id = t.job_id limit 1) j on true
 where t.schedule = :name
 order by t.id desc
 limit :limit;

-- name: set_schedule
insert into schedules (name, cron, time_zone, queue, kind, payload, priority, max_retries, overlap, enabled)
values (:name, :cron, :time_zone, :queue, :kind, :payload, :priority, :max_retries, :overlap, :enabled)
    on conflict (name) do update
   set cron = excluded.cron, time_zone = excluded.time_zone, queue = excluded.queue, kind = excluded.kind,
       payload = excluded.payload, priority = excluded.priority, max_retries = excluded.max_retries,
       overlap = excluded.overlap, enabled = excluded.enabled;

-- name: enable_schedule
update schedules set enabled = :enabled where name = :name returning name;

-- name: run_schedule
select run_schedule(:name) as job_id;

-- name: delete_schedule
delete from schedules where name = :name returning name;
