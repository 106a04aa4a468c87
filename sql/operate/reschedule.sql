-- Moves a job that has not started to another time; a time in the past means at once. Replace 0 by its id (no job has
-- id 0). No row back: the job is not pending. A retry that waits is moved in the same way.
update jobs
   set run_at = now() + interval '1 hour'
 where id = 0 and status = 'pending'
returning id, queue, kind, run_at;
