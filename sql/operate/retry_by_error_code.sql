-- Retries the jobs that failed for one reason, in all queues. Edit the code: monitor/dead_letters_by_code.sql lists the
-- codes. Unedited it retries jobs that died with their worker.
update jobs
   set status = 'pending', retry_count = 0, run_at = now()
 where status = 'failed' and error_code = 'worker_lost';
