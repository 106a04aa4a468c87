-- What is being retried again and again? Jobs that failed before and will run again, by kind and last error. Many jobs
-- with one error_code: something that they share is down. Pause the queue, fix it, resume the queue. `next_run_at` is
-- when the next job runs.
select queue, kind, error_code, count(*) as jobs,
       sum(retry_count) as retries_used, min(max_retries - retry_count) as fewest_retries_left,
       min(run_at) as next_run_at
  from jobs
 where status in ('pending', 'processing') and retry_count > 0
 group by queue, kind, error_code
 order by jobs desc, queue, kind, error_code;
