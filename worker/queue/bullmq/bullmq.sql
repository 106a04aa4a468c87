-- The statements of queue.ts.

-- name: job_shown
-- By its id, or by the key that `jobId` became. `state`: in the words of BullMQ, which has none for cancelled jobs.
select id, kind, payload, priority, attempt, max_retries, progress, result, error_code, error, dedupe_key, run_at,
       created_at, started_at, completed_at,
       case when status = 'processing' then 'active'
            when status = 'cancelled' then 'failed'
            when status <> 'pending' then status
            when run_at > now() then 'delayed'
            else 'waiting' end as state
  from jobs
 where queue = :queue
   and id = coalesce(:id::bigint,
                     (select k.job_id from job_keys k where k.queue = :queue and k.dedupe_key = :key::text));

-- name: counts
select waiting, active, completed, failed, delayed, paused from queue_depth where queue = :queue;
