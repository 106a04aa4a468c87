-- Publishes every file that is not published and has no job under way, such as those from before the queue was there. Takes
-- effect as it stands; run again it adds only what is new. 100,000 files take some twenty seconds.
insert into publish_jobs (file_id, priority)
select f.id, 10
  from auction_files f
 where f.publish_status = 'pending' and f.source_key is not null and f.deleted_at is null
   and not exists (select from publish_jobs j where j.file_id = f.id::text and j.status in ('pending', 'processing'));
