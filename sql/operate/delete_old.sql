-- Deletes old history, with its errors and dedupe keys. Workers do this themselves after queues.keep_completed, 5,000
-- jobs at a time; this is for space that is needed now. Unedited it works on publish. It is one transaction: a million
-- jobs take some seconds, and other jobs go on meanwhile. The space is reused after the next vacuum.
DELETE FROM publish_jobs
WHERE status = 'completed'
AND completed_at < NOW() - INTERVAL '90 days';
