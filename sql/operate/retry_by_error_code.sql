-- Runs the failed jobs again that failed for one reason, in all queues. Edit the code: monitor/dead_letters_by_code.sql lists
-- those there are. As it stands it retries what died with its worker.
update jobs
   set status = 'pending', retry_count = 0, run_at = now()
 where status = 'failed' and error_code = 'worker_lost';
