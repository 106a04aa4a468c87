-- Adds a job, into jobs or into <queue>_jobs. queue and kind together name the handler. It starts within milliseconds
-- after the commit. The column comments (`\d+ jobs` in psql) say what else can be set. The key is an example: a job
-- whose original is not in storage fails with object_not_found.
insert into jobs (queue, kind, payload)
values ('media', 'image', '{"s3Key": "uploads/user123/photo.jpg", "userId": "user-123", "messageId": "message-456"}')
returning id;
