-- Adds a job. Into jobs or into <queue>_jobs, as you like; queue and kind together name the handler. It starts within
-- milliseconds of the commit. The column comments (`\d+ jobs` in psql) say what else can be set.
-- The kind stands for one of yours: a job of a kind that has no handler fails with unknown_kind.
insert into jobs (queue, kind, payload)
values ('media', 'image', '{"s3Key": "uploads/user123/photo.jpg", "userId": "user-123", "messageId": "message-456"}')
returning id;
