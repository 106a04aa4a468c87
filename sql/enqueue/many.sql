-- Adds many jobs: in one insert, for then batch_size of them share a ticket and nothing is done for each row. 10,000 rows an
-- insert is a good size; one insert a job costs several times as much.
-- The pictures are those of an example: a job whose original is not in storage fails with object_not_found.
insert into jobs (queue, kind, payload)
select 'media', 'image',
       jsonb_build_object('s3Key', 'uploads/user123/' || n || '.jpg', 'userId', 'user-123', 'messageId', 'message-' || n)
  from generate_series(1, 1000) n;
