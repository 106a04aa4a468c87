-- Runs every failed job of a queue again, with all their retries. Takes effect as it stands, for publish: edit the table's name.
-- Safe on a busy database; 20,000 jobs take some seconds, for the status of each file follows; of other queues, a second.
update publish_jobs
   set status = 'pending', retry_count = 0, run_at = now()
 where status = 'failed';
