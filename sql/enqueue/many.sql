-- Adds many jobs with one insert. batch_size of them share a ticket, and no trigger runs for each row. 10,000 rows per
-- insert is a good size; one insert per job costs several times as much. The keys are examples: a job whose original is
-- not in storage fails with object_not_found.
insert into jobs (queue, kind, payload)
select 'media', 'image',
       jsonb_build_object('s3Key', 'uploads/user123/' || n || '.jpg',
                          'userId', 'user-123', 'messageId', 'message-' || n)
  from generate_series(1, 1000) n;
