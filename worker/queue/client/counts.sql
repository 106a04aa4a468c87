-- The statement of counts.ts.

-- name: queue_counts
select queue, paused, waiting, active, completed, failed, delayed, oldest_due_s,
       greatest(0, extract(epoch from clock_timestamp() - counted_at)::float8) as age_s
  from queue_counts();
