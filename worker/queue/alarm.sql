-- name: due_soon
-- When the next job of each queue falls due; or fell due just now, for it may have done so since the last look. A job that was due when it was
-- inserted needs no alarm.
select queue, (extract(epoch from min(run_at) - now()) * 1000)::float8 as in_ms
  from jobs
 where not archived and queue = any(:queues) and status = 'pending' and run_at > created_at
   and run_at between now() - interval '0.1 s' and now() + interval '3 s'
 group by queue;
