-- What the engine does to rows. :"live" is the queue's live leaf, filled in once at start: naming it keeps the statement triggers
-- off the hot path. Every statement that ends an attempt is fenced: it touches a row only while that row is still
-- `processing`, run by this worker, in this attempt.

-- name: start_jobs
-- Of the ids on a ticket, only rows still pending and due are ours; about all others the ticket was wrong.
update :"live"
   set status = 'processing', attempt = attempt + 1, started_at = clock_timestamp(), locked_by = :worker, progress = null
 where id = any(:ids) and status = 'pending' and run_at <= clock_timestamp()
returning id, queue, kind, payload, file_id, attempt, retry_count, max_retries;

-- name: start_unlocked_jobs
-- The same when a row was held locked by somebody: that one is left out. It gets a new ticket by the change that is being made to it, or by
-- the reconciler.
update :"live"
   set status = 'processing', attempt = attempt + 1, started_at = clock_timestamp(), locked_by = :worker, progress = null
 where id in (select id from :"live"
               where id = any(:ids) and status = 'pending' and run_at <= clock_timestamp()
                 for update skip locked)
returning id, queue, kind, payload, file_id, attempt, retry_count, max_retries;

-- name: started_jobs
-- After an answer to start_jobs was lost: what it had started nonetheless.
select id, queue, kind, payload, file_id, attempt, retry_count, max_retries
  from :"live"
 where id = any(:ids) and status = 'processing' and locked_by = :worker;

-- name: hold_job
select id from :"live"
 where id = :id and attempt = :attempt and status = 'processing' and locked_by = :worker
   for update;

-- name: complete_jobs
-- Names those that it completed only where they are not all.
with completed as (
  update :"live" j
     set status = 'completed', completed_at = clock_timestamp(), locked_by = null, result = nullif(f.result, 'null'), progress = 100
    from rows from (unnest(:ids::bigint[]), unnest(:attempts::integer[]), jsonb_array_elements(:results)) as f (id, attempt, result)
   where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker
  returning j.id
)
select case when count(*) < cardinality(:ids::bigint[]) then coalesce(array_agg(id::float8), '{}') end as some,
       case when count(*) > 0 and exists (select from listeners)
            then announce(array_fill(:queue::text, array[count(*)::integer]), array_agg(id), array_fill('completed'::text, array[count(*)::integer]))
       end as announced
  from completed;

-- name: complete_job
-- The same for one job, inside its handler's own transaction.
update :"live"
   set status = 'completed', completed_at = clock_timestamp(), locked_by = null, result = :result, progress = 100
 where id = :id and attempt = :attempt and status = 'processing' and locked_by = :worker
returning id, announce(array[queue], array[id], array[status]) as announced;

-- name: completed_by
-- Whether this attempt completed the job, live or archived.
select id from jobs where id = :id and queue = :queue and attempt = :attempt and status = 'completed';

-- name: fail_jobs
-- Retry or dead letter: decided by what the row says now, so that an edit of max_retries takes effect at once. A job that lost its worker
-- is due again at once. One that did so before may be what kills them: counted from its start it waits about the backoff, some longer and
-- some shorter, so that it does not meet the same neighbours again.
with failures as (
  select f.*, clock_timestamp() as failed_at
    from jsonb_to_recordset(:failures) as f (id bigint, attempt integer, error_code text, error text, permanent boolean)
), failed as (
  update :"live" j
     set (status, run_at, retry_count, completed_at) = (
           select case when again then 'pending' else 'failed' end,
                  case when not again then j.run_at
                       when f.error_code <> 'worker_lost' then f.failed_at + retry_delay(q.backoff_ms, j.retry_count)
                       when j.error_code = 'worker_lost'
                         then greatest(f.failed_at, j.started_at + retry_delay(q.backoff_ms, 0) * (0.5 + random()))
                       else f.failed_at end,
                  j.retry_count + again::int,
                  case when again then null else f.failed_at end
             from (select not f.permanent and j.retry_count < j.max_retries as again) judged),
         error_code = f.error_code, error = f.error, locked_by = null, progress = null
    from failures f, queues q
   where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by is not distinct from :worker
     and q.name = j.queue
  returning j.id, j.queue, j.kind, j.priority, j.run_at, j.status, j.retry_count, j.attempt, j.started_at, f.failed_at, j.error_code, j.error
), logged as (
  insert into job_errors (queue, job_id, attempt, worker, started_at, failed_at, error_code, error)
  select queue, id, attempt, :worker, started_at, failed_at, error_code, error from failed
      on conflict (job_id, attempt) do update  -- attempt was set back by hand
     set worker = excluded.worker, started_at = excluded.started_at, failed_at = excluded.failed_at,
         error_code = excluded.error_code, error = excluded.error
)
select id, status, retry_count,
       (select add_tickets(array_agg(queue), array_agg(kind), array_agg(id), array_agg(priority), array_agg(run_at))
          from failed where status = 'pending') as ticketed,
       (select announce(array_agg(queue), array_agg(id), array_agg(status))
          from failed where status = 'failed' having count(*) > 0) as announced
  from failed;

-- name: snooze_jobs
-- Back to pending with no retry used: the provider said wait, or the worker is shutting down.
with snoozed as (
  update :"live" j
     set status = 'pending', run_at = clock_timestamp() + make_interval(secs => f.delay_ms / 1000.0), locked_by = null, progress = null
    from jsonb_to_recordset(:jobs) as f (id bigint, attempt integer, delay_ms float8)
   where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker
  returning j.id, j.queue, j.kind, j.priority, j.run_at
)
select id, (select add_tickets(array_agg(queue), array_agg(kind), array_agg(id), array_agg(priority), array_agg(run_at)) from snoozed) as ticketed
  from snoozed;

-- name: report_progress
update :"live" j
   set progress = f.progress
  from jsonb_to_recordset(:jobs) as f (id bigint, attempt integer, progress smallint)
 where j.id = f.id and j.attempt = f.attempt and j.status = 'processing' and j.locked_by = :worker;

-- name: give_back
-- Jobs whose ticket was claimed but which were never started: they are pending still, and need a ticket for another worker.
select add_tickets(array_agg(queue), array_agg(kind), array_agg(id), array_agg(priority), array_agg(run_at))
  from :"live"
 where id = any(:ids) and status = 'pending';

-- name: stray_jobs
-- Processing by this worker for a while, as the row says. What the worker does not know of was started or ended unheard.
select id, attempt from :"live"
 where status = 'processing' and locked_by = :worker and coalesce(started_at, created_at) < clock_timestamp() - interval '10 seconds';

-- name: taken_jobs
-- Which of the jobs this worker believes to be running are no longer its own: cancelled, or set back to pending, by hand.
select r.id, r.attempt
  from jsonb_to_recordset(:jobs) as r (id bigint, attempt integer)
  left join :"live" j on j.id = r.id
 where j.id is null or j.attempt <> r.attempt or j.status <> 'processing' or j.locked_by is distinct from :worker;
