-- Gives failed jobs more retries: those that have used fewer than the new number run again at once. Unedited it works
-- on publish. For future jobs: queue_settings.sql.
UPDATE publish_jobs SET max_retries = 10 WHERE status = 'failed';
