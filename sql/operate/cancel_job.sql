-- Stops one job: a pending one never runs, a running one is aborted within two seconds. What it did outside Postgres is
-- not undone. Replace 0 by its id (no job has id 0). No row back: the job had ended before.
update jobs
   set status = 'cancelled'
 where id = 0 and status in ('pending', 'processing')
returning id, queue, kind, attempt;
