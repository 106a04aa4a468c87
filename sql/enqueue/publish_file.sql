-- Inserts a file and publishes it, in one transaction: either both rows exist or neither, and no worker sees the job
-- early. source_key is the key of the original on RAID. auction_files.publish_status follows the job from here on.
with file as (
  insert into auction_files (source_key)
  values ('lots/4711/front.jpg')
  returning id
)
insert into publish_jobs (file_id)
select id from file
returning id as job_id, file_id;
