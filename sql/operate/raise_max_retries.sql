-- Gives failed jobs more retries: those that have used fewer than the new number run again at once, without a further word.
-- Takes effect as it stands, for publish. For jobs yet to come: queue_settings.sql.
UPDATE publish_jobs SET max_retries = 10 WHERE status = 'failed';
