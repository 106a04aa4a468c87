-- Adds many jobs: in one insert, for then batch_size of them share a ticket and nothing is done for each row. 10,000 rows an
-- insert is a good size; one insert a job costs several times as much.
-- The kind stands for one of yours: a job of a kind that has no handler fails with unknown_kind.
insert into jobs (queue, kind, payload)
select 'media', 'image',
       jsonb_build_object('s3Key', 'uploads/user123/' || n || '.jpg', 'userId', 'user-123', 'messageId', 'message-' || n)
  from generate_series(1, 1000) n;
