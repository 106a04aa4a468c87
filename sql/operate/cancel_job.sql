-- Stops one job: a pending one never runs, a running one is aborted within two seconds. What it did outside Postgres stays done.
-- Put its id in place of 0 (no job has that one). No row back: it was finished before.
update jobs
   set status = 'cancelled'
 where id = 0 and status in ('pending', 'processing')
returning id, queue, kind, attempt;
