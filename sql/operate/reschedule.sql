-- Moves a job that has not started to another time; into the past is at once. Put its id in place of 0 (no job has that one).
-- No row back: it is not pending. A retry that waits is moved in the same way.
update jobs
   set run_at = now() + interval '1 hour'
 where id = 0 and status = 'pending'
returning id, queue, kind, run_at;
