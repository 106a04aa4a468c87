-- What must not be. Each statement gives the rows that break its rule; its name begins with what they count as.

-- name: lost_jobs
-- Inserted and committed, and gone.
select s.job_id, s.batch from submitted s where not exists (select from jobs j where j.id = s.job_id);

-- name: lost_inserts
-- The client was told that they are committed.
select told.job_id from unnest(:told::bigint[]) as told (job_id)
  where not exists (select from submitted s where s.job_id = told.job_id);

-- name: lost_changes
-- A job's entries must follow from one another, and the last be what the row says.
with chain as (
  select *, lag(now) over job as before, lag(attempt) over job as attempt_before,
    lag(retry_count) over job as retries_before,
            lead(seq) over job is null as last
    from history window job as (partition by job_id order by seq)
)
select c.job_id, c.seq, c.before, c.was, c.now, c.attempt_before, c.attempt_was, c.attempt, j.status,
  j.attempt as row_attempt, c.by
  from chain c
  left join jobs j on j.id = c.job_id
 where (c.was is not null
   and (c.was, c.attempt_was, c.retry_count_was) is distinct from (c.before, c.attempt_before, c.retries_before))
    or (c.was is null and c.before is not null and not (c.before in ('completed', 'cancelled') and c.by = 'chaos'))
    or (c.last and (c.now, c.attempt, c.retry_count) is distinct from (j.status, j.attempt, j.retry_count));

-- name: lost_effects
-- An attempt completed the job, and what it wrote is not there.
select h.job_id, h.attempt, j.kind, h.at, h.by
  from history h join jobs j on j.id = h.job_id join kinds k using (kind)
 where h.now = 'completed' and k.commits
   and not exists (select from effects e where e.job_id = h.job_id and e.attempt = h.attempt);

-- name: lost_work
-- Given up with retries left and no permanent error, or failed though its kind cannot use its retries up.
select h.job_id, h.attempt, j.kind, h.retry_count, h.max_retries, h.error_code, h.at
  from history h join jobs j on j.id = h.job_id join kinds k using (kind)
 where h.now = 'failed' and h.was = 'processing'
   and (not k.fails or not (h.retry_count_was >= h.max_retries or h.error_code = 'hopeless'));

-- name: lost_failures
-- Completed, though its kind never does.
select h.job_id, h.attempt, j.kind, h.at from history h join jobs j on j.id = h.job_id join kinds k using (kind)
 where h.now = 'completed' and not k.completes;

-- name: lost_errors
-- A failed attempt is one row of job_errors, and each such row a failed attempt.
with failed as (
  select job_id, attempt, error_code from history
   where by = 'rowmill' and was = 'processing'
     and (now = 'failed' or (now = 'pending' and retry_count > retry_count_was))
)
select f.job_id, f.attempt, f.error_code, e.job_id as of_job, e.attempt as of_attempt, e.error_code as of_code
  from failed f full join job_errors e on e.job_id = f.job_id and e.attempt = f.attempt
 where f.job_id is null or e.job_id is null or e.error_code <> f.error_code;

-- name: doubled_jobs
select id, count(*), array_agg(archived) as archived, array_agg(status) as status from jobs group by id
  having count(*) > 1;

-- name: doubled_starts
select job_id, attempt, count(*) from history where now = 'processing' and was <> 'processing' group by 1, 2
  having count(*) > 1;

-- name: doubled_runs
-- Of one attempt.
select job_id, attempt, count(*), array_agg(pid) as pids, array_agg(at) as at from runs group by 1, 2
  having count(*) > 1;

-- name: doubled_completions
select job_id, attempt, count(*) from history where now = 'completed' group by 1, 2 having count(*) > 1;

-- name: doubled_effects
select job_id, attempt, count(*), array_agg(pid) as pids, array_agg(at) as at from effects group by 1, 2
  having count(*) > 1;

-- name: doubled_work
-- An effect of an attempt that did not complete the job: it was no longer the job's, and wrote nonetheless.
select e.job_id, e.attempt, j.kind, j.status, j.attempt as row_attempt, e.at
  from effects e left join jobs j on j.id = e.job_id
 where not exists (select from history h where h.job_id = e.job_id and h.attempt = e.attempt and h.now = 'completed');

-- name: doubled_results
-- Completed by another attempt than the row's.
select job_id, attempt, result, at from history where now = 'completed'
  and (result ->> 'attempt')::integer is distinct from attempt;

-- name: doubled_changes
-- What the engine may do: start what is pending and due, and end what runs, in its attempt.
select job_id, seq, was, now, attempt_was, attempt, retry_count_was, retry_count, error_code, by, at
  from history
 where by <> 'chaos'
   and not case
         when was = 'pending' and now = 'processing'

            then attempt = attempt_was + 1 and retry_count = retry_count_was and run_at <= at
         when was = 'processing' and now = 'completed' then attempt = attempt_was and retry_count = retry_count_was
         when was = 'processing' and now = 'pending'

            then attempt = attempt_was and retry_count - retry_count_was in (0, 1)
         -- A permanent error spends the retries that are left.
         when was = 'processing' and now = 'failed'

            then attempt = attempt_was and retry_count = greatest(retry_count_was, max_retries)
         else false
       end;

-- name: stuck_jobs
select id, queue, kind, status, attempt, retry_count, run_at, locked_by, started_at,
       exists (select from workers w where w.id = locked_by) as worker_lives,
       (select count(*) from rowmill_tickets._private_jobs t
         where t.payload::jsonb -> 'ids' @> to_jsonb(j.id)) as tickets
  from jobs j where status in ('pending', 'processing');

-- name: stuck_tickets
select id, payload, run_at, attempts, locked_at, locked_by, last_error from rowmill_tickets._private_jobs;

-- name: stuck_workers
-- All were stopped, and a worker that was alive then had the time to reap them.
select id, pid, pools, heartbeat_at from workers;
