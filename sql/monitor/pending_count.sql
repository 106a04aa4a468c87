-- How many publish jobs are pending? Delayed ones (run_at in the future) count too. Any <queue>_jobs, or jobs, in place of
-- publish_jobs.
SELECT COUNT(*) FROM publish_jobs WHERE status = 'pending';
