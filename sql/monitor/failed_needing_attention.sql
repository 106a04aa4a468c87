-- Which publish jobs failed for good and wait for a person? error_code and error say why; job_errors has each attempt.
-- Every failed job is listed, because a permanent error uses up the retries, too. `attempt` says how often a job really
-- ran.
SELECT * FROM publish_jobs
WHERE status = 'failed' AND retry_count >= max_retries;
