-- Which publish jobs failed for good and wait for a person? error_code and error say why; job_errors has each attempt.
-- The list has every failed job, because a permanent error uses up the retries, too. `attempt` says how often a job was
-- started.
SELECT * FROM publish_jobs
WHERE status = 'failed' AND retry_count >= max_retries;
