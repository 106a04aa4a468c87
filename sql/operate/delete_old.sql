-- Deletes old history, and its errors and dedupe keys. Workers do this themselves after queues.keep_completed, 5,000 at a time;
-- this is for space that is needed now. Takes effect as it stands, for publish. One transaction: a million jobs take some
-- seconds, and other jobs go on meanwhile; the space is reused after the next vacuum.
DELETE FROM publish_jobs
WHERE status = 'completed'
AND completed_at < NOW() - INTERVAL '90 days';
