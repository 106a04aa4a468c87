-- What people do with jobs and queues, from the command line and the client. Everything is written through
-- `jobs`, never through a leaf, so that the triggers run: they make the tickets, and tell workers that a running job
-- was taken from them.

-- name: queue_names
-- A row that was inserted by hand, without create_queue, has no table.
select name from queues where to_regclass(quote_ident(name || '_jobs_live')) is not null order by name;

-- name: list_jobs
-- Newest first: the primary keys of the leaves begin with id, so a short list is cheap however long the history is.
select * from jobs
 where (:queue::text is null or queue = :queue)
   and (:kind::text is null or kind = :kind)
   and (:status::text is null or status = :status)
   and (:error_code::text is null or error_code = :error_code)
 order by id desc
 limit :limit;

-- name: show_job
-- `waits`: for what a running job waits, and since when. `cause` and `solution` as in dead_letters.
select j.*,
       (select pg_catalog.format('for %s since %s', t.waits_for, t.since)
          from workers w, jsonb_to_recordset(w.waiting) as t (job_id bigint, waits_for text, since timestamptz)
         where w.id = j.locked_by and t.job_id = j.id) as waits,
       coalesce(e.cause, others.cause, service.cause) as cause,
       coalesce(e.solution, others.solution, service.solution) as solution
  from jobs j
  left join error_codes e on e.code = j.error_code
  left join error_codes others on others.code = split_part(j.error_code, '_', 1) || '_*'
  left join error_codes service on service.code = '*' || substr(j.error_code, strpos(j.error_code, '_'))
 where j.id = :id;

-- name: errors_of_job
select attempt, worker, started_at, failed_at, error_code, error, stack
  from job_errors where job_id = :id order by attempt;

-- name: retry_jobs
-- A running job is not changed: that would abort it. A pending one becomes due now.
with chosen as (
  select id, queue, kind, status, archived from jobs where id = any(:ids) for update
), again as (
  update jobs j
     set status = 'pending', archived = false, retry_count = 0, run_at = clock_timestamp()
    from chosen c
   where j.id = c.id and j.queue = c.queue and j.archived = c.archived and c.status <> 'processing'
  returning j.id
)
select c.id, c.queue, c.kind, c.status as was, a.id is not null as done
  from chosen c
  left join again a on a.id = c.id
 order by c.id;

-- name: retry_failed
update jobs
   set status = 'pending', retry_count = 0, run_at = clock_timestamp()
 where queue = :queue and status = 'failed' and not archived
   and (:kind::text is null or kind = :kind)
   and (:error_code::text is null or error_code = :error_code)
returning id, queue, kind, 'failed' as was, true as done;

-- name: cancel_jobs
with chosen as (
  select id, queue, kind, status, archived from jobs where id = any(:ids) for update
), cancelled as (
  update jobs j
     set status = 'cancelled'
    from chosen c
   where j.id = c.id and j.queue = c.queue and j.archived = c.archived and c.status in ('pending', 'processing')
  returning j.id
)
select c.id, c.queue, c.kind, c.status as was, x.id is not null as done
  from chosen c
  left join cancelled x on x.id = c.id
 order by c.id;

-- name: reschedule_jobs
with chosen as (
  select id, queue, kind, status from jobs where id = any(:ids) for update
), moved as (
  update jobs j
     set run_at = :run_at
    from chosen c
   where j.id = c.id and j.queue = c.queue and not j.archived and c.status = 'pending'
  returning j.id
)
select c.id, c.queue, c.kind, c.status as was, m.id is not null as done
  from chosen c
  left join moved m on m.id = c.id
 order by c.id;

-- name: prioritise_jobs
with chosen as (
  select id, queue, kind, status from jobs where id = any(:ids) for update
), moved as (
  update jobs j
     set priority = :priority
    from chosen c
   where j.id = c.id and j.queue = c.queue and not j.archived and c.status = 'pending'
  returning j.id
)
select c.id, c.queue, c.kind, c.status as was, m.id is not null as done
  from chosen c
  left join moved m on m.id = c.id
 order by c.id;

-- name: set_paused
update queues q
   set paused = :paused, paused_by = case when q.paused = :paused then q.paused_by else :by end
  from queue_depth d
 where q.name = :queue and d.queue = q.name
returning q.name as queue, q.paused, d.waiting, d.active;

-- name: fleet_queues
-- In milliseconds, however many jobs there are: the counts of a queue with tens of thousands are some seconds old.
select c.queue, c.paused, c.waiting, c.active, c.delayed, c.failed, c.completed, c.oldest_due_s as oldest_waiting_s,
       coalesce(r.completed_lately, 0)::bigint as completed_lately
  from queue_counts() c
  left join (select queue, sum(completed) as completed_lately
               from job_rollups
              where minutes = 1 and at > now() - pg_catalog.make_interval(secs => :lately_s::float8)
              group by queue) r using (queue)
 order by c.queue;

-- name: fleet_workers
select w.id, w.host, w.pid, w.version, w.queues, w.started_at,
       extract(epoch from clock_timestamp() - w.heartbeat_at)::float8 as heartbeat_age_s,
       worker_is_alive(w.id) as alive, w.memory_bytes, w.running, w.waiting, w.bridges
  from workers w
 order by w.host, w.pid;

-- name: fleet_dead_letters
-- The catalogue is asked once for a group, and not once for a job. Queues without dead letters are not read.
select g.queue, g.kind, g.error_code, g.jobs, g.last_at,
       coalesce(e.cause, others.cause, service.cause) as cause,
       coalesce(e.solution, others.solution, service.solution) as solution
  from (select c.queue, d.*
          from queue_counts() c
         cross join lateral (select kind, error_code, count(*) as jobs, max(completed_at) as last_at
                               from jobs
                              where queue = c.queue and status = 'failed' and not archived
                              group by kind, error_code) d
         where c.failed > 0) g
  left join error_codes e on e.code = g.error_code
  left join error_codes others on others.code = split_part(g.error_code, '_', 1) || '_*'
  left join error_codes service on service.code = '*' || substr(g.error_code, strpos(g.error_code, '_'))
 order by g.jobs desc, g.queue, g.kind, g.error_code;

-- name: fleet_incidents
-- Open ones, the oldest first. The jobs are counted as they are now.
select i.id, i.dependency, i.host, i.code, i.message, i.since, i.last_seen, i.kinds,
       extract(epoch from clock_timestamp() - i.since)::float8 as age_s,
       (select count(*) from jobs j
         where not j.archived and j.status = 'pending' and j.run_at <= now()
           and j.queue || '.' || j.kind = any(i.kinds)) as jobs_held,
       coalesce(e.cause, service.cause) as cause, coalesce(e.solution, service.solution) as solution
  from incidents i
  left join error_codes e on e.code = i.code
  left join error_codes service on service.code = '*' || substr(i.code, strpos(i.code, '_'))
 where i.resolved_at is null
 order by i.since;

-- name: fleet_schedules
-- Schedules in trouble: enabled, but adding nothing.
select name, error, coalesce(next_tick, since) as since
  from schedules
 where enabled
   and (error is not null or next_tick < clock_timestamp() - pg_catalog.make_interval(secs => :late_s::float8))
 order by name;
