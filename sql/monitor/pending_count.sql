-- How many publish jobs are pending? Delayed ones (run_at in the future) are counted, too. Any <queue>_jobs, or jobs,
-- can replace publish_jobs.
SELECT COUNT(*) FROM publish_jobs WHERE status = 'pending';
