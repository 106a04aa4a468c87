-- How long did publish jobs of the last hour take, on average? In seconds, for the attempt that succeeded, without the
-- wait before it.
SELECT AVG(EXTRACT(EPOCH FROM (completed_at - started_at))) as avg_seconds
FROM publish_jobs
WHERE status = 'completed' AND completed_at > NOW() - INTERVAL '1 hour';
