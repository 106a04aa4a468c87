-- Runs one finished job again, with all its retries: failed, cancelled or completed, archived or not. Put its id in place of 0
-- (no job has that one). No row back: there is no such job, or it is pending or running anyway.
update jobs
   set status = 'pending', archived = false, retry_count = 0, run_at = now()
 where id = 0 and status in ('failed', 'cancelled', 'completed')
returning id, queue, kind, status, run_at;
