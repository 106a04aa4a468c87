-- The statement of backlog.ts.

-- name: due_jobs
-- Counts no further than to :most. Reads the live leaf of one queue.
select count(*) as due
  from (select from jobs
         where queue = :queue and not archived and status = 'pending' and run_at <= now()
         limit :most::bigint) as d;
