-- How long did publish jobs of the last hour take, on average? Seconds of the attempt that succeeded, without the wait before.
SELECT AVG(EXTRACT(EPOCH FROM (completed_at - started_at))) as avg_seconds
FROM publish_jobs
WHERE status = 'completed' AND completed_at > NOW() - INTERVAL '1 hour';
