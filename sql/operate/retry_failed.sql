-- Retries every failed job of a queue, with all its retries. Unedited it works on publish: edit the table's name. Safe
-- on a busy database. 20,000 jobs of publish take some seconds, because the status of each file follows; those of other
-- queues a second.
update publish_jobs
   set status = 'pending', retry_count = 0, run_at = now()
 where status = 'failed';
