-- Runs one ended job again, with all its retries: failed, cancelled or completed, archived or not. Replace 0 by its id
-- (no job has id 0). No row back: there is no such job, or it is pending or running.
update jobs
   set status = 'pending', archived = false, retry_count = 0, run_at = now()
 where id = 0 and status in ('failed', 'cancelled', 'completed')
returning id, queue, kind, status, run_at;
