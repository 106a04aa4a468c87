-- The same, spread over the next hour, if the services that the jobs call could not take them all at once: some each
-- minute, the oldest first. Unedited it works on social: edit the table's name and the 60 minutes.
update social_jobs j
   set status = 'pending', retry_count = 0, run_at = now() + interval '1 minute' * f.minute
  from (select id, ntile(60) over (order by id) - 1 as minute
          from social_jobs
         where status = 'failed') f
 where j.id = f.id and j.status = 'failed';
