-- Which publish jobs used up their retries and wait for a person? error_code and error say why; job_errors has each attempt.
-- A job that no retry could help failed with retries left, and is not in here: the view dead_letters has every failed job.
SELECT * FROM publish_jobs
WHERE status = 'failed' AND retry_count >= max_retries;
