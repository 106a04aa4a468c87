-- Adds a job. Into jobs or into <queue>_jobs, as you like; queue and kind together name the handler. It starts within
-- milliseconds of the commit. The column comments (`\d+ jobs` in psql) say what else can be set.
-- The pictures are those of an example: a job whose original is not in storage fails with object_not_found.
insert into jobs (queue, kind, payload)
values ('media', 'image', '{"s3Key": "uploads/user123/photo.jpg", "userId": "user-123", "messageId": "message-456"}')
returning id;
